"""A checksum of what a model holds, wherever it was loaded from."""

import hashlib

from torch import nn


def weights_checksum(*modules: nn.Module) -> str:
    """sha256 in hex of names, shapes and float32 values of the modules' tensors."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
