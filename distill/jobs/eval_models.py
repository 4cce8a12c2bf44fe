"""Opening the models of an evaluation, with the facts that results record about each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import encoders
from distill.launching.world import read_world
from encoders.errors import InputError, did_you_mean
from encoders.export.certification.certificate import CERTIFICATE, is_export
from encoders.export.opened import open_export
from encoders.files import sha256_file
from eval_zeroshot import FillBox, ModelFacts, untrained
from eval_zeroshot.predictors.adapters import is_adapter, is_callable, open_adapter
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.results.result import Role

BASELINES = "filled box or disc"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Opened predictors by name, with facts on those that have weights."""

    predictors: dict[str, PredictorLike] = field(default_factory=dict)
    facts: dict[str, ModelFacts] = field(default_factory=dict)


def open_models(
    models: Mapping[str, str],
    *,
    arch: str | None = None,
    image_size: int | None = None,
    padding: bool = True,
    reference: str | None = None,
    against: str | None = None,
    untrained_archs: Sequence[str] = (),
    baselines: bool = False,
) -> Opened:
    """Open models on this machine's device.

    Args:
        models: name -> run folder, weights file, registry name, exported folder, `FAMILY:WEIGHTS` of another project,
            or MODULE:CALLABLE of the user's own.
        arch: architecture of foreign checkpoint files.
        image_size: another input size, for our models.
        padding: False lets our own models, the teacher aside, encode photos in their own aspect.
        reference: the teacher among them.
        against: a name that must be among all models.
        untrained_archs: architectures to add untrained, with the reference's decoder.
        baselines: add fill-the-box and the disc.

    Raises:
        InputError: a model cannot be opened, two have one name, or a name is not among them.
    """
    opened, device = Opened(), read_world().device
    for name, model in models.items():
        role: Role = "teacher" if name == reference else "student"
        if is_adapter(model):
            adapter = open_adapter(model, device=device)
            opened.predictors[name] = adapter
            opened.facts[name] = _facts_of(model, adapter, role=role)
        elif is_export(Path(model)):
            exported = open_export(model)
            opened.predictors[name] = encoders.Predictor(exported)
            opened.facts[name] = ModelFacts(role=role, arch=exported.arch, sha256=sha256_file(Path(model) / CERTIFICATE))
        else:
            sam = encoders.load(model, arch=arch, image_size=image_size).to(device)
            opened.predictors[name] = encoders.Predictor(sam, padding=padding or role == "teacher")
            opened.facts[name] = ModelFacts(role=role, arch=sam.arch, sha256=encoders.weights_sha256(model))
    _check("--reference", reference, opened)
    teacher = opened.predictors.get(reference) if reference else None
    for name in dict.fromkeys(untrained_archs):
        size = image_size or _size_of(opened)
        own = teacher.sam if isinstance(teacher, encoders.Predictor) else None
        fresh = untrained(name, image_size=size, decoder_of=own if isinstance(own, encoders.Sam) else None)
        fresh.to(device)
        _check_free(f"untrained {name}", opened)
        opened.predictors[f"untrained {name}"] = fresh
        opened.facts[f"untrained {name}"] = ModelFacts(role="baseline", arch=name)
    if baselines:
        _check_free(BASELINES, opened)
        opened.predictors[BASELINES] = FillBox()
    _check("--against", against, opened)
    return opened


def _facts_of(model: str, adapter: PredictorLike, *, role: Role) -> ModelFacts:
    """Return the facts on a foreign model; its identity has the weights' checksum, which is optional for a user's own model."""
    identity = str(getattr(adapter, "identity", ""))
    family, _, sha256 = identity.rpartition(":")
    if is_callable(model) and identity == model:
        return ModelFacts(role=role, arch=model)
    return ModelFacts(role=role, arch=family, sha256=sha256)


def _check_free(name: str, opened: Opened) -> None:
    if name in opened.predictors:
        raise InputError(f"two models are called {name!r}; give one of them another name: -m NAME=MODEL")


def _check(option: str, name: str | None, opened: Opened) -> None:
    if name is not None and name not in opened.predictors:
        among = f"{option} {name!r} is not among the models {', '.join(opened.predictors)}"
        raise InputError(among + did_you_mean(name, opened.predictors))


def _size_of(opened: Opened) -> int:
    for predictor in opened.predictors.values():
        if isinstance(predictor, encoders.Predictor):
            return predictor.image_size
    raise InputError("--untrained needs an input size: give --image-size, or one of our models beside it")


def name_and_model(text: str) -> tuple[str, str]:
    """ "NAME=MODEL" -> both; a bare model is named by its last part.

    Raises:
        InputError: either is empty.
    """
    name, separator, model = text.partition("=")
    if not name or (separator and not model):
        raise InputError(f"-m {text!r}: expected MODEL or NAME=MODEL")
    return (name, model) if separator else (Path(text).name, text)


def named_models(texts: Sequence[str]) -> dict[str, str]:
    """Parse the -m options to a mapping from name to model.

    Raises:
        InputError: two models have one name.
    """
    models: dict[str, str] = {}
    for name, model in map(name_and_model, texts):
        if name in models:
            raise InputError(f"{models[name]} and {model} are both called {name!r}; name them apart: -m NAME=MODEL")
        models[name] = model
    return models
