"""Packages that runtimes need, looked for before the first model is loaded."""

import importlib.util
from collections.abc import Sequence

from encoders.errors import MissingExtra
from eval_zeroshot.latency.subjects import ModelFacts, runtimes_of

ONNX = ("onnx", "onnxscript")  # what writes the file
PACKAGES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {  # runtime -> extra, to convert, to run
    "onnxruntime": ("onnx", ONNX, ("onnxruntime",)),
    "openvino": ("openvino", (), ("openvino",)),
    "openvino_bf16": ("openvino", (), ("openvino",)),
    "executorch": ("executorch", (), ("executorch",)),
    "litert": ("litert", ("litert_torch",), ("ai_edge_litert",)),
    "coreai": ("coreai", ("coreai_torch",), ("coreai",)),
}


def check_installed(models: Sequence[ModelFacts], runtimes: Sequence[str]) -> None:
    """Refuse a run that would end at a missing package.

    Raises:
        MissingExtra: names the first one.
    """
    for model in models:
        for runtime in runtimes_of(model, runtimes):
            extra, to_convert, to_run = PACKAGES.get(runtime, ("", (), ()))
            for package in (*(() if model.exported else to_convert), *to_run):
                if importlib.util.find_spec(package) is None:
                    raise MissingExtra(package, extra="onnx" if package in ONNX else extra)
