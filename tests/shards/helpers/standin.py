"""A small deterministic teacher, and a precompute with it that can take its time."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import shards
from encoders.sam import Sam

IMAGE_SIZE = 128
CALL: dict[str, Any] = {
    "teacher_name": "stand-in",
    "teacher_sha256": "5a" * 32,
    "samples_per_shard": 5,
    "batch_size": 2,
    "codec_gate": False,  # test_fidelity.py is about it; a run is four times as fast without
}


class PatchEncoder(nn.Module):
    """One 16 x 16 patch embedding with a non-linearity; padding gives other values than photos."""

    def __init__(self, *, image_size: int, pause_seconds: float) -> None:
        super().__init__()
        self.image_size = image_size
        self.pause_seconds = pause_seconds
        self.patches = nn.Conv2d(3, 256, kernel_size=16, stride=16)

    def forward(self, image: Tensor) -> Tensor:
        time.sleep(self.pause_seconds)
        return torch.tanh(self.patches(image)) * 3 + 0.5


def standin_teacher(*, image_size: int = IMAGE_SIZE, pause_seconds: float = 0.0) -> Sam:
    """The same weights in every process."""
    torch.manual_seed(3)
    encoder = PatchEncoder(image_size=image_size, pause_seconds=pause_seconds)
    return Sam(arch="stand-in", image_encoder=encoder, image_size=image_size).eval()


def run(source: str | Path, out: str | Path, *, pause_seconds: float = 0.0, **changes: Any) -> shards.PrecomputeSummary:
    """Precompute with the stand-in teacher."""
    call = {"teacher": standin_teacher(pause_seconds=pause_seconds), **CALL, **changes}
    return shards.precompute(shards.open_source(source), out=out, **call)


def run_alone(source: str | Path, out: str | Path, **settings: Any) -> None:
    """The same as a process of its own."""
    torch.set_num_threads(1)
    run(source, out, **settings)
