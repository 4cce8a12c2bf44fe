"""Ranks and rendezvous address from SLURM's environment variables."""

import re
from collections.abc import Mapping

from encoders.errors import InputError

FIRST_PORT, PORTS = 15000, 15000  # below those that Linux gives to outgoing connections
BINDS_GPU = ("SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK", "SLURM_GPU_BIND")


def in_task(environment: Mapping[str, str]) -> bool:
    """Return whether srun started this process as one of its tasks.

    A batch job's script also has a SLURM_PROCID, but it is not a task of a step and runs alone.
    """
    batch_script = "SLURM_JOB_ID" in environment and "SLURM_STEP_ID" not in environment
    return "SLURM_PROCID" in environment and "SLURM_NTASKS" in environment and not batch_script


def task_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return RANK, WORLD_SIZE and LOCAL_RANK of an srun task as strings."""
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment.get("SLURM_STEP_NUM_TASKS", environment["SLURM_NTASKS"]),
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
    }


def array_place(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return this job's number in its job array, from 0, and the number of jobs of the array; (0, 1) outside of one.

    Raises:
        InputError: the array leaves out numbers, so that nobody would do the share of those.
    """
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
    if any(name not in environment for name in names):
        return 0, 1
    try:
        number, first, last, count = (int(environment[name]) for name in names)
    except ValueError as error:
        raise InputError(f"{', '.join(names)} must be whole numbers ({error}); start with sbatch --array=0-7") from error
    step = (last - first) // (count - 1) if count > 1 else 1
    if first + step * (count - 1) != last or not first <= number <= last or (number - first) % max(1, step):
        raise InputError(
            f"the job array has {count} jobs from {first} to {last} and this is {number}, so that some numbers are missing;"
            " each job does a fixed share: number them without gaps, as in --array=0-7"
        )
    return (number - first) // max(1, step), count


def meeting_point(environment: Mapping[str, str]) -> dict[str, str]:
    """Return MASTER_ADDR, the node of the first task, and MASTER_PORT, derived from the job number.

    Raises:
        InputError: SLURM names no node.
    """
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    address = first_node(nodes) if nodes else environment.get("SLURM_LAUNCH_NODE_IPADDR")
    if not address:
        raise InputError("neither SLURM_NODELIST nor SLURM_LAUNCH_NODE_IPADDR says where the first task runs; set MASTER_ADDR")
    numbers = [environment.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
    job, step = (int(number) if number.isdecimal() and len(number) < 20 else 0 for number in numbers)
    return {"MASTER_ADDR": address, "MASTER_PORT": str(FIRST_PORT + (7 * job + step) % PORTS)}


def first_node(nodes: str) -> str:
    """Return the first node of SLURM's node list: node007 of "node[007-010,012],other"."""
    first = re.match(r"(?:[^,\[\]]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0]) if first else ""


def binds_gpu(environment: Mapping[str, str]) -> bool:
    """Return whether srun was asked to bind separate GPUs to each task."""
    values = [environment.get(name, "") for name in BINDS_GPU]
    return bool(values[0]) or "gpu" in values[1] or values[2] not in ("", "none")
