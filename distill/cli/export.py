"""Commands that export a model and check exports: export, export verify."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError

import encoders
from distill.cli.export_group import MAKE, export_app
from distill.cli.export_photos import (
    NUM_PHOTOS,
    PHOTOS,
    ImagesOption,
    NumPhotosOption,
    PhotosOption,
    first_photos,
    named_photos,
)
from distill.cli.options import JsonOption
from encoders.errors import InputError
from encoders.export.formats import FORMATS
from encoders.export.targets import TARGETS
from encoders.untrusted import read_json

MAX_RUN_JSON = 2**20  # bytes
ThreadsOption = Annotated[int | None, typer.Option(help="Threads of the runtime (default: the runtime decides).", min=1)]


def make(
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Run folder, weights file (with --arch), or registry name.")
    ] = None,
    untrained: Annotated[str | None, typer.Option(help="Architecture to export with random weights instead.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help=f"Write for a runtime: {', '.join(FORMATS)}.")] = None,
    tool: Annotated[str | None, typer.Option("--for", help=f"Write for a tool: {', '.join(TARGETS)}.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Precision, e.g. fp16 or int8 (default: fp16 for coreml, otherwise fp32).")
    ] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of a foreign checkpoint file.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Input size in pixels, where the model allows another.")] = None,
    precise_bn: Annotated[
        str | None, typer.Option("--precise-bn", help="Recompute BatchNorm statistics from the photos of this shard cache.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the weights, for the metadata (default: the licences in run.json).")
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="Prompts of a Core ML decoder's call: 1, a list 1,2,4 or a range 1-16 (default: 1).")
    ] = None,
    points: Annotated[
        str | None,
        typer.Option(help="Points of each prompt, likewise; a box counts two, the padding point one (default: 1,2,...,16)."),
    ] = None,
    aspect: Annotated[
        str | None, typer.Option(help="Export for photos of this aspect ratio, e.g. 3:2, without padding (RepViT only).")
    ] = None,
    photos: PhotosOption = PHOTOS,
    images: ImagesOption = None,
    num_photos: NumPhotosOption = NUM_PHOTOS,
    threads: ThreadsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing export.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the certificate.")] = False,
) -> None:
    """Fuse a model, write it for a runtime or a tool, and certify it against PyTorch.

    What falls below the thresholds of its precision is not written.

    Example: repvit-sam export -m sam_demo --format onnx --out exported/onnx
    """
    from encoders.export import ExportRequest, export_model
    from encoders.export.folder import check_replaceable
    from encoders.export.modules.frame import fits, frame_of, parse_aspect
    from encoders.export.opened import find_maker

    if (format_ is None) == (tool is None):
        raise InputError("give either --format or --for; see repvit-sam export make --help")
    find_maker(format=format_, target=tool)
    check_replaceable(out, overwrite=overwrite)
    sam, weights, sha256 = open_subject(model=model, untrained=untrained, arch=arch, image_size=image_size)
    wanted = None
    if aspect is not None:
        frame = frame_of(parse_aspect(aspect), image_size=sam.image_size)
        wanted = partial(fits, frame=frame, image_size=sam.image_size)
    samples = first_photos(photos, images=images, limit=num_photos, wanted=wanted)
    if precise_bn is not None:
        from distill.jobs.precise_bn import precise_from_cache

        sam = precise_from_cache(sam, precise_bn)
        weights = f"{weights}, BatchNorm statistics of {Path(precise_bn).name}"
    certificate = export_model(
        ExportRequest(
            sam=sam,
            out=out,
            format=format_,
            target=tool,
            samples=samples,
            weights=weights,
            weights_sha256=sha256,
            trained=untrained is None,
            licence=licence or licences_of_run(model),
            precision=precision,
            aspect=aspect,
            prompts=prompts,
            points=points,
            overwrite=overwrite,
            threads=threads,
        ),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if json_:
        print(json.dumps(certificate.model_dump(mode="json")))
        return
    megabytes = sum(file.bytes for file in certificate.files.values()) / 1e6
    print(f"{out}: {certificate.format} {certificate.precision}, {megabytes:.1f} MB")
    for runtime in certificate.runtimes:
        print(runtime_line(runtime))


def verify(
    folder: Annotated[Path, typer.Argument(help="A folder that export made.")],
    photos: PhotosOption = PHOTOS,
    images: ImagesOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Check an exported folder: every byte, then what it computes against its stored reference.

    Example: repvit-sam export verify exported/onnx
    """
    from encoders.export import read_certificate, verify_export

    samples = named_photos(photos, images=images, keys=set(read_certificate(folder).photos))
    found = verify_export(folder, samples, threads=threads)
    if json_:
        print(json.dumps({"runtime": found.runtime.model_dump(mode="json"), "missing": found.missing}))
        return
    print(f"{folder}: {len(found.certificate.files)} files as certified")
    print(runtime_line(found.runtime) + (f"; {found.missing}" if found.missing else ""))


def runtime_line(runtime: Any) -> str:
    """Format a runtime's record and its measures as one line."""
    if runtime.measures is None:
        return f"{runtime.name}: {runtime.how}"
    m = runtime.measures
    return (
        f"{runtime.name}, {runtime.how} in {runtime.precision}: mask IoU {m.iou_mean:.4f} (lowest {m.iou_min:.4f}) over "
        f"{m.prompts} prompts, embedding error {m.embedding_relative_error:.1e}, cosine {m.embedding_cosine:.6f}"
    )


def open_subject(
    *, model: str | None, untrained: str | None, arch: str | None, image_size: int | None
) -> tuple[encoders.Sam, str, str | None]:
    """Open the model to export; return it with its name for the certificate and the checksum of its weights.

    Raises:
        InputError: neither or both are given, or the model cannot be loaded.
    """
    if (model is None) == (untrained is None):
        raise InputError("give either --model or --untrained; see --help")
    if model is not None:
        name = Path(model).resolve().name if Path(model).exists() else model  # certificates must not contain local paths
        return encoders.load(model, arch=arch, image_size=image_size), name, encoders.weights_sha256(model)
    from encoders.contract import IMAGE_SIZE
    from encoders.export.untrained import untrained_subject

    assert untrained is not None
    if arch is not None:
        raise InputError(f"--arch {arch} is for checkpoint files; --untrained {untrained} names its architecture itself")
    size = IMAGE_SIZE if image_size is None else image_size
    return untrained_subject(untrained, image_size=size), f"untrained {untrained}", None


class _Run(BaseModel):
    """The fields of run.json that an export uses."""

    licences: dict[str, str] = {}


def licences_of_run(model: str | None) -> str | None:
    """Return the licences of teacher, data and initial weights from a run folder's run.json; None if it has none.

    Raises:
        InputError: run.json is damaged.
    """
    path = Path(model or "") / "run.json"
    if model is None or not path.is_file():
        return None
    try:
        licences = _Run.model_validate(read_json(path, max_bytes=MAX_RUN_JSON)).licences
    except (InputError, ValidationError) as error:
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())}); expected what a finished run writes") from error
    return "; ".join(f"{what}: {licence}" for what, licence in licences.items()) or None


def register(app: typer.Typer) -> None:
    """Add this file's commands to the group `export`."""
    export_app.command(MAKE)(make)
    export_app.command("verify")(verify)
