"""The reference model of an agreement evaluation, usually the teacher: chosen, checked against the data, opened on demand."""

from collections.abc import Mapping
from pathlib import Path

import encoders
from distill.jobs.eval_models import name_and_model
from distill.jobs.own_photos import Maker
from distill.launching.world import read_world
from encoders.errors import InputError
from encoders.weights.checkpoint import tensors_sha256
from eval_zeroshot.predictors.adapters import is_adapter, open_adapter
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.predictors.reference import Reference
from eval_zeroshot.runner import fingerprint


def find_reference(
    given: str | None,
    *,
    models: Mapping[str, str],
    maker: Maker | None,
    data: Path,
    arch: str | None = None,
    image_size: int | None = None,
) -> Reference:
    """Choose the model whose masks count as ground truth.

    Args:
        given: name of one of `models`, or a model as `-m` takes it; None takes the maker of a cache or of masks.
        models: name -> model, those to be measured.
        maker: who made what the photos bring along.
        data: where the photos are, for messages.
        arch: architecture of foreign checkpoint files.
        image_size: another input size; of a cache it is the cache's.

    Raises:
        InputError: no model is named, it cannot be opened, or it did not make the cache.
    """
    if given is not None and given in models:
        name, model = given, models[given]
    elif given is not None:
        name, model = name_and_model(given)
    elif maker is not None:
        name, model = Path(maker.model).name, maker.model
    else:
        raise InputError(f"agreement on {data} needs a model to agree with: --reference NAME of one of -m, or a model")
    if is_adapter(model):
        return _adapted(name, model, maker=maker, data=data)
    try:
        sha256 = encoders.weights_sha256(model)
    except InputError as error:
        if given is None:
            raise InputError(f"{data} was made by {model}, which is not at hand: {error}. Name it by --reference") from error
        raise
    if maker is not None and (maker.embeddings or given is None) and not _made_by(
        maker, model, sha256=sha256, arch=arch
    ):
        raise InputError(
            f"{data} was made by {maker.model} (sha256 {maker.sha256[:16]}…), but {model} has sha256 {sha256[:16]}…; name the "
            "model that made it by --reference"
        )
    stored = maker is not None and maker.embeddings
    if maker is not None and (stored or (given is None and image_size is None)):
        image_size = maker.image_size
    sam = encoders.load(model, arch=arch, image_size=image_size)
    how = ", its embeddings as the cache stores them" if stored else ""
    return Reference(
        name=name,
        identity=f"{sam.arch}, weights {sha256[:16]}{how}",
        image_size=sam.image_size,
        open=lambda: encoders.Predictor(sam.to(read_world().device)),
    )


def _made_by(maker: Maker, model: str, *, sha256: str, arch: str | None) -> bool:
    """Return whether these are the maker's weights; a cache identifies its teacher by tensors, not by file."""
    return maker.sha256 in (sha256, tensors_sha256(model, arch=arch, recorded=maker.sha256) if maker.embeddings else sha256)


def _adapted(name: str, model: str, *, maker: Maker | None, data: Path) -> Reference:
    """Open another project's model as the reference."""
    if maker is not None and maker.embeddings:
        raise InputError(f"{data} holds embeddings of {maker.model}; {model} has no decoder for them. Leave --reference out")
    predictor: PredictorLike = open_adapter(model, device=read_world().device)
    size = getattr(predictor, "image_size", None)
    return Reference(name=name, identity=fingerprint(predictor), image_size=size, open=lambda: predictor)
