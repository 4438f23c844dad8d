"""What ELBERT is, in float and in integers: geometry, numbers, exit policies, and the rooms around them.

The ground (config, numerics, exits, files, provenance) is what every other package may use.
"""
