"""The accelerator in Amaranth: token ids in, class out, exit decision included.

Depends on the golden model's geometry, numerics and table functions, on nothing else of it.
"""
