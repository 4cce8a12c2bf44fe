"""Commands that export a model and check exports: export, export verify."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import encoders
from distill.export_group import MAKE, export_app
from distill.options import JsonOption
from distill.sample_data import resolve_data
from encoders.errors import InputError
from encoders.files import read_bounded
from encoders.sample import Sample
from eval_zeroshot import open_dataset
from shards import open_source

PHOTOS = "sample:val"
NUM_PHOTOS = 20
MAX_RUN_JSON = 2**20  # bytes
PhotosOption = Annotated[str, typer.Option(help="Photos of the certificate: a folder, a COCO json, or sample:val.")]
NumPhotosOption = Annotated[int, typer.Option(help="Of them, the first so many.", min=1)]
ThreadsOption = Annotated[int | None, typer.Option(help="Threads of the runtime; its own choice.", min=1)]


def make(
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="Run folder, weights, or name.")] = None,
    untrained: Annotated[str | None, typer.Option(help="Architecture to export with random weights instead.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="onnx, openvino, coreml, coreai, executorch, litert.")
    ] = None,
    tool: Annotated[str | None, typer.Option("--for", help="A tool, e.g. x-anylabeling, transformers.js, python, web.")] = None,
    precision: Annotated[str | None, typer.Option(help="Of the artefact, e.g. fp16 or int8; the format's own.")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of a foreign checkpoint file.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Input size, where the model allows another.")] = None,
    precise_bn: Annotated[
        str | None, typer.Option("--precise-bn", help="Shard cache whose photos give the BatchNorm statistics anew.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights, for the metadata; those that a run names.")] = None,
    prompts: Annotated[str | None, typer.Option(help="Of a Core ML decoder's call: 1, 1,2,4 or 1-16.")] = None,
    points: Annotated[str | None, typer.Option(help="Of each prompt, corners and padding included, likewise.")] = None,
    aspect: Annotated[
        str | None, typer.Option(help="Of the photos, e.g. 3:2: the encoder takes such a rectangle, without padding. RepViT.")
    ] = None,
    photos: PhotosOption = PHOTOS,
    num_photos: NumPhotosOption = NUM_PHOTOS,
    threads: ThreadsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export that is there.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the certificate.")] = False,
) -> None:
    """Fuse a model, write it for a runtime or a tool, and certify it against PyTorch.

    What falls below the thresholds of its precision is not written.

    Example: repvit-sam export -m sam_demo --format onnx --out exported/onnx
    """
    from encoders.export import ExportRequest, export_model

    if (format_ is None) == (tool is None):
        raise InputError("give either --format or --for; see repvit-sam export make --help")
    sam, weights, sha256 = open_subject(model=model, untrained=untrained, arch=arch, image_size=image_size)
    if precise_bn is not None:
        from distill.precise_bn import precise_from_cache

        sam, weights = precise_from_cache(sam, precise_bn), f"{weights}, BatchNorm statistics of {precise_bn}"
    certificate = export_model(
        ExportRequest(
            sam=sam,
            out=out,
            format=format_,
            target=tool,
            samples=open_photos(photos, limit=num_photos),
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
        )
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
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Check an exported folder: every byte, then what it computes against its kept reference.

    Example: repvit-sam export verify exported/onnx
    """
    from encoders.export import verify_export

    found = verify_export(folder, open_photos(photos), threads=threads)
    if json_:
        print(json.dumps({"runtime": found.runtime.model_dump(mode="json"), "missing": found.missing}))
        return
    print(f"{folder}: {len(found.certificate.files)} files as certified")
    print(runtime_line(found.runtime) + (f"; {found.missing}" if found.missing else ""))


def runtime_line(runtime: Any) -> str:
    """What a runtime gave, in one line."""
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
    """The model to export, what it is called, and the checksum of its weights.

    Raises:
        InputError: neither or both are given, or the model cannot be loaded.
    """
    if (model is None) == (untrained is None):
        raise InputError("give either --model or --untrained; see --help")
    if model is not None:
        return encoders.load(model, arch=arch, image_size=image_size), model, encoders.weights_sha256(model)
    from encoders.contract import IMAGE_SIZE
    from encoders.export.untrained import untrained_subject

    assert untrained is not None
    size = IMAGE_SIZE if image_size is None else image_size
    return untrained_subject(untrained, image_size=size), f"untrained {untrained}", None


def licences_of_run(model: str | None) -> str | None:
    """What a run folder's run.json says of the licences of its teacher, data and start; None where there is nothing.

    Raises:
        InputError: run.json is damaged.
    """
    path = Path(model or "") / "run.json"
    if model is None or not path.is_file():
        return None
    try:
        licences = json.loads(read_bounded(path, max_bytes=MAX_RUN_JSON, name=str(path))).get("licences", {})
        return "; ".join(f"{what}: {licence}" for what, licence in licences.items()) or None
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}); expected what a finished run writes") from error


def open_photos(photos: str, *, limit: int | None = None) -> Sequence[Sample]:
    """Photos with what is marked in them, or a folder's photos alone.

    Raises:
        InputError: there are none, or one cannot be read.
    """
    path = Path(photos)
    if path.is_dir():
        source = open_source(photos, masks=False)
        items = [item for item, _ in zip(source.items(), range(limit or 10**9), strict=False)]
        return [Sample(key=item.key, image=source.photo(item).image) for item in items]
    data = open_dataset(resolve_data(photos))
    count = len(data) if limit is None else min(limit, len(data))
    return [data[index] for index in range(count)]


def register(app: typer.Typer) -> None:
    """Add this file's commands to the group `export`."""
    export_app.command(MAKE)(make)
    export_app.command("verify")(verify)
