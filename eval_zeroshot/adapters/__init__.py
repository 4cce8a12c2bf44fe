"""Other projects' models behind our predictor interface, where their packages are installed."""

from eval_zeroshot.adapters.families import FAMILIES, is_adapter, open_adapter
from eval_zeroshot.adapters.sam_predictor import SamPredictorAdapter

__all__ = ["FAMILIES", "SamPredictorAdapter", "is_adapter", "open_adapter"]
