"""Arrays to a device and back with few waits: the host waits for each copy back, and for one of memory that is not pinned."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def sent(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device; the host does not wait for a CUDA device."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def fetched(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Copy tensors of one device to the host by a single transfer; those of the CPU are not copied.

    The largest array may share memory with what the others were cut from.
    """
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return [tensor.numpy() for tensor in tensors]
    ordered = sorted(range(len(tensors)), key=lambda number: -tensors[number].element_size())  # so that numbers are aligned
    content = torch.cat([tensors[number].flatten().contiguous().view(torch.uint8) for number in ordered]).cpu().numpy()
    sizes = [tensor.numel() * tensor.element_size() for tensor in tensors]
    arrays = [content] * len(tensors)
    start = 0
    for number in ordered:
        part = content[start : start + sizes[number]]
        if sizes[number] < max(sizes):
            part = part.copy()  # so that who keeps it does not keep all
        arrays[number] = part.view(_numpy_type(tensors[number].dtype)).reshape(tensors[number].shape)
        start += sizes[number]
    return arrays


def _numpy_type(dtype: torch.dtype) -> np.dtype:
    return torch.empty(0, dtype=dtype).numpy().dtype
