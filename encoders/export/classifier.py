"""RepViT's ImageNet classifiers as Core ML packages, from the original's `.pth` files, each with a check of what it computes.

As the original's `export_coreml.py`: fused, named `{model}_{resolution}`; with normalisation inside, which that lacks.
Source: THU-MIG/RepViT, `export_coreml.py`, `model/repvit.py`, `data/datasets.py` (the crop).
"""

import copy
import importlib.metadata
import json
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from timm.models.repvit import RepVit
from torch import Tensor

from encoders.checkpoint import weights_sha256
from encoders.contract import PIXEL_MEAN, PIXEL_STD
from encoders.errors import InputError, did_you_mean
from encoders.export.certificate import Finite, Sha256
from encoders.export.encoder_module import PixelEncoder
from encoders.export.fusion_check import check_fusion, check_trained, fusion_difference, zero_weight_share
from encoders.export.thresholds import thresholds_for
from encoders.files import atomic_path, check_output_folder
from encoders.fusion import fuse_module
from encoders.keymaps import check_state
from encoders.keymaps.repvit import repvit_prefixes, upgrade_legacy
from encoders.keymaps.table import rename
from encoders.repvit import REPVIT_SIZES, build_classifier
from encoders.weights_file import read_weights

RESOLUTION = 224
CROP = 256 / 224  # the short side of the resized photo, by the side of the crop
STRIDE = 32
HEADS = {"head.head": "classifier.classifier", "head.head_dist": "classifier.classifier_dist"}


