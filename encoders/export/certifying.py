"""Measuring exported artefacts against PyTorch, and rejecting those below the thresholds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from encoders.errors import InputError
from encoders.export.certification.certificate import FusionRecord, Measures, Thresholds
from encoders.export.certification.comparison import compare
from encoders.export.certification.fusion_check import check_fusion, fusion_difference, random_batchnorm_difference
from encoders.export.certification.questions import Question
from encoders.export.certification.reference import make_reference, write_reference
from encoders.export.formats.base import Format, Runtime
from encoders.export.opened import ExportedSam
from encoders.geometry import resize_image
from encoders.predictor import Predictor
from encoders.preprocess import normalize_padded, pad_to_square
from encoders.sam import Sam
from encoders.samples.sample import Sample

FUSION_PHOTOS = 2  # that unfused and fused encoder are compared on; the certificate's masks are of the unfused one anyway


def certify_fusion(sam: Sam, fused: Sam, samples: Sequence[Sample]) -> FusionRecord:
    """Compare fused and unfused encoder on photos, with the model's own BatchNorms and with random ones.

    Raises:
        InputError: they differ by more than rounding.
    """
    images = [contract_image(sample.image, image_size=sam.image_size) for sample in samples[:FUSION_PHOTOS]]
    on_photos = fusion_difference(sam.image_encoder, fused.image_encoder, images)
    check_fusion(on_photos, on="photos")
    on_random = random_batchnorm_difference(sam.image_encoder, images)
    if on_random is not None:
        check_fusion(on_random, on="photos with random BatchNorm statistics")
    return FusionRecord(photos=on_photos, random_batchnorm=on_random)


def contract_image(image: np.ndarray, *, image_size: int) -> torch.Tensor:
    """(H, W, 3) uint8 RGB -> (1, 3, S, S) float32 by the embedding contract."""
    resized = resize_image(image, image_size=image_size)
    return normalize_padded(pad_to_square(resized, image_size=image_size)[None], [resized.shape[:2]])


def measure(
    sam: Sam, exported: ExportedSam, folder: Path, *, samples: Sequence[Sample], asked: Sequence[Question]
) -> Measures:
    """Measure the exported files against the unfused model, whose predictions are stored in the folder.

    Raises:
        InputError: one of them gives values that are not finite.
    """
    reference, embeddings = make_reference(Predictor(sam), samples, asked=asked)
    write_reference(reference, folder)
    return compare(Predictor(exported), reference, {sample.key: sample.image for sample in samples}, embeddings=embeddings)


def padding_difference(padded: Sam, unpadded: Sam, *, samples: Sequence[Sample], asked: Sequence[Question]) -> Measures:
    """Measure an encoder without padding against the padded square, both in PyTorch."""
    reference, embeddings = make_reference(Predictor(padded), samples, asked=asked)
    return compare(Predictor(unpadded), reference, {sample.key: sample.image for sample in samples}, embeddings=embeddings)


def check_measures(measures: Measures, thresholds: Thresholds, *, made: Format, precision: str, runtime: Runtime) -> None:
    """Raise InputError if measures miss their thresholds.

    Raises:
        InputError: it does; says by how much.
    """
    if failures := thresholds.failures(measures):
        raise InputError(
            f"{made.name} {precision} by {runtime.name} ({runtime.how}) does not give what the model gives: "
            f"{'; '.join(failures)}. Nothing was written; {_what_to_do(failures, made=made, precision=precision)}"
        )


def _what_to_do(failures: Sequence[str], *, made: Format, precision: str) -> str:
    """Return advice for a model below the thresholds."""
    if precision == "fp32":
        return "please report this"
    others = ", ".join(name for name in made.precisions if name != precision)
    if all(line.startswith("iou") for line in failures):
        return (
            "embedding, logits and scores are near enough, so these masks have logits near zero, which any rounding moves; "
            f"take a model that was trained for longer, or another --precision ({others})"
        )
    return f"choose another --precision ({others})"
