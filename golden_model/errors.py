"""The two ways in which a command fails.

What the user gave is refused with ``ValueError`` (pydantic's too) or ``OSError``: exit code 2. What the
command promises and did not find is ``PromiseBroken``: exit code 1.
"""


class PromiseBroken(Exception):
    """A command ran and what it promises does not hold; the message says what. Exit code 1."""
