"""Pages and pictures of what a model does.

``decisions``: when and why sentences leave. ``exits``: the studies of several tasks side by side.
"""
