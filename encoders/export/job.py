"""From a model to a finished folder: fuse, write, measure, certify; all of it or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from encoders.errors import InputError
from encoders.export.certificate import (
    Certificate,
    FusionRecord,
    Measures,
    ModelRecord,
    RuntimeRecord,
    Thresholds,
    write_certificate,
)
from encoders.export.folder import file_records, new_folder
from encoders.export.formats.base import Format, Runtime
from encoders.export.formats.coreml import CoreMlFormat
from encoders.export.formats.coreml_options import CoreMlOptions, parse_counts
from encoders.export.frame import fits, frame_of, framed, parse_aspect
from encoders.export.fusion_check import (
    check_eval_mode,
    check_fusion,
    check_trained,
    fusion_difference,
    random_batchnorm_difference,
    zero_weight_share,
)
from encoders.export.host import host_facts, package_versions
from encoders.export.opened import ExportedSam, find_maker
from encoders.export.reference import compare, make_reference, write_reference
from encoders.export.tensors import weights_checksum
from encoders.export.thresholds import thresholds_for
from encoders.fusion import fuse
from encoders.geometry import Shape, resize_image
from encoders.predictor import Predictor
from encoders.preprocess import normalize_padded, pad_to_square
from encoders.sam import Sam
from encoders.sample import Sample

FUSION_PHOTOS = 2  # that unfused and fused encoder are compared on; the certificate's masks are of the unfused one anyway


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to export.

    Attributes:
        sam: unfused, in eval mode, on the CPU.
        out: folder to make.
        format: see `encoders.export.formats.FORMATS`; target: a tool, see `encoders.export.targets.TARGETS`. One of them.
        samples: photos of the certificate, with or without objects.
        weights: what the user gave as the model, for the certificate; weights_sha256: of its file.
        trained: False for fresh weights, whose BatchNorm must have been randomised.
        precision: None takes the format's default.
        licence: of the weights.
        aspect: "WIDTH:HEIGHT" of the photos, for an encoder without padding that takes a rectangle; None takes padded squares.
            Photos of the certificate that do not fit it are left out.
        prompts, points: numbers of them that a Core ML decoder takes, e.g. "1", "1,2,4" or "1-16"; None takes its own.
        overwrite: replace an export that is there.
        threads: of the runtimes, for the certificate's measurement.
    """

    sam: Sam
    out: Path
    samples: Sequence[Sample]
    weights: str
    format: str | None = None
    target: str | None = None
    weights_sha256: str | None = None
    trained: bool = True
    precision: str | None = None
    licence: str | None = None
    aspect: str | None = None
    prompts: str | None = None
    points: str | None = None
    overwrite: bool = False
    threads: int | None = None


def export_model(request: ExportRequest) -> Certificate:
    """Write a model in a format, measure what was written against the unfused PyTorch model, and certify it.

    Raises:
        InputError: the model is in train mode or looks untrained, the format or precision is unknown, the folder cannot be
            written, or what was written falls below the thresholds. Nothing is left then.
        MissingExtra: the format's packages are not installed.
    """
    made = with_options(find_maker(format=request.format, target=request.target), request)
    precision = request.precision or made.precisions[0]
    if precision not in made.precisions:
        raise InputError(f"{made.name} cannot be written in {precision!r}; expected one of {', '.join(made.precisions)}")
    check_eval_mode(request.sam)
    fused = fuse(request.sam)
    share = zero_weight_share(fused.image_encoder)
    check_trained(share, name=request.weights)
    fusion = certify_fusion(request.sam, fused, request.samples)
    frame, samples = frame_and_photos(request)
    sam = request.sam if frame is None else framed(request.sam, frame=frame)
    with new_folder(request.out, overwrite=request.overwrite) as folder:
        made.write(fused if frame is None else framed(fused, frame=frame), folder, precision=precision)
        runtime = made.open(folder, image_size=sam.image_size, precision=precision, threads=request.threads)
        exported = ExportedSam(runtime, arch=sam.arch, image_size=sam.image_size, frame=frame)
        measures = measure(sam, exported, folder, samples=samples)
        thresholds = thresholds_for(precision if precision != "fp32" else runtime.precision)
        check_measures(measures, thresholds, made=made, precision=precision, runtime=runtime)
        certificate = Certificate(
            format=made.format,
            target=request.target,
            precision=precision,
            padding=made.padding if frame is None else f"{made.padding}, to {frame[0]} x {frame[1]} (height x width)",
            frame=None if frame is None else list(frame),
            no_padding=None if frame is None else padding_difference(request.sam, sam, samples),
            model=ModelRecord(
                arch=fused.arch,
                image_size=fused.image_size,
                trained=request.trained,
                weights=request.weights,
                weights_sha256=request.weights_sha256,
                tensors_sha256=weights_checksum(request.sam),
                zero_weight_share=share,
                parameters=sum(p.numel() for p in fused.image_encoder.parameters()),
                licence=request.licence,
            ),
            fusion=fusion,
            thresholds=thresholds,
            runtimes=[
                RuntimeRecord(name=runtime.name, how=runtime.how, precision=runtime.precision, measures=measures),
                *(RuntimeRecord(name=name, how="not run here", precision=None, measures=None) for name in made.elsewhere),
            ],
            photos={sample.key: sample.image_sha256() for sample in samples},
            files=file_records(folder),
            versions=package_versions(),
            host=host_facts(),
        )
        write_certificate(certificate, folder)
    return certificate


