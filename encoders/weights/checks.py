"""Checks of weights: tensor checksums, and implausible values."""

import hashlib
import json
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from encoders.errors import InputError
from encoders.messages.shown import shown

# The largest value of the SAM, RepViT, TinyViT and EfficientNet weights we know is a variance of some 600, and fp16 ends at
# 65,504. A flipped bit in one of the three highest places of a float32's exponent multiplies a weight by 4e9 or more.
MAX_VALUE = 1e6
MAX_VARIANCE = MAX_VALUE**2  # of activations as large as MAX_VALUE
MAX_SHOWN = 120  # characters


def tensors_digest(*parts: Mapping[str, Tensor]) -> str:
    """sha256, in hex, of the names, shapes, dtypes and bytes of one or more state dicts, whatever the order in each."""
    digest = hashlib.sha256()
    for tensors in parts:
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode(errors="surrogatepass"))
            stored = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)  # NumPy has no bfloat16
            digest.update(stored.numpy().data)
    return digest.hexdigest()


def content_digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the hex sha256 of tensors and of their file's metadata."""
    facts = json.dumps(dict(metadata), sort_keys=True)
    return hashlib.sha256(f"{tensors_digest(tensors)}\n{facts}".encode()).hexdigest()


def check_values(tensors: Mapping[str, Tensor], *, name: str) -> None:
    """Reject values that can only come from damage or diverged training.

    Integer tensors and `num_batches_tracked` are exempt: counts may be of any size.

    Args:
        tensors: key -> tensor on the CPU.
        name: of their file, for the message.

    Raises:
        InputError: a value is NaN or infinite, its magnitude is above 1e6 (1e12 for a `running_var`), or a `running_var` is
            negative. Names the tensor.
    """
    for key, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel() or key.endswith("num_batches_tracked"):
            continue
        one_byte = tensor.element_size() == 1  # float8 knows no minimum
        low, high = (float(value) for value in torch.aminmax(tensor.float() if one_byte else tensor))
        is_variance = key.endswith("running_var")
        bound = MAX_VARIANCE if is_variance else MAX_VALUE
        smallest = 0.0 if is_variance else -bound
        if not (math.isfinite(low) and math.isfinite(high)):
            found = "NaN or infinite values"
        elif low < smallest or high > bound:
            found = f"the value {low if low < smallest else high:.3g}, expected {smallest:g} to {bound:g}"
        else:
            continue
        raise InputError(
            f"{name} is damaged, or the training that made it diverged: {short(key)} holds {found}; copy the file again"
        )


def short(name: object) -> str:
    """Return a name or reason from a file in a printable, shortened form for messages."""
    text = shown(" ".join(str(name).split()))
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
