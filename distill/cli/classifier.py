"""The command `repvit-sam export classifier`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.export_group import export_app
from distill.cli.export_photos import NUM_PHOTOS, PHOTOS, NumPhotosOption, PhotosOption, first_photos
from distill.cli.options import JsonOption


def classifier(
    arch: Annotated[str, typer.Option(help="Architecture of the classifier, from repvit_m0_6 to repvit_m2_3.")],
    weights: Annotated[Path, typer.Option(help="Weights of the classifier: the original's .pth file, or timm's file.")],
    out: Annotated[
        Path, typer.Option(help="Folder to write ARCH_RESOLUTION.mlpackage and its report, ARCH_RESOLUTION.json, to.")
    ],
    resolution: Annotated[int, typer.Option(help="Height and width of the input in pixels, a multiple of 32.")] = 224,
    precision: Annotated[
        str, typer.Option(help="Precision of the weights: fp16, fp32, int8, palette8, palette6 or palette4.")
    ] = "fp16",
    photos: PhotosOption = PHOTOS,
    num_photos: NumPhotosOption = NUM_PHOTOS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing package and its report.")] = False,
    json_: JsonOption = False,
) -> None:
    """Export a RepViT ImageNet classifier to Core ML and compare it with PyTorch.

    The package is fused and normalises its input itself; it is not written if it disagrees with PyTorch.

    Example: repvit-sam export classifier --arch repvit_m0_9 --weights repvit_m0_9_distill_450e.pth --out coreml
    """
    from encoders.export.classifier import export_classifier

    samples = first_photos(photos, limit=num_photos)
    report = export_classifier(
        arch,
        weights,
        out,
        photos=[sample.image for sample in samples],
        resolution=resolution,
        precision=precision,
        overwrite=overwrite,
    )
    if json_:
        print(json.dumps(report.model_dump(mode="json")))
        return
    package = out / f"{arch}_{resolution}.mlpackage"
    print(f"{package}: {report.precision}, {report.classes} classes, {report.heads} head{'s' * (report.heads > 1)}")
    print(
        f"{report.runtime}, {report.how}: logits differ from PyTorch's by {report.logits_error:.1e} of their norm, with the "
        f"same top class on {report.same_class:.0%} of {report.photos} photos; fusing changed them by "
        f"{report.fusion_difference:.1e} of the largest logit"
    )


def register(app: typer.Typer) -> None:
    """Add this file's command to the group `export`."""
    export_app.command("classifier")(classifier)
