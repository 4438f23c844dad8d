"""Measurements of the whole simulated machine: what is run, what came of it, pictures of both."""
