"""Object stores in memory, emptied after each test."""

from collections.abc import Iterator

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from shards.stores.retry import Retry
from tests.shards.helpers.faulty_store import FaultyFileSystem

QUICK = Retry(tries=4, first_seconds=0.001, longest_seconds=0.002, timeout_seconds=0.3)


@pytest.fixture(autouse=True)
def _empty_stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("shards.stores.retry.DEFAULT_RETRY", QUICK)
    monkeypatch.setattr("shards.cache.remote.DEFAULT_RETRY", QUICK)
    monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(lambda operation, path: None))
    monkeypatch.setattr(FaultyFileSystem, "calls", [])
    yield
    for filesystem in (MemoryFileSystem, FaultyFileSystem):
        filesystem.store.clear()
        filesystem.pseudo_dirs[:] = [""]
