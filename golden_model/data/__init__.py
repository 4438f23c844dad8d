"""Labelled sentences: tables and hub data sets, the registry of tasks, and the metrics that score answers.

Data sets themselves are never part of the project.
"""