def with_options(made: Format, request: ExportRequest) -> Format:
    """A format with what the request says of prompts, points and licence.

    Raises:
        InputError: numbers of prompts or points, which only Core ML's decoder is written for.
    """
    if isinstance(made, CoreMlFormat):
        given = {name: parse_counts(text) for name, text in request_counts(request).items()}
        return CoreMlFormat(CoreMlOptions(**given, licence=request.licence))
    if request_counts(request):
        raise InputError(f"{made.name} takes no --prompts or --points; they are for --format coreml")
    return made


def request_counts(request: ExportRequest) -> dict[str, str]:
    """Those of `prompts` and `points` that are given."""
    return {name: text for name in ("prompts", "points") if (text := getattr(request, name)) is not None}


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


def frame_and_photos(request: ExportRequest) -> tuple[Shape | None, Sequence[Sample]]:
    """(height, width) of an encoder without padding, or None, and the photos that fit it.

    Raises:
        InputError: the aspect is none, a tool's model is asked for, or no photo fits.
    """
    if request.aspect is None:
        return None, request.samples
    if request.target is not None:
        raise InputError(f"{request.target} pads photos in its own way; --aspect is for --format")
    size = request.sam.image_size
    frame = frame_of(parse_aspect(request.aspect), image_size=size)
    samples = [sample for sample in request.samples if fits(sample.shape, frame=frame, image_size=size)]
    if not samples:
        raise InputError(
            f"none of {len(request.samples)} photos of the certificate fits into {request.aspect}; give others by --photos"
        )
    return frame, samples


def measure(sam: Sam, exported: ExportedSam, folder: Path, *, samples: Sequence[Sample]) -> Measures:
    """How far what was written lies from the unfused model; keeps that model's answers in the folder."""
    reference, embeddings = make_reference(Predictor(sam), samples)
    write_reference(reference, folder)
    return compare(Predictor(exported), reference, {sample.key: sample.image for sample in samples}, embeddings=embeddings)


def padding_difference(padded: Sam, unpadded: Sam, samples: Sequence[Sample]) -> Measures:
    """How far an encoder without padding lies from the padded square, both in PyTorch."""
    reference, embeddings = make_reference(Predictor(padded), samples)
    return compare(Predictor(unpadded), reference, {sample.key: sample.image for sample in samples}, embeddings=embeddings)


def check_measures(measures: Measures, thresholds: Thresholds, *, made: Format, precision: str, runtime: Runtime) -> None:
    """Refuse what falls below the thresholds of its precision, or of the runtime's where that is coarser.

    Raises:
        InputError: it does; says by how much.
    """
    if failures := thresholds.failures(measures):
        raise InputError(
            f"{made.name} {precision} by {runtime.name} ({runtime.how}) does not give what the model gives: "
            f"{'; '.join(failures)}. Nothing was written; choose another precision, or report this if it is fp32"
        )
