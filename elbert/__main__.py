"""``python -m elbert``."""

from elbert.cli import main

main()
