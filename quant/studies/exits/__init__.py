"""The early-exit study: every policy of every method on one data set, from logits that are computed once.

``run.py`` puts the parts together; ``commands.py`` of the package above is the command.
"""
