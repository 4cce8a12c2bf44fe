"""What the tests of this room share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

DATA = Path(__file__).parent / "data"


def _randomise(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """Give every parameter and BatchNorm statistic a random value; fresh ones (0 and 1) hide half of all errors."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for part in module.modules():
            for name, value in part.named_parameters(recurse=False):
                if value.dim() <= 1 and name == "weight":
                    uniform(value, 0.5, 1.5)
                else:
                    fan_in = value[0].numel() if value.dim() > 1 else 4
                    uniform(value, -(fan_in**-0.5), fan_in**-0.5)
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                uniform(part.running_mean, -0.5, 0.5)
                uniform(part.running_var, 0.5, 2.0)
    return module


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Images are tiny here: on a busy machine, threads that wait for each other cost more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def randomise() -> Callable[..., nn.Module]:
    return _randomise


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """(90, 140, 3) uint8 RGB: not square, smooth in places, sharp in others."""
    generator = np.random.default_rng(3)
    rows, columns = np.mgrid[0:90, 0:140]
    image = np.stack([rows * 2, columns, (rows + columns)], axis=-1).astype(np.uint8)
    image[20:50, 70:120] = generator.integers(0, 256, (30, 50, 3), dtype=np.uint8)
    return image


@pytest.fixture(scope="session")
def key_list() -> Callable[[str], dict[str, tuple[int, ...]]]:
    """Names and shapes of an original checkpoint, in its order."""

    def read(name: str) -> dict[str, tuple[int, ...]]:
        lines = (DATA / f"{name}.txt").read_text().splitlines()
        pairs = (line.split(" ", 1) for line in lines)
        return {key: tuple(int(side) for side in shape.strip("()").split(",") if side.strip()) for key, shape in pairs}

    return read
