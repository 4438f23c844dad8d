"""What is promised and tested unless told otherwise; imports nothing, as ``--help`` shows it."""

from __future__ import annotations

RISK, CONFIDENCE = 0.01, 0.95
"""Most that the loss may be on average, and how surely."""

WINDOW, MARGIN = 5, 0.3
"""Of the window policies. Chosen on TREC, FinancialPhraseBank and CoLA for the fewest iterations at 0 to 4
disagreements, so that SST-2, the bundled model's task, had no part in it."""
