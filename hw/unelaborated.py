"""Components that are made to be asked, not to be built."""

from __future__ import annotations

from typing import Any, TypeVar

from amaranth.hdl import Elaboratable

T = TypeVar("T")


def unelaborated(component: T) -> T:
    """The component, of which and of whose parts Amaranth says nothing where no design uses them.

    It takes an unused component for one that was forgotten, and warns of it; here it is made for its geometry
    or latency alone. What is elaborated all the same is as it ever was.
    """
    pending: list[Any] = [component]
    seen: set[int] = set()
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Elaboratable):
            item._MustUse__silence = True
            pending.extend(vars(item).values())
        elif isinstance(item, list | tuple | set | frozenset):
            pending.extend(item)
        elif isinstance(item, dict):
            pending.extend(item.values())
    return component
