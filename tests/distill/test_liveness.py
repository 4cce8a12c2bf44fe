"""A run whose ranks have lost one ends instead of waiting for it."""

import multiprocessing
import os
import signal
import time

import pytest

from distill.launching.world import World, free_port
from distill.liveness import Liveness
from tests.distill.watched_rank import rank


@pytest.fixture
def ranks():
    """Two ranks that watch each other, what each says, and the event that lets them leave."""
    # A test process has threads, with which a forked one could be stuck for ever; a server that forks has none.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.distill.watched_rank"])
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    leaves, port = context.Event(), free_port()
    processes = [context.Process(target=rank, args=(number, port, pipes[number][1], leaves)) for number in range(2)]
    for process in processes:
        process.start()
    said = [reader for reader, _ in pipes]
    assert all(reader.poll(60) for reader in said)
    assert [reader.recv() for reader in said] == ["watching", "watching"]
    yield processes, said, leaves
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])  # SIGSTOP: cut off, its sockets still open
def test_the_others_end_and_name_the_rank_that_is_lost(ranks, lost, how):
    processes, said, _ = ranks
    os.kill(processes[lost].pid, how)
    assert said[1 - lost].poll(20)
    message = said[1 - lost].recv()
    assert f"rank {lost} of 2 has given no sign of life" in message and "Run the same command again" in message
    processes[1 - lost].join(timeout=10)
    assert processes[1 - lost].exitcode == 1


def test_ranks_that_live_are_left_alone_and_leave_at_the_end(ranks):
    processes, said, leaves = ranks
    time.sleep(1.5)
    leaves.set()
    for process in processes:
        process.join(timeout=20)
    assert [process.exitcode for process in processes] == [0, 0]
    assert not any(reader.poll() for reader in said)


def test_ranks_that_were_all_paused_go_on(ranks):
    """As by `scontrol suspend`: the clock has gone on meanwhile."""
    processes, said, leaves = ranks
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in processes:
            os.kill(process.pid, number)
        time.sleep(2.0)
    leaves.set()
    for process in processes:
        process.join(timeout=20)
    assert [process.exitcode for process in processes] == [0, 0]
    assert not any(reader.poll() for reader in said)


def test_one_rank_alone_watches_nobody():
    with Liveness(World(), end=lambda message: pytest.fail(message)):
        pass
