"""Export of RepViT's ImageNet classifiers to Core ML packages, from the original's `.pth` files, with a check against PyTorch.

Packages are fused and named `{model}_{resolution}` like those of the original's `export_coreml.py`; unlike those, they
normalise their input themselves.
Source: THU-MIG/RepViT, `export_coreml.py`, `model/repvit.py`.
"""

import copy
import importlib.metadata
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from timm.models.repvit import RepVit
from torch import Tensor

from encoders.errors import InputError, did_you_mean
from encoders.export.certification.fusion_check import check_fusion, check_trained, fusion_difference, zero_weight_share
from encoders.export.classifier_report import CROP, ClassifierReport, compare_logits, crop, normalized
from encoders.export.folder import put_in_place, staging_folder
from encoders.export.modules.pixel_encoder import PixelEncoder
from encoders.files import atomic_path
from encoders.fusion import fuse_module
from encoders.image_encoders.repvit import REPVIT_SIZES, build_classifier
from encoders.weights.checkpoint import weights_sha256
from encoders.weights.keymaps import check_state
from encoders.weights.keymaps.repvit import repvit_prefixes, upgrade_legacy
from encoders.weights.keymaps.table import rename
from encoders.weights.weights_file import read_weights

RESOLUTION = 224
STRIDE = 32  # pixels of the input per position of the last feature map
HEADS = {"head.head": "classifier.classifier", "head.head_dist": "classifier.classifier_dist"}


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
    """Fuse a classifier, write it as `{name}_{resolution}.mlpackage`, compare it with PyTorch, and write the report beside it.

    Package and report appear together or not at all; with `overwrite`, those already in `out` stay until both are complete.

    Args:
        name: a key of `REPVIT_SIZES`.
        weights: the original's `.pth` or timm's file.
        out: folder to write to; it is made if it does not exist.
        photos: (H, W, 3) uint8 RGB, on which the package is compared with unfused PyTorch.

    Raises:
        InputError: the model is unknown, the file does not fit it or looks untrained, the size or precision is not
            supported, or the package or report exists already, cannot be written, or differs from PyTorch.
        MissingExtra: coremltools is not installed.
    """
    from encoders.export.formats.coreml import CoreMlFormat

    if precision not in CoreMlFormat.precisions:
        raise InputError(f"no Core ML precision {precision!r}; expected one of {', '.join(CoreMlFormat.precisions)}")
    if resolution < STRIDE or resolution % STRIDE:
        raise InputError(
            f"resolution {resolution} is not a positive multiple of {STRIDE}; choose one, such as {RESOLUTION}, the original's"
        )
    if not photos:
        raise InputError("no photo was given to compare package and PyTorch on; give at least one")
    package, report = (out / f"{name}_{resolution}{suffix}" for suffix in (".mlpackage", ".json"))
    check_free(package, report, overwrite=overwrite)
    network = load_classifier(name, weights)
    crops = [crop(photo, resolution=resolution) for photo in photos]
    fused, difference = build_fused(network, weights=str(weights), frames=[normalized(pixels) for pixels in crops])
    with staging_folder(package) as folder:
        write_classifier(fused, folder / package.name, name=name, resolution=resolution, precision=precision)
        found = ClassifierReport(
            model=name,
            resolution=resolution,
            classes=network.num_classes,
            heads=1 + bool(network.head.distillation),
            precision=precision,
            weights=Path(weights).name,
            weights_sha256=weights_sha256(weights),
            fusion_difference=difference,
            photos=len(photos),
            **compare_logits(network, folder / package.name, crops, precision=precision),
        )
        with atomic_path(folder / report.name) as path:
            path.write_text(json.dumps(found.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
        check_free(package, report, overwrite=overwrite)  # again: another process may have written them in the meantime
        put_in_place({folder / package.name: package, folder / report.name: report})
    return found


def check_free(package: Path, report: Path, *, overwrite: bool) -> None:
    """Check that a package and its report may be written.

    Raises:
        InputError: one of them exists and `overwrite` is False, or the report's name is that of a folder.
    """
    for path in (package, report):
        if os.path.lexists(path) and not overwrite:
            raise InputError(f"{path} already exists; choose another folder, or say --overwrite")
    if report.is_dir():
        raise InputError(f"{report} is a folder, but the report is to be written there; choose another folder")


def build_fused(network: RepVit, *, weights: str, frames: Sequence[Tensor]) -> tuple[RepVit, float]:
    """Fuse a copy of a classifier and average its heads into one.

    Args:
        weights: what the network was loaded from, for messages.
        frames: (1, 3, R, R) float32, normalised, on which fused and unfused logits are compared.

    Returns:
        The fused copy in eval mode, and the largest difference of its logits divided by the largest logit.

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
    """Load a classifier from the original's or timm's file, with one head or two, in the current or the legacy RepVGGDW form.

    Returns:
        The unfused classifier, in float32 and eval mode.

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


def write_classifier(network: RepVit, package: Path, *, name: str, resolution: int, precision: str) -> None:
    """Write a fused classifier as a Core ML package with the input `image`, RGB, and the output `logits`, (1, classes) float32.

    Raises:
        InputError: coremltools cannot convert the classifier.
        MissingExtra: coremltools is not installed.
    """
    from encoders.export.certification.tensors import weights_checksum
    from encoders.export.formats.coreml_convert import convert, need_coremltools, save
    from encoders.export.formats.coreml_metadata import describe
    from encoders.export.formats.coreml_weights import compress

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
    model.short_description = f"{name} for {resolution} x {resolution} pixels, with normalisation inside."
    model.input_description["image"] = (
        f"RGB, the middle {resolution} x {resolution} of a photo whose short side is {round(resolution * CROP)} pixels."
    )
    model.output_description["logits"] = f"(1, {network.num_classes}), before softmax."
    facts = {
        "arch": name,
        "resolution": str(resolution),
        "precision": precision,
        "fused_tensors_sha256": weights_checksum(network),
        "repvit_sam_version": importlib.metadata.version("repvit-sam"),
    }
    describe(model, facts)
    save(model, package)
