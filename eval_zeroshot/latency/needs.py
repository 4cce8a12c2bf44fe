"""What a run needs, checked before the first model is loaded: packages, the GPU, the photo."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from encoders.errors import InputError, MissingExtra
from encoders.samples.image import read_image
from eval_zeroshot.latency.settings import LabSettings
from eval_zeroshot.latency.subjects.opening import NO_CUDA
from eval_zeroshot.latency.subjects.subject import ModelFacts, runtimes_of

ONNX = ("onnx", "onnxscript")  # write the file
PACKAGES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {  # runtime -> extra, packages to convert, packages to run
    "onnxruntime": ("onnx", ONNX, ("onnxruntime",)),
    "openvino": ("openvino", (), ("openvino",)),
    "openvino_bf16": ("openvino", (), ("openvino",)),
    "executorch": ("executorch", (), ("executorch",)),
    "litert": ("litert", ("litert_torch",), ("ai_edge_litert",)),
    "coreai": ("coreai", ("coreai_torch",), ("coreai",)),
}


def check_installed(models: Sequence[ModelFacts], runtimes: Sequence[str]) -> None:
    """Refuse a run that would stop at a missing package.

    Raises:
        MissingExtra: names the first one.
    """
    for model in models:
        for runtime in runtimes_of(model, runtimes):
            extra, to_convert, to_run = PACKAGES.get(runtime, ("", (), ()))
            for package in (*(() if model.exported else to_convert), *to_run):
                if importlib.util.find_spec(package) is None:
                    raise MissingExtra(package, extra="onnx" if package in ONNX else extra)


def check_device(models: Sequence[ModelFacts], device: str) -> None:
    """Refuse a GPU that is not there, or that a model would not be timed on.

    Raises:
        InputError: there is no CUDA device, or a model is an exported folder.
    """
    if device != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        raise InputError(NO_CUDA)
    for model in models:
        if model.exported is not None:
            raise InputError(f"--device cuda is for PyTorch's runtimes; {model.source} is an exported folder, leave it out")


def check_photo(settings: LabSettings) -> None:
    """Refuse a photo that cannot be read.

    Raises:
        InputError: it is missing or damaged.
    """
    if settings.photo is not None:
        read_image(Path(settings.photo))
