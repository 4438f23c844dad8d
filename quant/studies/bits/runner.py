"""Where points are measured: in this process, in processes of this machine, or on somebody's Dask cluster.

The study's process alone writes files. A worker that dies loses what it was measuring: the scheduler has
another one measure it, and where three more die of the same point that point's row says so.
"""

from __future__ import annotations

import importlib.util
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from golden_model.errors import describe
from quant.schemes import Scheme
from quant.studies.bits.point import try_point
from quant.studies.bits.subject import Subject

CONNECT_SECONDS = 20
"""How long a scheduler may take to answer."""


class Runner(Protocol):
    """Takes schemes, gives points as they are done."""

    @property
    def slots(self) -> int:
        """Points that are measured at once."""
        ...

    def submit(self, scheme: Scheme) -> None:
        """Has a scheme measured."""

    def wait(self) -> tuple[Scheme, dict[str, Any]]:
        """The next point that is done, of those submitted."""
        ...


class Here:
    """Measures in this process, one after another."""

    slots = 1

    def __init__(self, subject: Subject) -> None:
        self.subject, self.waiting = subject, deque[Scheme]()

    def submit(self, scheme: Scheme) -> None:
        """Queues a scheme."""
        self.waiting.append(scheme)

    def wait(self) -> tuple[Scheme, dict[str, Any]]:
        """Measures the next one."""
        scheme = self.waiting.popleft()
        return scheme, try_point(self.subject, scheme)


class Cluster:
    """Measures on the workers of a Dask scheduler."""

    def __init__(self, client: Any, subject: Subject) -> None:
        """``client``: a ``distributed.Client``."""
        from distributed import as_completed

        self.client, self.done = client, as_completed(loop=client.loop)
        # A task, not scattered data: a worker that dies takes scattered data with it, a task is run again.
        self.subject = client.submit(_same, subject, pure=False)
        self.schemes: dict[str, Scheme] = {}

    @property
    def slots(self) -> int:
        """Threads of the workers there are now, 1 at least."""
        return max(1, sum(self.client.nthreads().values()))

    def submit(self, scheme: Scheme) -> None:
        """Gives a scheme to the scheduler."""
        future = self.client.submit(try_point, self.subject, scheme, pure=False)
        self.schemes[future.key] = scheme
        self.done.add(future)

    def wait(self) -> tuple[Scheme, dict[str, Any]]:
        """The next point; raises ConnectionError where the scheduler is gone."""
        future = next(self.done)
        scheme = self.schemes.pop(future.key)
        if future.status == "finished":
            found: dict[str, Any] = future.result()
            return scheme, found
        if future.status == "error":
            error = future.exception()
            return scheme, {"error": f"{type(error).__name__}: {describe(error)}"}
        raise ConnectionError(
            f"the Dask scheduler is gone ({future.status}); measured points are kept: run the study again"
        )


def _same(subject: Subject) -> Subject:
    return subject


@contextmanager
def open_runner(subject: Subject, workers: int = 1, scheduler: str | None = None) -> Iterator[Runner]:
    """A runner, closed afterwards with the processes it started.

    Args:
        subject: What is measured on.
        workers: Processes of this machine, of one thread each; 1: this one.
        scheduler: Address of a Dask scheduler instead, whose workers see the checkpoint's folder.

    Raises:
        ValueError: the packages are not installed; the address is none.
        OSError: nobody answers there.
    """
    if scheduler is None and workers == 1:
        yield Here(subject)
        return
    if importlib.util.find_spec("distributed") is None:
        asked = f"--workers {workers}" if scheduler is None else f"--scheduler {scheduler}"
        raise ValueError(f"{asked}: the package distributed is not installed: install the extra 'study'")
    with ExitStack() as stack:
        yield Cluster(stack.enter_context(_client(stack, workers, scheduler)), subject)


def _client(stack: ExitStack, workers: int, scheduler: str | None) -> Any:
    from distributed import Client, LocalCluster

    if scheduler is not None:
        try:
            return Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise type(error)(f"--scheduler {scheduler}: {describe(error)}") from error
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,  # a worker that is paused half-way through a point helps nobody
        silence_logs=logging.CRITICAL,
    )
    return Client(stack.enter_context(cluster), set_as_default=False)
