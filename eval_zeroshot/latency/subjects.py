"""What is timed: a part of a model in a runtime with a number of threads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from encoders.errors import InputError, did_you_mean
from encoders.export.certificate import is_export, read_certificate
from eval_zeroshot.latency.rows import PARTS, Part

TORCH_RUNTIMES = ("torch", "torch_fused", "torch_fused_channels_last", "torch_compiled")
FORMAT_RUNTIMES = {  # runtime -> format that is written for it
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "openvino_bf16": "openvino",
    "executorch": "executorch",
    "litert": "litert",
    "coreml": "coreml",
    "coreai": "coreai",
}
EXPORT_RUNTIMES = {"onnx": "onnxruntime"}  # of an exported folder; the other formats are called as their runtimes
RUNTIMES = (*TORCH_RUNTIMES, *FORMAT_RUNTIMES)
ENCODER_ONLY = ("torch_fused", "torch_fused_channels_last")  # what differs from torch there is the image encoder alone


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A model as the lab was given it.

    Attributes:
        name: in the table; source: run folder, weights, registry name or exported folder, None for random weights.
        arch: registry name, where it is known before the model is opened; exported: its format where it is an exported folder.
        tool: that the exported folder is for.
    """

    name: str
    source: str | None = None
    arch: str | None = None
    exported: str | None = None
    tool: str | None = None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a process of its own is asked to open.

    Attributes:
        path: weights of ours (torch), or the folder with the runtime's files.
        precision: of the files in the folder.
        tool: that the folder's files are for.
        device: of torch, "cpu" or "cuda".
        prompts: points that a decoder call answers; grid: points of a side in everything mode; photo: for that, a file.
        cache: folder for compiled code.
    """

    model: str
    runtime: str
    part: Part
    threads: int
    image_size: int
    path: str
    precision: str = "fp32"
    tool: str | None = None
    device: str = "cpu"
    prompts: int = 1
    grid: int = 8
    photo: str | None = None
    cache: str | None = None
    trained: bool | None = None
    facts: ModelFacts = field(default_factory=lambda: ModelFacts(name=""))

    @property
    def title(self) -> str:
        """For a line of progress."""
        return f"{self.model} {self.runtime} {self.part}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def check_runtimes(runtimes: Sequence[str]) -> list[str]:
    """The runtimes, each once.

    Raises:
        InputError: one is unknown.
    """
    for name in runtimes:
        if name not in RUNTIMES:
            raise InputError(f"unknown runtime {name!r}; expected one of {', '.join(RUNTIMES)}{did_you_mean(name, RUNTIMES)}")
    return list(dict.fromkeys(runtimes))


def check_parts(parts: Sequence[str]) -> list[Part]:
    """The parts, each once.

    Raises:
        InputError: one is unknown.
    """
    for name in parts:
        if name not in PARTS:
            raise InputError(f"unknown part {name!r}; expected one of {', '.join(PARTS)}{did_you_mean(name, PARTS)}")
    return [part for part in PARTS if part in parts]


def name_models(models: Iterable[str], untrained: Iterable[str]) -> list[ModelFacts]:
    """Models as they are given on the command line: NAME=MODEL, MODEL, and architectures with random weights.

    Raises:
        InputError: none is given, a name comes twice, an architecture is unknown, or an exported folder is damaged.
    """
    from encoders.registry import BUILDERS, unknown_model

    found = [_named(text) for text in models]
    for arch in untrained:
        if arch not in BUILDERS:
            raise unknown_model(arch)
        found.append(ModelFacts(name=arch, arch=arch))
    if not found:
        raise InputError("nothing to time; give -m NAME=MODEL or --untrained ARCH")
    names = [model.name for model in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two models are called {name!r}; give one of them another name: -m NAME=MODEL")
    return found


def _named(text: str) -> ModelFacts:
    name, equals, source = text.partition("=")
    if not equals:
        name, source = Path(text).name or text, text
    if not name or not source:
        raise InputError(f"-m {text!r}: expected MODEL or NAME=MODEL")
    folder = Path(source)
    if not is_export(folder):
        return ModelFacts(name=name, source=source)
    certificate = read_certificate(folder)
    return ModelFacts(
        name=name, source=source, arch=certificate.model.arch, exported=certificate.format, tool=certificate.target
    )


def runtimes_of(model: ModelFacts, runtimes: Sequence[str]) -> list[str]:
    """The runtimes that a model is timed in: those asked for, or the one that its exported folder is for."""
    if model.exported is None:
        return list(runtimes)
    return [EXPORT_RUNTIMES.get(model.exported, model.exported)]


def parts_of(runtime: str, parts: Sequence[Part]) -> list[Part]:
    """The parts that are timed in a runtime: the decoder of a fused model is the model's own, which `torch` has."""
    return [part for part in parts if not (part == "decoder" and runtime in ENCODER_ONLY)]


def check_baseline(baseline: str | None, models: Sequence[ModelFacts]) -> None:
    """Refuse a baseline that is not among the models.

    Raises:
        InputError: it is not.
    """
    names = [model.name for model in models]
    if baseline is not None and baseline not in names:
        raise InputError(
            f"--baseline {baseline!r} is not among the models {', '.join(names)}{did_you_mean(baseline, names)}"
        )
