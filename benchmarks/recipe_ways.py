"""The ways of training that `benchmarks.recipes` compares, and the configs of their runs."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BATCH = 4  # windows; whole photos come in batches of as many pixels
RATES = {"repvit": 0.006, "tiny_vit": 0.003}
OTHER_RATE = 0.003
LAST_RATE = 0.01  # relative to the first
# The second stage begins, after a warm-up, at the rate at which the first one ends; docs/log.md has what else was tried.
REST = 0.15
COMMON: dict[str, Any] = {
    "optim": {"weight_decay": 0.05, "betas": [0.9, 0.98]},
    "ema": {"decay": 0.99},
    "checkpoint": {"every_steps": 100, "keep": 1},
}
SECOND: dict[str, Any] = {
    "stage": "prompt",
    "prompts": {"per_photo": 6, "min_pixels": 16, "min_score": 0.3},
    "loss": {"mse": 4.0},
    "mask_loss": {"targets": "hard", "bce": 3.0, "dice": 2.0},
}
SPREAD = (0.7, 1.3)  # of windows, about the scale at which objects are as large as where students are measured


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of training.

    Attributes:
        arch: of the student; None is the one given by --arch.
        views: whether a photo is seen in several windows, not as one whole photo of the size that is measured.
        first, second: shares of --steps that the embedding stage and the prompt stage take.
    """

    arch: str | None = None
    views: bool = True
    first: float = 1.0
    second: float = 0.0


WAYS = {
    "stage 1": Way(),
    "stage 1, one view": Way(views=False),
    "stages 1 and 2": Way(first=0.75, second=0.25),
    "stages 1 and 2, half the samples": Way(first=0.375, second=0.125),
    "TinyViT, stage 1": Way(arch="tiny_vit"),
}
RECIPE: dict[str, Any] = {
    "batch": BATCH,
    "rates": RATES,
    "other_rate": OTHER_RATE,
    "last_rate": LAST_RATE,
    "rest": REST,
    "common": COMMON,
    "second": SECOND,
    "spread": list(SPREAD),
    "ways": {name: asdict(way) for name, way in WAYS.items()},
}


def size_of(way: Way, options: argparse.Namespace) -> int:
    """Return the image size that a way trains at."""
    size: int = options.image_size if way.views else options.measured_size
    return size


def work_of(way: Way, *, steps: int, window: int, measured: int) -> tuple[int, int, int]:
    """Return the number of photos in a step and of steps of each stage, so that all ways see equally many pixels."""
    batch = BATCH
    if not way.views:
        photos = BATCH * (window / measured) ** 2  # in a step, of as many pixels as the windows
        batch = max(1, round(photos))
        steps = round(steps * photos / batch)
    return batch, round(way.first * steps), round(way.second * steps)


def samples_of(way: Way, *, steps: int, window: int, measured: int) -> int:
    """Return the number of samples that a way trains on."""
    batch, first, second = work_of(way, steps=steps, window=window, measured=measured)
    return batch * (first + second)


def run_folder(name: str, *, seed: int, out: Path) -> Path:
    """Return the folder of a way's run: `stages_1_and_2_seed_0`."""
    words = name.lower().replace(",", "").replace(" ", "_")
    return out / "runs" / f"{words}_seed_{seed}"


def configs_of(name: str, *, seed: int, cache: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the configs of the runs of a way, one for each stage."""
    way, folder = WAYS[name], run_folder(name, seed=seed, out=options.out)
    batch, first, second = work_of(way, steps=options.steps, window=options.image_size, measured=options.measured_size)
    shared: dict[str, Any] = {"seed": seed, "cache": cache, "batch": batch, "options": options}
    if not second:
        return [_config(way, out=folder, steps=first, **shared)]
    base = folder.parent / f"{folder.name}_stage_1"
    embedding, masks = _config(way, out=base, steps=first, **shared), _config(way, out=folder, steps=second, **shared)
    embedding["schedule"]["min_lr_ratio"] = REST
    masks["model"]["init"] = str(base)
    masks["optim"]["lr"] *= REST
    return [embedding, masks | SECOND]


def _config(
    way: Way, *, out: Path, steps: int, seed: int, cache: Path, batch: int, options: argparse.Namespace
) -> dict[str, Any]:
    arch = way.arch or options.arch
    rate = next((rate for family, rate in RATES.items() if arch.startswith(family)), OTHER_RATE)
    return COMMON | {
        "name": out.name,
        "out": str(out),
        "seed": seed,
        "model": {"arch": arch, "image_size": size_of(way, options)},
        "teacher": {"model": options.teacher, "image_size": size_of(way, options)},
        "data": {"cache": str(cache), "num_workers": 0},
        "optim": {"lr": rate, **COMMON["optim"]},
        "schedule": {"steps": steps, "warmup_steps": max(1, min(50, steps // 8)), "min_lr_ratio": LAST_RATE},
        "global_batch": batch,
    }
