"""A checksum of a model's tensors that does not depend on the file they were loaded from."""

import hashlib

import torch
from torch import nn


def weights_checksum(*modules: nn.Module) -> str:
    """sha256, in hex, of the names, shapes, dtypes and stored bytes of all parameters and buffers of the modules."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            stored = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)  # NumPy has no bfloat16
            digest.update(stored.numpy().tobytes())
    return digest.hexdigest()
