"""Edges: the BSDS500 boundary benchmark without MATLAB, and edge maps from a predictor's masks."""

from eval_zeroshot.suites.edges.benchmark import EdgeReport, score_predictions
from eval_zeroshot.suites.edges.counts import Counts, count_matches
from eval_zeroshot.suites.edges.prediction import EdgeSegmentations, EdgeStrength, read_prediction
from eval_zeroshot.suites.edges.scores import EdgeScores, best_f, edge_scores

__all__ = [
    "Counts",
    "EdgeReport",
    "EdgeScores",
    "EdgeSegmentations",
    "EdgeStrength",
    "best_f",
    "count_matches",
    "edge_scores",
    "read_prediction",
    "score_predictions",
]
