"""On-chip memories in the shape the array wants, and what they need of the tools.

A word is P tokens of one feature; groups of them serve the array's rows and columns alike.
"""
