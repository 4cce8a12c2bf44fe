"""Lint a saved package, or a model as the Core ML export would save it."""

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
    """Return the report on a saved package.

    Args:
        name: name of the model in the report; by default the file name of the package.

    Raises:
        InputError: there is no package, it is damaged, or it holds something other than one plain ML program.
        MissingExtra: coremltools is not installed.
    """
    return lint_program(read_package(path), name=name or path.name)


def lint_model(sam: Sam, *, name: str, part: str = "encoder") -> LintReport:
    """Return the report on a model as the Core ML export saves it in fp16: fused, with pixels as input.

    Args:
        name: name of the model in the report.
        part: "encoder" or "decoder". The decoder is converted for a single box, so that every size is known; an exported one
            accepts several numbers of prompts and points.

    Raises:
        InputError: `part` is unknown, or the model cannot be converted.
        MissingExtra: coremltools is not installed.
    """
    from encoders.export.formats import coreml
    from encoders.export.formats.coreml_convert import save
    from encoders.export.formats.coreml_options import CoreMlOptions, Counts

    if part not in PARTS:
        raise InputError(f"unknown part {part!r}; expected one of {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "Model.mlpackage"
        if part == "encoder":
            save(coreml.convert_encoder(fuse(sam), half=True), package)
        else:
            one_box = CoreMlOptions(prompts=Counts(values=(1,)), points=Counts(values=(2,)))
            save(coreml.convert_decoder(sam, half=True, options=one_box), package)
        return lint_package(package, name=name)
