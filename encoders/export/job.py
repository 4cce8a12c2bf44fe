"""The export job: fuse, write, measure and certify a model; the folder is finished completely or not created."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders.errors import InputError
from encoders.export.certification.certificate import Certificate, Measures, ModelRecord, RuntimeRecord, write_certificate
from encoders.export.certification.fusion_check import check_eval_mode, check_trained, zero_weight_share
from encoders.export.certification.host import host_facts, package_versions
from encoders.export.certification.questions import questions
from encoders.export.certification.reference import check_samples
from encoders.export.certification.tensors import weights_checksum
from encoders.export.certification.thresholds import least_precision, rounding_layers, thresholds_for
from encoders.export.certifying import certify_fusion, check_measures, measure, padding_difference
from encoders.export.folder import file_records, new_folder
from encoders.export.formats.base import Format, Runtime
from encoders.export.formats.coreml import CoreMlFormat
from encoders.export.formats.coreml_options import CoreMlOptions, parse_counts
from encoders.export.modules.frame import fits, frame_of, framed, parse_aspect
from encoders.export.opened import ExportedSam, find_maker
from encoders.fusion import fuse
from encoders.geometry import Shape
from encoders.sam import Sam
from encoders.samples.sample import Sample

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """The options of an export.

    Attributes:
        sam: unfused, in eval mode, on the CPU.
        out: folder to make.
        format: see `encoders.export.formats.FORMATS`; target: a tool, see `encoders.export.targets.TARGETS`. One of them.
        samples: photos of the certificate, with or without objects.
        weights: name of what the user gave as the model, for the certificate; weights_sha256: of its file.
        trained: False for fresh weights, whose BatchNorm must have been randomised.
        precision: None takes the format's default.
        licence: of the weights.
        aspect: "WIDTH:HEIGHT" of the photos, for an encoder without padding that takes a rectangle; None takes padded squares.
            Photos of the certificate that do not fit it are left out, and the certificate names those that were taken.
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


def export_model(request: ExportRequest, *, say: Say = lambda line: None) -> Certificate:
    """Write a model in a format, measure it against the unfused PyTorch model, and certify it.

    Args:
        say: takes lines of progress.

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
    check_samples(request.samples)
    with new_folder(request.out, overwrite=request.overwrite) as folder:
        certificate = _make(request, made, folder, precision=precision, say=say)
        write_certificate(certificate, folder)
    return certificate


def _make(request: ExportRequest, made: Format, folder: Path, *, precision: str, say: Say) -> Certificate:
    """Fill a folder; the certificate is not written yet."""
    frame, samples = frame_and_photos(request)
    sam = request.sam if frame is None else framed(request.sam, frame=frame)
    fused = fuse(request.sam)
    share = zero_weight_share(fused.image_encoder)
    check_trained(share, name=request.weights)
    say("comparing the fused with the unfused encoder")
    fusion = certify_fusion(request.sam, fused, samples)
    say(f"writing {made.name} {precision}")
    made.write(fused if frame is None else framed(fused, frame=frame), folder, precision=precision)
    runtime = made.open(folder, image_size=sam.image_size, precision=precision, threads=request.threads)
    say(f"comparing what {runtime.name} computes with PyTorch on {len(samples)} photos")
    exported = ExportedSam(runtime, arch=sam.arch, image_size=sam.image_size, frame=frame)
    asked = questions(points=made.points, masks=made.takes_masks)
    measures = measure(sam, exported, folder, samples=samples, asked=asked)
    layers = rounding_layers(fused.image_encoder)
    thresholds = thresholds_for(least_precision(precision, runtime.precision), trained=request.trained, layers=layers)
    check_measures(measures, thresholds, made=made, precision=precision, runtime=runtime)
    return Certificate(
        format=made.format,
        target=request.target,
        precision=precision,
        padding=made.padding if frame is None else f"{made.padding}, to {frame[0]} x {frame[1]} (height x width)",
        frame=None if frame is None else list(frame),
        no_padding=None if frame is None else padding_difference(request.sam, sam, samples=samples, asked=asked),
        model=ModelRecord(
            arch=fused.arch,
            image_size=fused.image_size,
            trained=request.trained,
            weights=request.weights,
            weights_sha256=request.weights_sha256,
            tensors_sha256=weights_checksum(request.sam),
            zero_weight_share=share,
            parameters=sum(p.numel() for p in fused.image_encoder.parameters()),
            layers=layers,
            licence=request.licence,
        ),
        fusion=fusion,
        thresholds=thresholds,
        runtimes=runtime_records(runtime, measures, elsewhere=made.elsewhere),
        photos={sample.key: sample.image_sha256() for sample in samples},
        files=file_records(folder),
        versions=package_versions(),
        host=host_facts(),
    )


def runtime_records(runtime: Runtime, measures: Measures, *, elsewhere: Sequence[str]) -> list[RuntimeRecord]:
    """Return the records of the runtimes measured here, then of the intended ones that were not."""
    ran = RuntimeRecord(name=runtime.name, how=runtime.how, precision=runtime.precision, measures=measures)
    return [ran, *(RuntimeRecord(name=name, how="not run here", precision=None, measures=None) for name in elsewhere)]


def with_options(made: Format, request: ExportRequest) -> Format:
    """Return the format configured with the request's prompts, points and licence.

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
    """Return the given ones of `prompts` and `points`."""
    return {name: text for name in ("prompts", "points") if (text := getattr(request, name)) is not None}


def frame_and_photos(request: ExportRequest) -> tuple[Shape | None, Sequence[Sample]]:
    """Return (height, width) of the unpadded encoder, or None, and the photos that fit it.

    Raises:
        InputError: the aspect is malformed, a tool (--for) was given, or no photo fits.
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
            f"none of {len(request.samples)} photos of the certificate fits into {request.aspect}; give others with --photos"
        )
    return frame, samples
