"""Attributes for the synthesiser."""

from __future__ import annotations

DONT_CARE_ON_COLLISION = {"no_rw_check": 1}
"""Of a memory: what a read returns in the cycle in which its address is written does not matter (Yosys).

Without it the old value is guaranteed, which costs ECP5 block memories an address comparator and a bypass:
397 of the 653 LUT4 of eight activation tables.
"""
