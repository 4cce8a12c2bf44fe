"""Families of models by name: FAMILY:WEIGHTS or FAMILY:VARIANT:WEIGHTS, their packages imported where they are used."""

import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from encoders.errors import InputError, InputWarning, did_you_mean
from encoders.files import sha256_file
from encoders.weights.weights_file import read_weights
from eval_zeroshot.predictors.adapters.efficient_sam import EfficientSamAdapter
from eval_zeroshot.predictors.adapters.sam_predictor import SamPredictorAdapter
from eval_zeroshot.predictors.protocol import PredictorLike

EFFICIENT_SAM_SIZES = {"vitt": (192, 3), "vits": (384, 6)}  # patch embedding width, attention heads
EFFICIENTVIT_PACKAGES = ("efficientvit", "efficientsam")  # the project's own; its models alone, from PyPI


@dataclass(frozen=True, kw_only=True)
class Family:
    """One project's models.

    Attributes:
        name: before the first colon.
        variants: what may stand between the colons; none where the family has one model.
        install: how to get its package.
        build: (variant or "", weights, device, identity) -> predictor.
    """

    name: str
    variants: tuple[str, ...]
    install: str
    build: Callable[[str, Path, torch.device, str], PredictorLike]

    @property
    def form(self) -> str:
        """How a model of the family is named."""
        return f"{self.name}:{'VARIANT:' if self.variants else ''}WEIGHTS"


def is_adapter(text: str) -> bool:
    """Whether a model is named FAMILY:..., and not a file or a name of ours."""
    return ":" in text and not Path(text).exists()


def open_adapter(text: str, *, device: torch.device | str = "cpu") -> PredictorLike:
    """A predictor by family and weights, e.g. `edge_sam:edge_sam_3x.pth` or `efficientvit_sam:l0:efficientvit_sam_l0.pt`.

    Raises:
        InputError: an unknown family or variant, no such weights, weights that are damaged or do not fit, or a package that is
            not installed: says how to install it.
    """
    name, _, rest = text.partition(":")
    if name not in FAMILIES:
        forms = ", ".join(family.form for family in FAMILIES.values())
        expected = f"a run folder, weights, a name, {forms}, or MODULE:CALLABLE of your own"
        raise InputError(f"no family of models is called {name!r}; expected {expected}{did_you_mean(name, FAMILIES)}")
    family = FAMILIES[name]
    variant, weights = "", rest
    if family.variants:
        variant, _, weights = rest.partition(":")
        if variant not in family.variants:
            known = ", ".join(family.variants)
            raise InputError(f"{text}: {name} has no variant {variant!r}; expected {family.form} with {known}")
    if not Path(weights).is_file():
        raise InputError(f"{text}: {weights or 'no weights'} is no file; expected {family.form}")
    identity = ":".join(part for part in (name, variant, sha256_file(Path(weights))) if part)
    try:
        return family.build(variant, Path(weights), torch.device(device), identity)
    except RuntimeError as error:  # of load_state_dict
        raise InputError(f"{text}: the weights do not fit: {str(error)[:500]}") from error


def _edge_sam(variant: str, weights: Path, device: torch.device, identity: str) -> PredictorLike:
    package = _package(["edge_sam"], family="edge_sam")
    # Its own builder loads what fits and prints the rest: with other weights the model would run untrained.
    model = package.sam_model_registry["edge_sam"](checkpoint=None)
    missing, unknown = model.load_state_dict(read_weights(weights).tensors, strict=False)
    if missing:
        count = len(missing)
        raise InputError(f"{weights}: {count} of EdgeSAM's tensors are missing, {missing[0]} first; give its own weights")
    if unknown:
        message = f"{weights}: EdgeSAM has no place for {len(unknown)} tensors, {unknown[0]} first"
        warnings.warn(message, InputWarning, stacklevel=2)
    return SamPredictorAdapter(package.SamPredictor(model.to(device).eval()), identity=identity)


def _efficientvit_sam(variant: str, weights: Path, device: torch.device, identity: str) -> PredictorLike:
    package = _package(EFFICIENTVIT_PACKAGES, family="efficientvit_sam")
    zoo = importlib.import_module(f"{package.__name__}.sam_model_zoo")
    parts = importlib.import_module(f"{package.__name__}.models.efficientvit.sam")
    model = zoo.create_efficientvit_sam_model(f"efficientvit-sam-{variant}", pretrained=False)
    model.load_state_dict(read_weights(weights).tensors)
    predictor = parts.EfficientViTSamPredictor(model.to(device).eval())
    return SamPredictorAdapter(predictor, identity=identity, image_size=int(model.image_size[1]))


def _efficient_sam(variant: str, weights: Path, device: torch.device, identity: str) -> PredictorLike:
    _package(["efficient_sam"], family="efficient_sam")
    builder: Any = importlib.import_module("efficient_sam.build_efficient_sam")
    width, heads = EFFICIENT_SAM_SIZES[variant]
    # Its own builder would read the file with torch.load, which runs the code in a pickle before PyTorch 2.6.
    model = builder.build_efficient_sam(encoder_patch_embed_dim=width, encoder_num_heads=heads, checkpoint=None)
    model.load_state_dict(read_weights(weights).tensors)
    return EfficientSamAdapter(model.to(device).eval(), identity=identity)


def _package(names: Sequence[str], *, family: str) -> Any:
    """The first of some packages that is installed."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:  # installed, but something that it needs is not
                raise InputError(f"{family}: {name} cannot be imported, it needs {error.name}; install that") from error
    raise InputError(f"{family}: {' or '.join(names)} is not installed; {FAMILIES[family].install}")


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="edge_sam",
            variants=(),
            install="get https://github.com/chongzhou96/EdgeSAM and run pip install -e . in it",
            build=_edge_sam,
        ),
        Family(
            name="efficientvit_sam",
            variants=("l0", "l1", "l2", "xl0", "xl1"),
            install="pip install efficientsam (the models of EfficientViT-SAM alone), or get "
            "https://github.com/mit-han-lab/efficientvit and run pip install -e . in it",
            build=_efficientvit_sam,
        ),
        Family(
            name="efficient_sam",
            variants=tuple(EFFICIENT_SAM_SIZES),
            install="get https://github.com/yformer/EfficientSAM and run pip install -e . in it",
            build=_efficient_sam,
        ),
    )
}
