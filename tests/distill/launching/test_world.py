"""Where a process stands, by the variables of its launcher, and which GPU is its own."""

import pytest
import torch

from distill.launching.slurm import first_node
from distill.launching.world import World, meeting_variables, read_world
from encoders.errors import InputError

SRUN = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_NODELIST": "gpu[07-10]"}


def test_srun_says_where_its_tasks_are():
    assert read_world(SRUN) == World(rank=5, world_size=8, local_rank=1)
    step = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "6"}
    assert read_world(SRUN | step) == World(rank=5, world_size=6, local_rank=1)


def test_the_variables_of_torchrun_and_deepspeed_come_first():
    assert read_world(SRUN | {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}) == World(0, 2, 0)


def test_the_script_of_a_batch_job_is_alone():
    script = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}
    assert read_world(script) == World()


def test_numbers_of_srun_that_cannot_be_are_refused_by_name():
    with pytest.raises(InputError, match="SLURM_PROCID=8 does not lie below SLURM_NTASKS=8"):
        read_world(SRUN | {"SLURM_PROCID": "8"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[07-10,12],cpu3", "gpu07"),
        ("gpu[3,5]", "gpu3"),
        ("login", "login"),
        ("a-b,c", "a-b"),
        ("rack[1-2]n[04-05]-ib", "rack1n04-ib"),
    ],
)
def test_tasks_meet_at_the_first_node_of_the_list(nodes, first):
    assert first_node(nodes) == first


def test_all_tasks_of_srun_meet_at_one_place():
    worlds = [read_world(SRUN | {"SLURM_PROCID": str(rank)}) for rank in range(8)]
    found = [meeting_variables(world, SRUN | {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0"}) for world in worlds]
    assert [variables["RANK"] for variables in found] == [str(rank) for rank in range(8)]
    assert {(variables["MASTER_ADDR"], variables["WORLD_SIZE"]) for variables in found} == {("gpu07", "8")}
    (port,) = {variables["MASTER_PORT"] for variables in found}
    assert 1024 < int(port) < 32768
    without_list = {name: value for name, value in SRUN.items() if name != "SLURM_NODELIST"}
    assert meeting_variables(worlds[0], without_list | {"SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7"})["MASTER_ADDR"] == "10.0.0.7"
    given = meeting_variables(worlds[0], SRUN | {"MASTER_ADDR": "head", "MASTER_PORT": "29500"})
    assert (given["MASTER_ADDR"], given["MASTER_PORT"]) == ("head", "29500")


def test_several_processes_that_nobody_tells_where_to_meet_are_refused():
    with pytest.raises(InputError, match="MASTER_ADDR and MASTER_PORT do not say where they meet"):
        meeting_variables(World(1, 2, 1), {"RANK": "1", "WORLD_SIZE": "2"})
    assert meeting_variables(World(), {"RANK": "0", "WORLD_SIZE": "1"})["MASTER_ADDR"] == "127.0.0.1"


@pytest.fixture
def gpus(monkeypatch):
    """Pretends so many GPUs."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.delenv("DS_ACCELERATOR", raising=False)

    return pretend


def device_of(environment: dict[str, str]) -> torch.device:
    return read_world(environment).device


def test_a_process_without_a_gpu_of_its_own_is_refused(gpus):
    gpus(1)
    with pytest.raises(InputError, match=r"process 3 of this machine.*sees 1.*srun --gpus-per-task=1"):
        device_of({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3"})
    gpus(4)
    assert device_of({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3"}) == torch.device("cuda", 3)


@pytest.mark.parametrize("binding", [{"SLURM_GPUS_PER_TASK": "1"}, {"SLURM_TRES_PER_TASK": "cpu=4,gres/gpu=1"}])
def test_a_task_that_sees_one_gpu_of_its_own_takes_it(gpus, binding):
    gpus(1)
    task = SRUN | binding
    assert device_of(task) == torch.device("cuda", 0)
    assert meeting_variables(read_world(task), task)["LOCAL_RANK"] == "0"  # DeepSpeed takes the GPU of this number
    by_hand = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    assert device_of(task | by_hand) == torch.device("cuda", 0)
    with pytest.raises(InputError, match="no GPU of its own"):  # torchrun under one task
        device_of(task | by_hand | {"LOCAL_WORLD_SIZE": "8"})
