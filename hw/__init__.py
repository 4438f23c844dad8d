"""The accelerator in Amaranth: token ids in, class out, exit decision included.

Depends on the golden model's geometry, numerics, exit policies' codes and bounds, and table functions.
"""
