"""The export formats by name. A format's module and its dependencies are imported on first use."""

import importlib

from encoders.errors import InputError, did_you_mean
from encoders.export.formats.base import Format

FORMATS = {
    "onnx": "encoders.export.formats.onnx:OnnxFormat",
    "openvino": "encoders.export.formats.openvino:OpenVinoFormat",
    "coreml": "encoders.export.formats.coreml:CoreMlFormat",
    "coreai": "encoders.export.formats.coreai:CoreAiFormat",
    "executorch": "encoders.export.formats.executorch:ExecuTorchFormat",
    "litert": "encoders.export.formats.litert:LiteRtFormat",
}


def find_format(name: str) -> Format:
    """Return the format with this name.

    Raises:
        InputError: there is no such format.
    """
    if name not in FORMATS:
        raise InputError(f"unknown format {name!r}; expected one of {', '.join(FORMATS)}{did_you_mean(name, FORMATS)}")
    module, _, attribute = FORMATS[name].partition(":")
    made: Format = getattr(importlib.import_module(module), attribute)()
    return made