class ClassifierReport(BaseModel):
    """What a classifier's package was measured to compute, written beside it as JSON.

    Attributes:
        fusion_difference: of fused and unfused logits, largest difference by largest value.
        logits_error: of package and unfused PyTorch, largest |difference| / |logits| over photos, Euclidean, in float64.
        same_class: share of the photos for which both say the same class.
        runtime, how: what answered for the package: "executed" by Core ML, or "interpreted" from the saved program.
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


def export_classifier(
    name: str,
    weights: Path,
    out: Path,
    *,
    photos: Sequence[np.ndarray],
    resolution: int = RESOLUTION,
    precision: str = "fp16",
    overwrite: bool = False,
) -> ClassifierReport:
    """Fuse a classifier, write `{name}_{resolution}.mlpackage` into a folder, measure it, and lay the report beside it.

    Args:
        name: a key of `REPVIT_SIZES`.
        weights: the original's `.pth` or timm's file.
        photos: (H, W, 3) uint8 RGB, that unfused PyTorch and package are compared on.

    Raises:
        InputError: the model is unknown, the file does not fit it or looks untrained, a size or precision cannot be had, the
            package is there already, cannot be written, or does not compute what PyTorch does. Nothing is left then.
        MissingExtra: coremltools is not installed.
    """
    from encoders.export.formats.coreml import CoreMlFormat

    if precision not in CoreMlFormat.precisions:
        raise InputError(f"no Core ML precision {precision!r}; expected one of {', '.join(CoreMlFormat.precisions)}")
    if resolution < STRIDE or resolution % STRIDE:
        raise InputError(f"resolution {resolution} is no positive multiple of {STRIDE}; the original takes {RESOLUTION}")
    if not photos:
        raise InputError("no photo to check on; give at least one")
    package, report = (out / f"{name}_{resolution}{suffix}" for suffix in (".mlpackage", ".json"))
    if package.exists() and not overwrite:
        raise InputError(f"{package} is there already; choose another folder, or say --overwrite")
    network = load_classifier(name, weights)
    crops = [crop(photo, resolution=resolution) for photo in photos]
    fused, difference = build_fused(network, weights=str(weights), frames=[normalized(pixels) for pixels in crops])
    check_output_folder(out)
    temporary = out / f".{package.name}.{secrets.token_hex(8)}.tmp"
    try:
        temporary.mkdir()
        write_classifier(fused, temporary / package.name, name=name, resolution=resolution, precision=precision)
        measured = compare_logits(network, temporary / package.name, crops, precision=precision)
        found = ClassifierReport(
            model=name,
            resolution=resolution,
            classes=network.num_classes,
            heads=1 + bool(network.head.distillation),
            precision=precision,
            weights=str(weights),
            weights_sha256=weights_sha256(weights),
            fusion_difference=difference,
            photos=len(photos),
            **measured,
        )
        report.unlink(missing_ok=True)
        if package.exists():
            shutil.rmtree(package)
        (temporary / package.name).rename(package)
        with atomic_path(report) as path:
            path.write_text(json.dumps(found.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{package} cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return found


def build_fused(network: RepVit, *, weights: str, frames: Sequence[Tensor]) -> tuple[RepVit, float]:
    """A fused copy of a classifier in eval mode, both heads averaged into one, and how far its logits lie from the unfused.

    Raises:
        InputError: the weights look untrained, or fused and unfused logits differ by more than rounding.
    """
    fused = copy.deepcopy(network)
    fuse_module(fused)
    fused.eval()
    check_trained(zero_weight_share(fused), name=weights)
    difference = fusion_difference(network, fused, frames)
    check_fusion(difference, on="photos")
    return fused, difference


def load_classifier(name: str, weights: Path) -> RepVit:
    """A classifier with an original's weights, one head or two, current or legacy RepVGGDW form; in eval mode.

    Raises:
        InputError: the model is unknown, or the file is damaged, missing, or of another model.
    """
    if name not in REPVIT_SIZES:
        raise InputError(f"no RepViT {name!r}; expected one of {', '.join(REPVIT_SIZES)}{did_you_mean(name, REPVIT_SIZES)}")
    file = read_weights(Path(weights))
    found = upgrade_legacy(file.tensors)
    timms = any(key.startswith("stem.") for key in found)
    prefixes = {} if timms else dict(repvit_prefixes(name)) | HEADS
    head = rename("head.head.l.weight", prefixes)
    classes = found[head].shape[0] if head in found else 1000
    distillation = any(key.startswith(rename("head.head_dist.l", prefixes)) for key in found)
    network = build_classifier(name, num_classes=classes, distillation=distillation)
    names = {rename(key, prefixes): key for key in network.state_dict()}
    expected = {theirs: network.state_dict()[key].shape for theirs, key in names.items()}
    shapes = {key: tensor.shape for key, tensor in found.items()}
    check_state(shapes, expected, name=file.name, wanted=f"{name} of ImageNet")
    network.load_state_dict({key: found[theirs] for theirs, key in names.items()})
    return network.float().eval()


def crop(photo: np.ndarray, *, resolution: int) -> np.ndarray:
    """(H, W, 3) uint8 -> the middle (R, R, 3) of the photo whose short side was resized to 256/224 of R, bicubic."""
    height, width = photo.shape[:2]
    scale = round(resolution * CROP) / min(height, width)
    size = max(resolution, int(width * scale)), max(resolution, int(height * scale))
    resized = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
    top, left = round((size[1] - resolution) / 2), round((size[0] - resolution) / 2)
    return resized[top : top + resolution, left : left + resolution]


def normalized(pixels: np.ndarray) -> Tensor:
    """(R, R, 3) uint8 -> (1, 3, R, R) float32 by ImageNet's mean and deviation, which are SAM's too."""
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    return (image - torch.tensor(PIXEL_MEAN).view(3, 1, 1)) / torch.tensor(PIXEL_STD).view(3, 1, 1)


def write_classifier(network: RepVit, package: Path, *, name: str, resolution: int, precision: str) -> None:
    """Write a fused classifier: `image` RGB -> `logits` (1, classes) float32."""
    from encoders.export.formats.coreml_convert import convert, need_coremltools, save
    from encoders.export.formats.coreml_metadata import describe
    from encoders.export.formats.coreml_weights import compress
    from encoders.export.tensors import weights_checksum

    ct = need_coremltools()
    shape = (1, 3, resolution, resolution)
    model = convert(
        PixelEncoder(network),
        (torch.zeros(shape),),
        inputs=[ct.ImageType(name="image", shape=shape, color_layout=ct.colorlayout.RGB)],
        outputs=[ct.TensorType(name="logits", dtype=np.float32)],
        half=precision != "fp32",
        target="iOS17",
    )
    model = compress(model, precision=precision)
    model.short_description = f"{name} for {resolution} x {resolution} pixels, normalisation inside."
    model.input_description["image"] = (
        f"RGB, the middle {resolution} x {resolution} of a photo whose short side is {round(resolution * CROP)} pixels."
    )
    model.output_description["logits"] = f"(1, {network.num_classes}), before softmax."
    facts = {"arch": name, "resolution": str(resolution), "precision": precision, "weights_sha256": weights_checksum(network)}
    facts["repvit_sam_version"] = importlib.metadata.version("repvit-sam")
    describe(model, facts)
    save(model, package)


@torch.inference_mode()
def compare_logits(network: RepVit, package: Path, crops: Sequence[np.ndarray], *, precision: str) -> dict[str, Any]:
    """What a package computes against the unfused classifier: values of `ClassifierReport`.

    Raises:
        InputError: the logits lie too far apart.
    """
    from encoders.export.formats.coreml_runtime import open_package, runtime_here

    predict = open_package(package)
    name, how = runtime_here()
    errors, same = [], []
    for pixels in crops:
        expected = network(normalized(pixels)).numpy().astype(np.float64)
        image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        found = np.asarray(predict({"image": image})["logits"], np.float64)
        errors.append(float(np.linalg.norm(found - expected) / np.linalg.norm(expected)))
        same.append(bool(found.argmax() == expected.argmax()))
    limit = thresholds_for(precision).embedding_relative_error
    if not max(errors) <= limit:
        raise InputError(
            f"{package.name} by {name} gives logits that differ by {max(errors):.2g} of their length, at most {limit:g} is "
            "allowed; nothing was written; choose another precision"
        )
    return {"logits_error": max(errors), "same_class": float(np.mean(same)), "runtime": name, "how": how}
