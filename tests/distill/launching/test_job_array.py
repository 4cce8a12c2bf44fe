"""The place of a process in a SLURM job array, each job of which does a fixed share."""

import pytest

from distill.engines.base import shared_world
from distill.launching.slurm import array_place
from distill.launching.world import World
from encoders.errors import InputError


def array(number: int, *, first: int = 0, last: int = 7, count: int = 8) -> dict[str, str]:
    values = {"ID": number, "MIN": first, "MAX": last, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_a_job_knows_its_number_among_those_of_the_array():
    assert array_place({}) == (0, 1)
    assert array_place(array(3)) == (3, 8)
    assert array_place(array(9, first=1, last=9, count=5)) == (4, 5)  # --array=1-9:2
    assert array_place(array(5, first=5, last=5, count=1)) == (0, 1)  # one job submitted again does all that is missing


@pytest.mark.parametrize(
    "environment", [array(3, count=7), array(8), array(2, first=1, last=9, count=5), array(0) | {"SLURM_ARRAY_TASK_MAX": "x"}]
)
def test_an_array_with_gaps_is_refused_as_nobody_would_do_their_share(environment):
    with pytest.raises(InputError, match="without gaps, as in --array=0-7|must be whole numbers"):
        array_place(environment)


def test_the_tasks_of_each_job_share_its_share():
    task = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"}
    assert shared_world(array(3) | task) == World(7, 16, 1)
    assert shared_world(task) == World(1, 2, 1)
    assert shared_world({}) == World()
