"""`repvit-sam export classifier`: RepViT's ImageNet networks as Core ML packages."""

import json
from pathlib import Path
from typing import Annotated

import typer

from distill.commands_export import NUM_PHOTOS, PHOTOS, NumPhotosOption, PhotosOption, open_photos
from distill.export_group import export_app
from distill.options import JsonOption


def classifier(
    arch: Annotated[str, typer.Option(help="Architecture, e.g. repvit_m0_9.")],
    weights: Annotated[Path, typer.Option(help="The original's .pth, or timm's file.")],
    out: Annotated[Path, typer.Option(help="Folder for ARCH_RESOLUTION.mlpackage and its report.")],
    resolution: Annotated[int, typer.Option(help="Side of the input in pixels, a multiple of 32.")] = 224,
    precision: Annotated[str, typer.Option(help="fp16, fp32, int8, palette8, palette6 or palette4.")] = "fp16",
    photos: PhotosOption = PHOTOS,
    num_photos: NumPhotosOption = NUM_PHOTOS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a package that is there.")] = False,
    json_: JsonOption = False,
) -> None:
    """Fuse a RepViT ImageNet classifier, write it for Core ML with normalisation inside, and compare it with PyTorch.

    Example: repvit-sam export classifier --arch repvit_m0_9 --weights repvit_m0_9_distill_450e.pth --out coreml
    """
    from encoders.export.classifier import export_classifier

    samples = open_photos(photos, limit=num_photos)
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
        f"{report.runtime}, {report.how}: logits differ by {report.logits_error:.1e} of their length, the same class on "
        f"{report.same_class:.0%} of {report.photos} photos; fused against unfused {report.fusion_difference:.1e}"
    )


def register(app: typer.Typer) -> None:
    """Add this file's command to the group `export`."""
    export_app.command("classifier")(classifier)
