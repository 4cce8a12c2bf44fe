"""Other projects' models, and users' own, behind our predictor interface."""

import torch

from eval_zeroshot.predictors.adapters import families
from eval_zeroshot.predictors.adapters.callables import is_callable, open_callable
from eval_zeroshot.predictors.adapters.families import FAMILIES, is_adapter
from eval_zeroshot.predictors.adapters.sam_predictor import SamPredictorAdapter
from eval_zeroshot.predictors.protocol import PredictorLike

__all__ = ["FAMILIES", "SamPredictorAdapter", "is_adapter", "is_callable", "open_adapter"]


def open_adapter(text: str, *, device: torch.device | str = "cpu") -> PredictorLike:
    """A predictor by family and weights, see `families.open_adapter`, or by MODULE:CALLABLE, see `callables.open_callable`.

    Args:
        device: of a family's model; a callable chooses its own.

    Raises:
        InputError: it cannot be opened; says why.
    """
    return open_callable(text) if is_callable(text) else families.open_adapter(text, device=device)
