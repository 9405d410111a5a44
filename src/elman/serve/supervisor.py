"""Several processes that serve at one address; one that dies is started again.

All of them accept from one socket, which the supervisor has opened. So a connection that nobody has
accepted is lost with no process, and any of them answers it.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from elman.serve.http.server import EXIT_SECONDS

MAX_DELAY_SECONDS = 8.0
"""Before one that dies again and again is started once more."""

STEADY_SECONDS = 30.0
"""A worker that lived for so long is started again at once."""

KILL_SECONDS = EXIT_SECONDS + 2
"""After being told to stop, a worker that is still there is killed."""

Work = Callable[[socket.socket, bool, Callable[[], None]], None]
"""Serves at a socket until it gets SIGTERM, and calls what it is given once it answers. It is told
whether it is the first of all, and is pickled."""

spawn = multiprocessing.get_context("spawn")  # a fork would break the threads of OpenMP


@dataclass
class _Worker:
    """A process in its place.

    Args:
        place: its number.
        pipe: tells that it answers, and ends with it.
        failures: how often those before it in this place died young, one after the other.
    """

    place: int
    process: SpawnProcess
    pipe: Connection
    failures: int
    began: float = field(default_factory=time.monotonic)


class Supervisor:
    """Keeps some workers alive until it is told to stop.

    Args:
        work: what each does.
        listening: where.
        count: how many.
    """

    def __init__(self, work: Work, listening: socket.socket, count: int) -> None:
        self._work, self._listening, self._count = work, listening, count
        self._workers: dict[Connection, _Worker] = {}
        self._waiting: dict[int, tuple[float, int]] = {}
        """By places in which nobody is: when to start one, and the failures before."""
        self._stops = 0
        self._woken, self._wake = spawn.Pipe(duplex=False)

    def run(self) -> int:
        """Return the exit code: 0, or that of the first worker, where it never answered.

        The others start once the first one answers. So what is wrong with what they were all given
        is said once, and whatever is made at a first start is made by one.
        """
        with self._told_by_signals():
            first = self._start(0, 0, is_first=True)
            while not (self._stops or first.pipe.poll()):
                self._wait_for([first.pipe], None)
            try:
                if not self._stops:
                    first.pipe.recv_bytes()
            except EOFError:
                first.process.join()
                return first.process.exitcode or 1
            for place in range(1, self._count):
                self._waiting[place] = (0.0, 0)
            while not self._stops:
                self._start_waiting()
                self._wait_for([*self._workers], self._next_start())
                self._bury()
            return self._stop()

    def _start(self, place: int, failures: int, is_first: bool = False) -> _Worker:
        ours, its = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_begin, args=(self._work, self._listening, is_first, its))
        process.start()
        its.close()
        worker = self._workers[ours] = _Worker(place, process, ours, failures)
        return worker

    def _start_waiting(self) -> None:
        now = time.monotonic()
        for place, (at, failures) in [*self._waiting.items()]:
            if at <= now:
                del self._waiting[place]
                self._start(place, failures)

    def _next_start(self) -> float | None:
        """Return after how many seconds a worker is to be started; None: none is."""
        ats = [at for at, _ in self._waiting.values()]
        return max(0.0, min(ats) - time.monotonic()) if ats else None

    def _wait_for(self, pipes: list[Connection], seconds: float | None) -> None:
        """Wait until a worker tells something or dies, or a signal comes."""
        if self._woken in wait([*pipes, self._woken], seconds):
            self._woken.recv_bytes()

    def _bury(self) -> None:
        """Let go of workers that died, and say when others take their places."""
        for worker in [each for pipe, each in self._workers.items() if pipe.poll()]:
            try:
                worker.pipe.recv_bytes()
                continue
            except EOFError:
                self._forget(worker)
            lived = time.monotonic() - worker.began
            failures = 0 if lived > STEADY_SECONDS else worker.failures + 1
            delay = min(MAX_DELAY_SECONDS, 2.0 ** (failures - 2)) if failures > 1 else 0.0
            self._waiting[worker.place] = (time.monotonic() + delay, failures)
            if not self._stops:
                logging.getLogger("elman").error(
                    "worker %d (process %s) ended with %s; another one starts in %g s",
                    worker.place + 1, worker.process.pid, worker.process.exitcode, delay,
                )  # fmt: skip

    def _forget(self, worker: _Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        del self._workers[worker.pipe]

    def _stop(self) -> int:
        """Tell all workers to stop, and wait until they have; told again, each ends at once."""
        told, until = 0, time.monotonic() + KILL_SECONDS
        while self._workers:
            for _ in range(told, self._stops):
                for worker in self._workers.values():
                    worker.process.terminate()
            told = self._stops
            self._wait_for([*self._workers], max(0.0, until - time.monotonic()))
            self._bury()
            if time.monotonic() > until:
                for worker in [*self._workers.values()]:
                    worker.process.kill()
                    self._forget(worker)
        return 0

    @contextmanager
    def _told_by_signals(self) -> Iterator[None]:
        def told(number: int, frame: object) -> None:
            self._stops += 1
            self._wake.send_bytes(b"stop")

        before = {each: signal.signal(each, told) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _begin(work: Work, listening: socket.socket, is_first: bool, pipe: Connection) -> None:
    """Do the work of one worker, in its process."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C is the supervisor's, which tells us once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(listening, is_first, lambda: pipe.send_bytes(b"answers"))


def _end_with_parent() -> None:
    """Stop as on SIGTERM where the supervisor was killed: the address must be free again."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
