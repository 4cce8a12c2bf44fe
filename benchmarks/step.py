"""One update of the embedding stage, by the training loop's own step, by DDP and by a bare loop, on the same tensors.

- bare: batch to device, forward, loss, backward, fused AdamW. Nothing is averaged, clipped or recorded.
- ddp: the same in torch's DistributedDataParallel (one process, gloo), with clipping and a moving average of the weights as
  torch's own functions do them, and the loss read at every step.
- ours: `distill.step.TrainingSteps` on the DeepSpeed engine with its clipping and average, read at every 20th step.
- overhead: seconds of ours / bare - 1; over_ddp: ours / ddp; the median update of each, in turn.
- parts: share of one update of ours in forward and loss, backward, optimizer, and all else.

With --ranks 2 instead: updates a second of two processes with one thread each, that share a global batch, over those of one
process with two threads; ratio is the median of pairs of runs. BatchNorm's statistics are those of the global batch, for which
the processes wait for each other twice in every layer; --local-batchnorm (compute.sync_batchnorm: false) leaves that out.

Run: python -m benchmarks.step [--json] [--arch repvit_m1_1] [--image-size 512] [--batch 4] [--rounds 7]
[--ranks 2 [--local-batchnorm]]. On the CPU.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import encoders
from benchmarks.output import print_facts
from benchmarks.timing import alternate
from distill.config.deepspeed import read_deepspeed_config
from distill.config.losses import EmbeddingLossConfig
from distill.config.runs import EmbeddingRun
from distill.ema import Ema
from distill.engine import initialize, join_world
from distill.launching.world import free_port
from distill.losses import embedding_losses
from distill.step import TrainingSteps
from encoders.contract import EMBED_DIM, STRIDE
from shards.loading.batch import Batch

READ_EVERY = 20  # steps, as the loop's default
WARM_UP = 2
WEIGHTS = EmbeddingLossConfig()


class Student:
    """The embedding stage with one batch of noise in place of a cache."""

    batchnorm_learns = True
    steps_per_epoch = 1
    loss_names = ("mse",)
    measured_names = ()
    manifest = None
    facts: ClassVar[dict[str, Any]] = {}

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.module = encoders.build_image_encoder(options.arch, image_size=options.image_size).train()

    def losses(self, engine: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return loss_of(engine, batch)

    def remark(self, measured: Mapping[str, float]) -> None:
        return None

    def sam(self, state_dict: Mapping[str, Tensor]) -> encoders.Sam:
        raise NotImplementedError("a benchmark exports nothing")

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters()), "lr_factor": 1.0}]


def loss_of(module: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The embedding losses of one batch."""
    there = batch.to_device("cpu")
    return embedding_losses(module(there.image), there.teacher, there.valid, weights=WEIGHTS)


