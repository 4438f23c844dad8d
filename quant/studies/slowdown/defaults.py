"""What the attacker may do unless told otherwise; imports nothing, as ``--help`` shows it."""

from __future__ import annotations

CHANGED, CANDIDATES, SIMILARITY = 0.2, 20, 0.3
"""Share of a sentence's words that may be changed; neighbours tried for a word; their cosine at least."""

OBJECTIVE = "exit"
