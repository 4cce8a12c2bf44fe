"""Deviation of a classifier's Core ML package from PyTorch, on photos cropped as for ImageNet.

Source: THU-MIG/RepViT, `data/datasets.py` (the crop).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from timm.models.repvit import RepVit
from torch import Tensor

from encoders.contract import PIXEL_MEAN, PIXEL_STD
from encoders.errors import InputError
from encoders.export.certification.certificate import Finite, Sha256
from encoders.export.certification.thresholds import rounding_layers, thresholds_for

CROP = 256 / 224  # short side of the resized photo divided by the side of the crop


class ClassifierReport(BaseModel):
    """The JSON file beside a classifier's package: what was exported and how closely the package agrees with PyTorch.

    Attributes:
        weights: name of the weights file, without its folder; weights_sha256: checksum of that file.
        fusion_difference: largest difference of fused and unfused logits divided by the largest logit, in float32.
        logits_error: largest over photos of |difference| / |logits| of the package and unfused PyTorch, Euclidean norms in
            float64.
        same_class: share of the photos on which package and PyTorch rank the same class first.
        photos: number of photos that were compared.
        runtime, how: what ran the package: "executed" by Core ML, or "interpreted" from the saved program by this project.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    resolution: int = Field(gt=0)
    classes: int = Field(gt=0)
    heads: int = Field(ge=1, le=2)
    precision: str
    weights: str
    weights_sha256: Sha256
    fusion_difference: Finite
    logits_error: Finite
    same_class: Finite
    photos: int = Field(ge=1)
    runtime: str
    how: str


def crop(photo: np.ndarray, *, resolution: int) -> np.ndarray:
    """The middle (R, R, 3) of an (H, W, 3) uint8 photo after a bicubic resize of its short side to 256/224 of R."""
    height, width = photo.shape[:2]
    scale = round(resolution * CROP) / min(height, width)
    size = max(resolution, int(width * scale)), max(resolution, int(height * scale))
    resized = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
    top, left = round((size[1] - resolution) / 2), round((size[0] - resolution) / 2)
    return resized[top : top + resolution, left : left + resolution]


def normalized(pixels: np.ndarray) -> Tensor:
    """(R, R, 3) uint8 -> (1, 3, R, R) float32, by ImageNet's mean and standard deviation, which SAM uses too."""
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    return (image - torch.tensor(PIXEL_MEAN).view(3, 1, 1)) / torch.tensor(PIXEL_STD).view(3, 1, 1)


@torch.inference_mode()
def compare_logits(network: RepVit, package: Path, crops: Sequence[np.ndarray], *, precision: str) -> dict[str, Any]:
    """Run a package and the unfused classifier on the same crops.

    Args:
        crops: (R, R, 3) uint8 RGB.

    Returns:
        The fields `logits_error`, `same_class`, `runtime` and `how` of `ClassifierReport`.

    Raises:
        InputError: the logits of either are not finite, or they differ by more than the precision allows.
    """
    from encoders.export.formats.coreml_runtime import open_package, runtime_here

    predict = open_package(package)
    name, how = runtime_here()
    errors, same = [], []
    for number, pixels in enumerate(crops, start=1):
        expected = network(normalized(pixels)).numpy().astype(np.float64)
        image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        found = np.asarray(predict({"image": image})["logits"], np.float64)
        _check_finite(expected, f"{package.stem} in PyTorch", photo=number, advice="check the weights file")
        _check_finite(found, f"{package.name} by {name}", photo=number, advice="choose another precision, such as fp32")
        errors.append(float(np.linalg.norm(found - expected) / np.linalg.norm(expected)))
        same.append(bool(found.argmax() == expected.argmax()))
    worst, limit = float(np.max(errors)), thresholds_for(precision, layers=rounding_layers(network)).embedding_relative_error
    if not worst <= limit:
        raise InputError(
            f"the logits of {package.name} by {name} differ from PyTorch's by {worst:.2g} of their norm, at most {limit:g} is "
            "allowed; nothing was written; choose another precision"
        )
    return {"logits_error": worst, "same_class": float(np.mean(same)), "runtime": name, "how": how}


def _check_finite(logits: np.ndarray, subject: str, *, photo: int, advice: str) -> None:
    if not np.isfinite(logits).all():
        raise InputError(f"the logits of {subject} are not finite on photo {photo}; nothing was written; {advice}")
