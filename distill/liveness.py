"""Ends a run whose ranks have lost one of their number: collectives would wait for it for half an hour or more.

A rank that is killed on this machine is noticed by its launcher. One whose machine is gone, or cut off, is not: NCCL and gloo
wait for it. So every rank says that it is alive every few seconds, in a store that rank 0 keeps, and ends itself when another
has not done so for long. The beats come from a thread, so a rank that is busy with a slow step counts as alive.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType

from torch.distributed import TCPStore

from distill.launching.world import World, free_port
from distill.ranks import gather_over_ranks

BEAT_SECONDS = 5.0
SILENT_SECONDS = 40.0  # a rank that has not given a sign of life for so long is lost
EXIT_CODE = 1


class Liveness:
    """Watches the ranks of a run within the block; does nothing where there is one rank.

    Args:
        world: this process's rank.
        silent_seconds: how long a rank may give no sign of life.
        beat_seconds: how often each gives one.
        end: called with the message when a rank is lost; by default it is printed and the process ends at once, as the main
            thread may be waiting for the lost rank.
    """

    def __init__(
        self,
        world: World,
        *,
        silent_seconds: float = SILENT_SECONDS,
        beat_seconds: float = BEAT_SECONDS,
        end: Callable[[str], None] | None = None,
    ) -> None:
        self._rank, self._size = world.rank, world.world_size
        self._silent, self._beat = silent_seconds, beat_seconds
        self._end = end or _end_now
        self._over = threading.Event()
        self._left = threading.Event()
        self._failed = False

    def __enter__(self) -> "Liveness":
        if self._size > 1:
            host = os.environ.get("MASTER_ADDR", "127.0.0.1")
            port = int(gather_over_ranks(free_port() if self._rank == 0 else "0")[0])
            self._store = TCPStore(
                host, port, is_master=self._rank == 0, wait_for_workers=False, timeout=timedelta(seconds=self._silent)
            )
            now = time.monotonic()
            self._seen, self._heard = dict.fromkeys(range(self._size), (0, now)), now
            for loop in (self._talk, self._watch):
                threading.Thread(target=loop, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._size > 1 and not self._over.is_set():
            self._failed = error is not None  # then the others must miss this rank
            self._over.set()
            self._left.wait(2 * self._beat)  # not for ever: rank 0 may have gone first, with the store

    def _talk(self) -> None:
        """Exchange beats with the store; a call may never return where the machine of rank 0 is cut off."""
        while not self._over.wait(self._beat):
            try:
                self._store.add(f"beats of {self._rank}", 1)
                beats = {rank: self._store.add(f"beats of {rank}", 0) for rank in self._seen}
                over = self._store.add("over", 0)
            except RuntimeError:  # torch's DistStoreError: rank 0 is gone, and its store with it; `_watch` will say so
                self._left.set()
                return
            self._heard = now = time.monotonic()
            self._seen = {rank: (beats[rank], now) if beats[rank] != seen[0] else seen for rank, seen in self._seen.items()}
            if over:  # another rank has come to the end, and this one is about to
                self._over.set()
        if not self._failed:
            self._leave()
        self._left.set()

    def _watch(self) -> None:
        """End this process when another rank, or the store of rank 0, has been silent for too long.

        Time in which this process itself was paused, as by `scontrol suspend`, does not count: nobody was listening.
        """
        looked = time.monotonic()
        while not self._over.wait(self._beat):
            now = time.monotonic()
            paused, looked = now - looked - self._beat, now
            if paused > self._beat:
                self._heard = now
                self._seen = {rank: (count, now) for rank, (count, _) in self._seen.items()}
                continue
            silent = [rank for rank, (_, at) in self._seen.items() if rank != self._rank and now - at > self._silent]
            if self._rank and now - self._heard > self._silent:
                silent = [0]
            if silent:
                self._lost(silent)
                return

    def _leave(self) -> None:
        """Tell the others that the run is over, so that they do not miss this rank."""
        with suppress(RuntimeError):
            self._store.add("over", 1)

    def _lost(self, ranks: list[int]) -> None:
        named = ", ".join(map(str, ranks))
        self._end(
            f"error: rank {named} of {self._size} has given no sign of life for {self._silent:.0f} seconds, so its machine is "
            "down or cut off; this process ends. Run the same command again: the run goes on from its last checkpoint"
        )


def _end_now(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    os._exit(EXIT_CODE)
