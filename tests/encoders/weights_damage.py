"""Weights files of every format, and what can happen to a file on its way."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from encoders.weights.safetensors_files import write_safetensors

FACTS = {"format": "repvit-sam-1", "arch": "repvit_m0_6", "image_size": "128", "fused": "false"}
Write = Callable[[dict[str, Tensor], Path], object]

WRITERS: dict[str, Write] = {
    "ours": lambda state, path: write_safetensors(path, state, metadata=FACTS),
    "ours without a checksum": lambda state, path: save_file(state, path, metadata=FACTS),
    "safetensors of others": lambda state, path: save_file(state, path),
    "zip": lambda state, path: torch.save(state, path),
    "legacy": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
}


def small_state() -> dict[str, Tensor]:
    """A few tensors of a RepViT's names, no real model."""
    generator = torch.Generator().manual_seed(0)
    return {
        "image_encoder.stem.conv1.c.weight": torch.randn(8, 3, 3, 3, generator=generator),
        "image_encoder.stem.conv1.bn.running_mean": torch.randn(8, generator=generator),
        "image_encoder.stem.conv1.bn.running_var": torch.rand(8, generator=generator) + 0.5,
        "image_encoder.stem.conv1.bn.num_batches_tracked": torch.tensor(10**12),
        "mask_decoder.iou_token.weight": torch.randn(1, 256, generator=generator).half(),
    }


def mutated(data: bytes, rng: np.random.Generator, *, head: int) -> bytes:
    """The data after one accident: a bit or byte changed, a range zeroed, scrambled, lost or inserted, or the end cut off.

    Args:
        head: half of all accidents happen in so many first bytes, where the names and shapes are.
    """
    changed = bytearray(data)
    place = int(rng.integers(min(head, len(data)) if rng.integers(2) else len(data)))
    length = int(rng.integers(1, 64))
    there = slice(place, min(place + length, len(data)))
    match int(rng.integers(7)):
        case 0:
            changed[place] ^= 1 << int(rng.integers(8))
        case 1:
            changed[place] = int(rng.integers(256))
        case 2:
            changed[there] = bytes(there.stop - place)
        case 3:
            changed[there] = rng.bytes(there.stop - place)
        case 4:
            del changed[there]
        case 5:
            changed[place:place] = rng.bytes(length)
        case 6:
            del changed[place:]
    return bytes(changed)
