"""SAM-like models: student and teacher image encoders, their weights, prompts and the predictor."""

from typing import TYPE_CHECKING

from encoders.lazy import lazy_exports

if TYPE_CHECKING:
    from encoders.errors import InputError, MissingExtra, NonFiniteLoss
    from encoders.fusion import fuse
    from encoders.predictor import Prediction, Predictor
    from encoders.prompts import Prompts
    from encoders.registry import build_image_encoder, list_models
    from encoders.sam import Sam
    from encoders.sam_predictor import SamPredictor
    from encoders.samples.sample import Sample
    from encoders.weights.checkpoint import (
        build_sam,
        load,
        official_state_dict,
        save_run_weights,
        save_sam,
        tensors_sha256,
        weights_sha256,
    )
    from encoders.weights.starting import init_from_imagenet

__all__ = [
    "InputError",
    "MissingExtra",
    "NonFiniteLoss",
    "Prediction",
    "Predictor",
    "Prompts",
    "Sam",
    "SamPredictor",
    "Sample",
    "build_image_encoder",
    "build_sam",
    "fuse",
    "init_from_imagenet",
    "list_models",
    "load",
    "official_state_dict",
    "save_run_weights",
    "save_sam",
    "tensors_sha256",
    "weights_sha256",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "weights.checkpoint": (
                "build_sam",
                "load",
                "official_state_dict",
                "save_run_weights",
                "save_sam",
                "tensors_sha256",
                "weights_sha256",
            ),
            "weights.starting": ("init_from_imagenet",),
            "errors": ("InputError", "MissingExtra", "NonFiniteLoss"),
            "fusion": ("fuse",),
            "predictor": ("Prediction", "Predictor"),
            "prompts": ("Prompts",),
            "registry": ("build_image_encoder", "list_models"),
            "sam": ("Sam",),
            "sam_predictor": ("SamPredictor",),
            "samples.sample": ("Sample",),
        },
    )