def noise(options: argparse.Namespace, *, photos: int) -> Batch:
    """A batch of `photos` photos of noise, a quarter of each padded."""
    size, side = options.image_size, options.image_size // STRIDE
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (photos, size, size, 3), generator=generator, dtype=torch.uint8)
    codes = torch.randint(-127, 128, (photos, EMBED_DIM, side, side), generator=generator, dtype=torch.int8)
    return Batch(
        keys=[str(number) for number in range(photos)],
        pixels=pixels.permute(0, 3, 1, 2),
        sizes=torch.tensor([[size * 3 // 4, size]] * photos),
        codec="int8",
        codes=codes,
        scales=torch.full((photos, EMBED_DIM, 1), 0.01),
    )


def ours(options: argparse.Namespace, *, world_size: int = 1) -> Callable[[], None]:
    """One update by the training loop's own parts, each time it is called."""
    settings = {
        "name": "benchmark",
        "model": {"arch": options.arch, "image_size": options.image_size},
        "teacher": {"model": "none"},
        "data": {"cache": "none"},
        "schedule": {"steps": 1},
        "global_batch": options.batch,
        "compute": {"sync_batchnorm": not options.local_batchnorm},
    }
    config, task = EmbeddingRun.model_validate(settings), Student(options)
    engine = initialize(task, config, world=join_world(), settings=read_deepspeed_config("zero0"))
    engine.train()
    average, steps = Ema(engine.module, decay=0.999), TrainingSteps(engine, task, clip_grad_norm=1.0)
    batch, taken = noise(options, photos=options.batch // world_size), 0

    def update() -> None:
        nonlocal taken
        steps.take([batch])
        average.update()
        taken += 1
        if taken % READ_EVERY == 0:
            steps.read()

    return update


def ddp(options: argparse.Namespace) -> Callable[[], None]:
    """One update as a loop on torch's own parts has it."""
    join_world()
    module = DistributedDataParallel(Student(options).module)
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    average = AveragedModel(module.module, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True)
    batch = noise(options, photos=options.batch)

    def update() -> None:
        total = torch.stack(list(loss_of(module, batch).values())).sum()
        total.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(module.module)
        total.item()

    return update


def bare(options: argparse.Namespace, clock: "Clock | None" = None) -> Callable[[], None]:
    """One update with nothing around it."""
    module = Student(options).module
    optimizer, batch = torch.optim.AdamW(module.parameters(), fused=True), noise(options, photos=options.batch)

    def update() -> None:
        mark = clock.mark if clock is not None else lambda name: None
        mark("start")
        total = torch.stack(list(loss_of(module, batch).values())).sum()
        mark("forward")
        total.backward()
        mark("backward")
        optimizer.step()
        optimizer.zero_grad()
        mark("optimizer")

    return update


class Clock:
    """Seconds between marks, by the name of the mark that ends them."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._last = 0.0

    def mark(self, name: str) -> None:
        """End a part; "start" begins the first."""
        now = time.perf_counter()
        if name != "start":
            self.seconds.setdefault(name, []).append(now - self._last)
        self._last = now


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed for one process."""
    clock = Clock()
    subjects = {"ours": ours(options), "bare": bare(options, clock), "ddp": ddp(options)}
    for update in subjects.values():
        for _ in range(WARM_UP):
            update()
    clock.seconds.clear()
    seconds = alternate(subjects, rounds=options.rounds)
    parts = {name: statistics.median(values) / seconds["ours"] for name, values in clock.seconds.items()}
    return {
        "overhead": seconds["ours"] / seconds["bare"] - 1,
        "over_ddp": seconds["ours"] / seconds["ddp"],
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **{f"{name}_share": value for name, value in parts.items()},
        "else_share": 1 - sum(parts.values()),
        **{name: getattr(options, name) for name in ("arch", "image_size", "batch", "threads", "rounds")},
    }


def measure_ranks(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed for several processes against one with as many threads."""
    rates: dict[str, list[float]] = {"ranks": [], "one": []}
    for _ in range(options.rounds):
        rates["one"].append(run_ranks(options, ranks=1, threads=options.ranks))
        rates["ranks"].append(run_ranks(options, ranks=options.ranks, threads=1))
    ratios = [several / one for several, one in zip(rates["ranks"], rates["one"], strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "ratios": [round(ratio, 3) for ratio in ratios],
        **{f"{name}_updates_per_second": statistics.median(values) for name, values in rates.items()},
        **{name: getattr(options, name) for name in ("arch", "image_size", "batch", "ranks", "rounds", "local_batchnorm")},
    }


def run_ranks(options: argparse.Namespace, *, ranks: int, threads: int) -> float:
    """Updates a second of `ranks` processes of `threads` threads that share the global batch."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": str(ranks)}
    meeting["OMP_NUM_THREADS"] = str(threads)
    settings = ("arch", "image_size", "batch", "updates")
    arguments = [text for key in settings for text in (f"--{key.replace('_', '-')}", str(getattr(options, key)))]
    arguments += ["--local-batchnorm"] if options.local_batchnorm else []
    command = [sys.executable, "-m", "benchmarks.step", "--as-rank", "--threads", str(threads), *arguments]
    processes = [
        subprocess.Popen(
            command, env=os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank in range(ranks)
    ]
    answers = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a rank failed; its message is above")
    return float(json.loads(answers[0].splitlines()[-1]))


def as_rank(options: argparse.Namespace) -> float:
    """Updates a second of this rank, which waits for the others in each."""
    update = ours(options, world_size=join_world().world_size)
    for _ in range(WARM_UP):
        update()
    torch.distributed.barrier()
    started = time.perf_counter()
    for _ in range(options.updates):
        update()
    torch.distributed.barrier()
    return options.updates / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--arch", default="repvit_m1_1")
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4, help="photos of an update, over all ranks")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--local-batchnorm", action="store_true", help="with --ranks: no statistics over ranks")
    parser.add_argument("--updates", type=int, default=6, help="timed in each run of several ranks")
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.as_rank:
        print(json.dumps(as_rank(options)))
        return
    print_facts(measure_ranks(options) if options.ranks > 1 else measure(options), as_json=options.json)


if __name__ == "__main__":
    main()
