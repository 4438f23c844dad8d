"""Child processes that never outlive the work they were started for, however that ends.

A child and all that it starts form a process group of their own, which is ended with SIGKILL when its block
is left: at its end, on an exception, on an interrupt. A guard in the same group does so where this process is
gone without a word (SIGKILL, a crash): it waits for the end of a pipe that only this process holds. Unlike
Linux's PR_SET_PDEATHSIG that reaches grandchildren (the compilers under make), does not depend on the thread
that started the child, and works on every POSIX system.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import IO, Any, TypeVar

T = TypeVar("T")

_GUARD = ("/bin/sh", "-c", "read -r line; kill -s KILL 0")
"""Reads until the pipe's end; pid 0 is its own process group."""


class CalledOff(Exception):
    """The work that this child belongs to was given up: another part of it failed or was interrupted."""


class Child:
    """A running child process; ``process`` is what ``subprocess`` knows of it."""

    def __init__(self, process: subprocess.Popen[Any], group: int) -> None:
        self.process = process
        self._group: int | None = group
        self._lock = threading.Lock()

    def end(self) -> None:
        """Ends the child and all that it started, at once; any thread may ask for it, at any time."""
        with self._lock:
            if self._group is not None:
                _end_group(self._group)

    def forget(self) -> None:
        """From here on the number of the group may be somebody else's."""
        with self._lock:
            self._group = None


def _end_group(group: int) -> None:
    # A group of zombies alone is no error on Linux, and one on macOS.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


class _Crew:
    """The children of threads that work side by side."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._over = False

    def join(self, child: Child) -> None:
        with self._lock:
            self._children.add(child)
        self.check()

    def leave(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)

    def check(self) -> None:
        if self._over:
            raise CalledOff("another of the parts that run side by side has failed, or they were interrupted")

    def end(self) -> None:
        with self._lock:
            self._over = True
            for child in self._children:
                child.end()


_crew: ContextVar[_Crew | None] = ContextVar("_crew", default=None)


@contextlib.contextmanager
def child(
    command: Sequence[str],
    *,
    folder: Path,
    output: IO[Any] | int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """A child process without input, its two outputs joined in ``output``; with the block's end it ends.

    Args:
        command: program and arguments.
        folder: its working folder.
        output: an open file, or ``subprocess.PIPE``.
        environment: all of its environment variables; None: this process's.

    Raises:
        OSError: the program cannot be started.
        CalledOff: see :func:`side_by_side`.
    """
    crew = _crew.get()
    if crew:
        crew.check()
    guard = subprocess.Popen(
        _GUARD,
        cwd="/",
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    process: subprocess.Popen[Any] | None = None
    # Until the guard is waited for, the number of its group can be nobody else's.
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=guard.pid,
        )
        started = Child(process, guard.pid)
        try:
            if crew:
                crew.join(started)
            yield started
            if crew:
                crew.check()
        finally:
            if crew:
                crew.leave(started)
            started.forget()
    finally:
        _end_group(guard.pid)
        for ended in filter(None, (process, guard)):
            ended.wait()
            for stream in filter(None, (ended.stdin, ended.stdout)):
                stream.close()


def side_by_side(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Runs the tasks in threads of their own and returns their results, in order.

    When one fails, or this thread is interrupted, the children (:func:`child`) that the others have running
    are ended, and further ones are refused with CalledOff. The failure is raised when all threads are done.
    """
    crew = _Crew()

    def work(task: Callable[[], T]) -> T:
        _crew.set(crew)
        return task()

    with ThreadPoolExecutor(max(1, len(tasks))) as pool:
        try:
            futures = [pool.submit(copy_context().run, work, task) for task in tasks]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return [future.result() for future in futures]
        except BaseException:
            crew.end()
            raise
