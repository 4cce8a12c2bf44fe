"""Validation of images given by callers: (H, W, 3) uint8 RGB, with errors that say how to convert other input."""

import os
from typing import Any

import numpy as np
import torch
from PIL import Image

from encoders.errors import InputError

EXPECTED = "expected an (H, W, 3) uint8 RGB numpy array"


def check_image(image: Any) -> np.ndarray:
    """Return a non-empty (H, W, 3) uint8 array unchanged; read-only arrays and negative strides are allowed.

    Raises:
        InputError: anything else; the message says what was given and, for the usual kinds of images, how to convert it.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"{EXPECTED}, got {_kind(image)}")
    given = f"{image.shape} {image.dtype}"
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"{EXPECTED}, got {given}" + (_remedy(image) if image.size else ""))
    if not image.size:
        raise InputError(f"{EXPECTED} of at least one pixel, got {given}")
    return image


def check_images(images: Any) -> list[np.ndarray]:
    """Check a list, tuple or (B, H, W, 3) array of images with `check_image`.

    Raises:
        InputError: no sequence, none in it, or the first one that is no image, with its number.
    """
    if isinstance(images, np.ndarray) and images.ndim == 3:
        raise InputError(f"expected a list of images, got one of {images.shape}; call set_image, or pass [image]")
    if not isinstance(images, (list, tuple, np.ndarray)):
        raise InputError(f"expected a list of (H, W, 3) uint8 RGB numpy arrays, got {_kind(images)}")
    if not len(images):
        raise InputError("no image given; pass at least one (H, W, 3) uint8 RGB image")
    checked = []
    for number, image in enumerate(images):
        try:
            checked.append(check_image(image))
        except InputError as error:
            raise InputError(f"image {number} of {len(images)}: {error}" if len(images) > 1 else str(error)) from error
    return checked


def _kind(image: Any) -> str:
    """Describe an object that is not an array, and how to convert it to one."""
    if isinstance(image, Image.Image):
        return f'a PIL image of mode {image.mode}; pass np.asarray(image.convert("RGB"))'
    if isinstance(image, (str, os.PathLike)):
        return f"the path {os.fspath(image)!r}; pass read_image(path), from encoders.samples.image"
    if isinstance(image, bytes):
        return 'bytes; pass decode_image(data, name="photo"), from encoders.samples.image'
    if isinstance(image, torch.Tensor):
        given = f"a torch tensor of {tuple(image.shape)} {image.dtype}"
        return f"{given}; for (3, H, W) uint8 pass image.permute(1, 2, 0).cpu().numpy()"
    return "None" if image is None else f"a {type(image).__name__}"


def _remedy(image: np.ndarray) -> str:
    """Return advice on an array of another shape or type; empty if none applies."""
    if image.ndim == 2:
        return "; a grey image: pass np.stack([image] * 3, axis=2)"
    if image.ndim == 4:
        return "; a batch: pass its images to set_images"
    if image.ndim != 3:
        return ""
    if image.shape[2] == 4:
        return "; with an alpha channel: pass image[..., :3] to ignore it"
    if image.shape[2] == 1:
        return "; a grey image: pass np.repeat(image, 3, axis=2)"
    if image.shape[2] != 3:
        return "; channels first: pass image.transpose(1, 2, 0)" if image.shape[0] == 3 else ""
    if image.dtype.kind == "f":
        return "; pass (image * 255).round().astype(np.uint8) for values of 0 to 1, image.round().astype(np.uint8) for 0 to 255"
    return "; scale its values to 0 to 255 and pass image.astype(np.uint8)"
