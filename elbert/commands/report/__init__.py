"""``elbert report``: pages and pictures of what a model does.

One file per report.
"""
