"""What an image encoder computes and holds, counted on tensors without data: nothing is computed."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from encoders.registry import build_image_encoder

STEP_PASSES = 3  # a forward pass, and a backward pass of twice its products


def forward_tflop(arch: str, *, image_size: int) -> float:
    """Return the TFLOP of one photo's forward pass: two for each product of a convolution or matrix."""
    with torch.device("meta"):
        encoder, image = build_image_encoder(arch, image_size=image_size).eval(), torch.empty(1, 3, image_size, image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(image)
    return counter.get_total_flops() / 1e12


def parameter_count(arch: str, *, image_size: int) -> int:
    """Return the number of the image encoder's parameters."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_image_encoder(arch, image_size=image_size).parameters())


def activation_bytes(arch: str, *, image_size: int, batch: int, training: bool) -> int:
    """Return the most bytes of activations, and of gradients in training, that live at one time, in fp32.

    Autocast holds fewer; the libraries' workspace and fragmentation come on top.
    """
    with torch.device("meta"):
        encoder, image = build_image_encoder(arch, image_size=image_size), torch.empty(batch, 3, image_size, image_size)
    encoder.train(training)
    with torch.set_grad_enabled(training), LiveBytes() as live:
        embedding: Tensor = encoder(image)
        if training:
            embedding.square().mean().backward()
    return live.most


class LiveBytes(TorchDispatchMode):
    """Adds up the tensors that operations make while it is active.

    Attributes:
        most: largest sum of bytes that were alive together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._now = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {tensor.untyped_storage()._cdata for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage(), given)
        return found

    def _add(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        key = storage._cdata
        if key in self._seen or key in given:  # a view, or written in place
            return
        self._seen.add(key)
        self._now += storage.nbytes()
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._free, key, storage.nbytes())

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._now -= size
