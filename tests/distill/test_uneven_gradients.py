"""What two ranks must agree on although their batches differ."""

import multiprocessing

import pytest

from distill.launching.world import free_port
from tests.distill import uneven_rank


def on_two_ranks(target):
    """What each of two ranks sends."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.distill.uneven_rank"])
    pipes, port = [context.Pipe(duplex=False) for _ in range(2)], free_port()
    processes = [context.Process(target=target, args=(number, port, pipes[number][1])) for number in range(2)]
    for process in processes:
        process.start()
    try:
        assert all(reader.poll(60) for reader, _ in pipes)
        return [reader.recv() for reader, _ in pipes]
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def test_parameters_that_only_one_rank_has_gradients_of_are_averaged_too():
    """Ranks 0 and 1 have gradients of the second and the third parameter: 4 on one rank and none on the other, so 2."""
    expected = [[3.0], [2.0, 2.0], [2.0, 2.0, 2.0]]
    assert on_two_ranks(uneven_rank.uneven) == [expected, expected]


@pytest.mark.parametrize("target", [uneven_rank.checkpointed])
def test_checkpoints_go_with_batchnorm_over_ranks_and_count_each_batch_once(target):
    assert on_two_ranks(target) == [[[1], True]] * 2
