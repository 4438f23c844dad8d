"""Studies: experiments that compare methods or settings and report them as a paper would.

Each is a package here and a command of ``elbert study``.
"""
