"""The weights that a student starts from: `model.init`."""

import warnings
from dataclasses import dataclass, field
from typing import Any

from torch import nn

import encoders
from distill.config.models import in_words_of_config
from distill.config.runs import ModelConfig
from distill.frozen_batchnorm import freeze_batchnorm
from encoders.errors import InputError, InputWarning
from encoders.messages.words import counted
from encoders.weights.starting import copy_fitting, fill_from_imagenet, starting_weights

LEAST = 0.25  # share of a student's backbone, in numbers, that another network must fill to be worth starting from


@dataclass(frozen=True)
class StartingPoint:
    """A student at the start of its training.

    Attributes:
        encoder: the student.
        facts: for run.json: `start`, with what was read, the number of tensors copied, and the names of the layers left
            random; empty without `init`.
    """

    encoder: nn.Module
    facts: dict[str, Any] = field(default_factory=dict)


def starting_point(model: ModelConfig, *, announce: bool = True) -> StartingPoint:
    """Return the initial encoder: with random weights, or those of `init`.

    A SAM of the same architecture fills all of it, an ImageNet network of it all but the neck, strictly. From any other, the
    layers that fit by name and shape are copied.

    Args:
        announce: warn of an `init` of another architecture or size.

    Raises:
        InputError: `init` cannot be read, is damaged, or fills too little.

    Warns:
        InputWarning: how much of another network fits.
    """
    encoder = encoders.build_image_encoder(model.arch, image_size=model.image_size)
    start = StartingPoint(encoder)
    if model.init is not None:
        with in_words_of_config("model.init", arch_key="model.arch"):
            start = _filled(encoder, model, announce=announce)
    if model.freeze_batchnorm:
        freeze_batchnorm(start.encoder)
    return start


def _filled(encoder: nn.Module, model: ModelConfig, *, announce: bool) -> StartingPoint:
    assert model.init is not None
    weights = starting_weights(model.init)
    if weights.arch == model.arch and weights.has_neck:
        encoder = encoders.load(model.init, arch=model.arch, image_size=model.image_size).image_encoder
        count = len(encoder.state_dict())
        return StartingPoint(encoder, {"start": {"what": weights.what, "tensors": count, "of": count}})
    if weights.arch == model.arch:
        copied = fill_from_imagenet(encoder, weights, arch=model.arch, name=model.init)
    else:
        copied = copy_fitting(encoder, weights.tensors)
    if copied.share < LEAST:
        raise InputError(
            f"{model.init} holds {weights.what}, of which {copied.tensors} of {copied.total} tensors of {model.arch} can be"
            f" filled, {copied.share:.0%} of its backbone's numbers; expected at least {LEAST:.0%}: give a network of the same"
            " widths, or leave model.init out"
        )
    if model.freeze_batchnorm and copied.share < 1:
        raise InputError(
            f"{model.init} leaves {counted(len(copied.left), 'layer')} of {model.arch} at random, whose BatchNorm has no"
            " statistics to keep; set model.freeze_batchnorm=false, or give an init of the same architecture"
        )
    if announce and weights.arch != model.arch:
        message = (
            f"model.init: {model.init} holds {weights.what}; {copied.tensors} of {copied.total} tensors of {model.arch} start"
            f" from it ({copied.share:.0%} of the backbone's numbers), {counted(len(copied.left), 'layer')} start at random,"
            " which run.json will name"
        )
        warnings.warn(message, InputWarning, stacklevel=4)
    facts = {"what": weights.what, "tensors": copied.tensors, "of": copied.total, "left_random": copied.left}
    return StartingPoint(encoder, {"start": facts})
