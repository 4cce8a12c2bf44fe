"""A worker in a thread does what other threads ask for, and hands its failure to whoever waits."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.engines.session import Session
from distill.launching.world import World
from encoders.errors import InputError
from tests.distill.engines.tiny_work import TinyWork, written


def test_tasks_that_are_asked_for_at_once_are_all_done(tmp_path):
    session = Session(TinyWork(tmp_path), World())
    assert session.facts() == "facts"
    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(session.do, range(20)))) == 20
    assert written(tmp_path) == {task: str(task**2) for task in range(20)}


def test_a_failure_reaches_those_that_wait_and_those_that_come_later(tmp_path):
    session = Session(TinyWork(tmp_path, refuses=1), World())
    assert session.do(0)
    for task in (1, 2):
        with pytest.raises(InputError, match="task 1 is no good"):
            session.do(task)


def test_a_worker_that_cannot_open_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        Session(TinyWork(tmp_path / "none"), World()).facts()
