"""Results as tables for people, one file per kind of result.

Nothing is computed here: everything shown is in the JSON too.
"""
