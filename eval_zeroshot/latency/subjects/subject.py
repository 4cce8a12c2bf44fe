"""Subjects: one part of one model in one runtime with a number of threads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from encoders.errors import InputError, did_you_mean
from encoders.export.certification.certificate import is_export, read_certificate
from eval_zeroshot.latency.rows.row import PARTS, Part

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
EXPORT_RUNTIMES = {"onnx": "onnxruntime"}  # format of an exported folder -> runtime, where the two names differ
RUNTIMES = (*TORCH_RUNTIMES, *FORMAT_RUNTIMES)
ENCODER_ONLY = ("torch_fused", "torch_fused_channels_last")  # differ from torch in the image encoder alone
ONE_GRAPH = ("apple-segmenter",)  # tools whose folder has encoder and decoder in one graph


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A model as it was given to the lab.

    Attributes:
        name: in tables; source: run folder, weights, registry name or exported folder, None for random weights.
        arch: registry name, if it is known before the model is opened.
        exported: format, if the source is an exported folder; tool: that the folder was exported for, if any.
    """

    name: str
    source: str | None = None
    arch: str | None = None
    exported: str | None = None
    tool: str | None = None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a subject's process opens.

    Attributes:
        path: our weights (torch), or the folder with the runtime's files.
        precision: of the files in the folder.
        device: of torch, "cpu" or "cuda".
        prompts: number of points in a decoder call; grid: points per side in everything mode; photo: file for everything mode.
        cache: folder for compiled code.
    """

    model: str
    runtime: str
    part: Part
    threads: int
    image_size: int
    path: str
    precision: str = "fp32"
    device: str = "cpu"
    prompts: int = 1
    grid: int = 8
    photo: str | None = None
    cache: str | None = None
    trained: bool | None = None
    facts: ModelFacts = field(default_factory=lambda: ModelFacts(name=""))

    @property
    def title(self) -> str:
        """Description for a line of progress."""
        return f"{self.model} {self.runtime} {self.part}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    @property
    def asked(self) -> dict[str, int | str]:
        """What a call is asked, as far as it is known before the model is opened; see `LatencyRow.detail`."""
        if self.part == "decoder":
            return {"prompts": self.prompts}
        return {"points": self.grid**2} if self.part == "everything" else {}


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
        InputError: none is given, two have the same name, an architecture is unknown, or an exported folder is damaged or has
            encoder and decoder in one graph.
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
    from eval_zeroshot.predictors.adapters import is_adapter  # PyTorch, which a subject's process may do without

    name, equals, source = text.partition("=")
    if not equals or Path(text).exists():
        name, source = Path(text).name or text, text
    if not name or not source:
        raise InputError(f"-m {text!r}: expected MODEL or NAME=MODEL")
    folder = Path(source)
    if is_adapter(source):
        raise InputError(
            f"-m {text}: only this project's models and exported folders can be timed; models of other projects "
            "(FAMILY:WEIGHTS) and of your own (MODULE:CALLABLE) are taken by eval and masks"
        )
    if not is_export(folder):
        return ModelFacts(name=name, source=source)
    certificate = read_certificate(folder)
    if certificate.target in ONE_GRAPH:
        raise InputError(
            f"{folder} was exported for {certificate.target}: encoder and decoder are one graph there, so neither can be timed "
            f"alone; export the model with --format {certificate.format} and time that folder"
        )
    return ModelFacts(
        name=name, source=source, arch=certificate.model.arch, exported=certificate.format, tool=certificate.target
    )


def runtimes_of(model: ModelFacts, runtimes: Sequence[str]) -> list[str]:
    """The runtimes in which a model is timed: the requested ones, or the one of an exported folder."""
    if model.exported is None:
        return list(runtimes)
    return [EXPORT_RUNTIMES.get(model.exported, model.exported)]


def parts_of(runtime: str, parts: Sequence[Part]) -> list[Part]:
    """The parts that are timed in a runtime. Fusing changes the encoder alone, so the decoder is timed in `torch` only."""
    return [part for part in parts if not (part == "decoder" and runtime in ENCODER_ONLY)]


def check_subjects(models: Sequence[ModelFacts], runtimes: Sequence[str], parts: Sequence[Part]) -> None:
    """Refuse a run in which there is nothing to time.

    Raises:
        InputError: none of the runtimes has any of the parts.
    """
    found = list(dict.fromkeys(runtime for model in models for runtime in runtimes_of(model, runtimes)))
    if not any(parts_of(runtime, parts) for runtime in found):
        own = "has no decoder of its own" if len(found) == 1 else "have no decoders of their own"
        raise InputError(f"{' and '.join(found)} {own}; add --runtime torch")


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
