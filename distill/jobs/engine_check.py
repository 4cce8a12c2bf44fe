"""Check that training works on this machine: `python -m distill.jobs.engine_check` takes one DeepSpeed step.

It runs in a separate process because a broken CUDA or compiler setup may crash it.
"""

import json
import subprocess
import sys

TIMEOUT_SECONDS = 600


def try_engine() -> dict[str, str]:
    """Run the check in a separate process; return texts on the devices torch sees and on the engine's result."""
    command = [sys.executable, "-m", "distill.jobs.engine_check"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"training": f"DeepSpeed did not take a step within {TIMEOUT_SECONDS} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return dict(json.loads(lines[-1]))
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {"training": f"DeepSpeed does not start: {reason}"}


def take_a_step() -> dict[str, str]:
    """Initialise a single-process group and train one weight for a DeepSpeed step.

    Raises:
        Exception: any error that keeps DeepSpeed from starting.
    """
    import torch

    from distill.engine import import_deepspeed, join_world

    world = join_world()
    module = torch.nn.Linear(4, 1).to(world.device)
    before = module.weight.detach().clone()
    engine, *_ = import_deepspeed().initialize(
        model=module,
        optimizer=torch.optim.AdamW(module.parameters(), lr=0.1),
        config={"train_micro_batch_size_per_gpu": 1, "zero_allow_untested_optimizer": True},
    )
    engine.backward(engine(torch.ones(1, 4, device=world.device)).sum())
    engine.step()
    if torch.equal(before, engine.module.weight):
        raise RuntimeError("a step of DeepSpeed moved nothing")
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "gpus of torch": ", ".join(gpus) or "none",
        "training": f"DeepSpeed took a step on {world.device} with {'NCCL' if world.device.type == 'cuda' else 'gloo'}",
    }


if __name__ == "__main__":
    import contextlib

    with contextlib.redirect_stdout(sys.stderr):
        facts = take_a_step()
    print(json.dumps(facts))
