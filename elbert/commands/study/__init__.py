"""``elbert study``: experiments that compare, as a paper reports them.

One file per study.
"""
