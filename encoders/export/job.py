"""From a model to a finished folder: fuse, write, measure, certify; all of it or nothing."""

import importlib.metadata
import os
import platform
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from encoders.errors import InputError
from encoders.export.certificate import (
    CERTIFICATE,
    Certificate,
    FileRecord,
    FusionRecord,
    ModelRecord,
    RuntimeRecord,
    Thresholds,
    is_export,
    write_certificate,
)
from encoders.export.formats.base import Format, Runtime
from encoders.export.formats.coreml import CoreMlFormat
from encoders.export.formats.coreml_options import CoreMlOptions, parse_counts
from encoders.export.fusion_check import (
    check_eval_mode,
    check_fusion,
    check_trained,
    fusion_difference,
    random_batchnorm_difference,
    zero_weight_share,
)
from encoders.export.opened import ExportedSam, find_maker
from encoders.export.reference import compare, make_reference, write_reference
from encoders.export.thresholds import thresholds_for
from encoders.files import sha256_file
from encoders.fusion import fuse
from encoders.geometry import resize_image
from encoders.predictor import Predictor
from encoders.preprocess import normalize_padded, pad_to_square
from encoders.sam import Sam
from encoders.sample import Sample

FULL_BYTES = 2**20  # free on a disk that is called full
FUSION_PHOTOS = 2  # that unfused and fused encoder are compared on; the certificate's masks are of the unfused one anyway
PACKAGES = (
    "repvit-sam", "torch", "timm", "numpy", "segment-anything", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf",
    "coremltools", "coreai-core", "coreai-torch", "executorch", "litert-torch", "ai-edge-litert",
)  # fmt: skip


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
    with new_folder(request.out, overwrite=request.overwrite) as folder:
        made.write(fused, folder, precision=precision)
        runtimes, thresholds = measure(request, made, folder, precision=precision)
        certificate = Certificate(
            format=made.format,
            target=request.target,
            precision=precision,
            padding=made.padding,
            model=ModelRecord(
                arch=fused.arch,
                image_size=fused.image_size,
                trained=request.trained,
                weights=request.weights,
                weights_sha256=request.weights_sha256,
                zero_weight_share=share,
                parameters=sum(p.numel() for p in fused.image_encoder.parameters()),
                licence=request.licence,
            ),
            fusion=fusion,
            thresholds=thresholds,
            runtimes=runtimes,
            photos={sample.key: sample.image_sha256() for sample in request.samples},
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


def measure(
    request: ExportRequest, made: Format, folder: Path, *, precision: str
) -> tuple[list[RuntimeRecord], Thresholds]:
    """Open what was written and compare it with the unfused model; keeps the reference in the folder.

    Raises:
        InputError: it falls below the thresholds of its precision, or of the runtime's where that is coarser.
    """
    reference, embeddings = make_reference(Predictor(request.sam), request.samples)
    write_reference(reference, folder)
    runtime: Runtime = made.open(folder, image_size=request.sam.image_size, precision=precision, threads=request.threads)
    predictor = Predictor(ExportedSam(runtime, arch=request.sam.arch, image_size=request.sam.image_size))
    images = {sample.key: sample.image for sample in request.samples}
    measures = compare(predictor, reference, images, embeddings=embeddings)
    thresholds = thresholds_for(precision if precision != "fp32" else runtime.precision)
    if failures := thresholds.failures(measures):
        raise InputError(
            f"{made.name} {precision} by {runtime.name} ({runtime.how}) does not give what the model gives: "
            f"{'; '.join(failures)}. Nothing was written; choose another precision, or report this if it is fp32"
        )
    record = RuntimeRecord(name=runtime.name, how=runtime.how, precision=runtime.precision, measures=measures)
    return [record], thresholds


@contextmanager
def new_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside `out` to fill, which becomes `out` when the block ends well, and is gone otherwise.

    Raises:
        InputError: `out` is there already, or it cannot be written, as on a full disk.
    """
    if out.exists():
        ours = is_export(out) or (out.is_dir() and not any(out.iterdir()))
        if not ours:
            raise InputError(f"{out} is there already and is no export; choose another folder")
        if not overwrite and any(out.iterdir()):
            raise InputError(f"{out} holds an export already; choose another folder, or say --overwrite")
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if out.exists():
            shutil.rmtree(out)
        temporary.rename(out)
    except Exception as error:
        # The formats' packages write by themselves, and each calls a full disk an error of its own.
        if isinstance(error, InputError) or not (isinstance(error, OSError) or _free_bytes(out) < FULL_BYTES):
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        free = f"{_free_bytes(out) / 2**20:.0f} MiB free"
        raise InputError(f"{out} cannot be written ({reason}, {free}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _free_bytes(out: Path) -> int:
    place = next(parent for parent in (out, *out.absolute().parents) if parent.is_dir())
    return shutil.disk_usage(place).free


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Size and checksum of every file but the certificate, by path inside the folder."""
    return {
        path.relative_to(folder).as_posix(): FileRecord(bytes=path.stat().st_size, sha256=sha256_file(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CERTIFICATE
    }


def package_versions() -> dict[str, str]:
    """Versions of the packages that an export may involve, of those installed, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def host_facts() -> dict[str, str | int | float]:
    """The machine, in words that name nobody."""
    facts: dict[str, str | int | float] = {"system": platform.system(), "machine": platform.machine()}
    facts["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        facts |= {"processor": lines[0].split(":", 1)[1].strip()} if lines else {}
    return facts
