"""A model as the Core ML program that the lint reads."""

import tempfile
from pathlib import Path
from typing import Literal

from encoders.errors import InputError
from encoders.export.device_lint.report import LintReport, lint_program
from encoders.export.mil import read_package
from encoders.fusion import fuse
from encoders.sam import Sam

Part = Literal["encoder", "decoder"]
PARTS: tuple[Part, ...] = ("encoder", "decoder")


def lint_package(path: Path, *, name: str | None = None) -> LintReport:
    """The lint of a saved package.

    Args:
        name: for the report; the package's own.

    Raises:
        InputError: no package is there, it is damaged, or it holds something else than one ML program.
        MissingExtra: coremltools is not installed.
    """
    return lint_program(read_package(path), name=name or path.name)


def lint_model(sam: Sam, *, name: str, part: str = "encoder") -> LintReport:
    """The lint of a model as the Core ML export writes it in fp16: fused, from pixels, normalisation inside.

    Args:
        part: "encoder", or "decoder" for one box alone, so that every size is known; an exported one takes lists or ranges.

    Raises:
        InputError: there is no such part, or the model cannot be converted.
        MissingExtra: coremltools is not installed.
    """
    from encoders.export.formats import coreml
    from encoders.export.formats.coreml_convert import save
    from encoders.export.formats.coreml_options import CoreMlOptions, Counts

    if part not in PARTS:
        raise InputError(f"no part {part!r}; expected one of {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "Model.mlpackage"
        if part == "encoder":
            save(coreml.convert_encoder(fuse(sam), half=True), package)
        else:
            one_box = CoreMlOptions(prompts=Counts(values=(1,)), points=Counts(values=(2,)))
            save(coreml.convert_decoder(sam, half=True, options=one_box), package)
        return lint_package(package, name=name)
