"""Zero-shot evaluation: any predictor, any COCO-format data set, named protocols, honest tables."""

from typing import TYPE_CHECKING

from encoders.lazy import lazy_exports

if TYPE_CHECKING:
    from eval_zeroshot.ap import average_precision
    from eval_zeroshot.baselines import Disc, FillBox, untrained
    from eval_zeroshot.box_suite import BoxIou
    from eval_zeroshot.choose import choose_suites
    from eval_zeroshot.datasets import EvalDataset, open_dataset
    from eval_zeroshot.point_suite import PointIou
    from eval_zeroshot.published import PublishedRow, published_rows
    from eval_zeroshot.results import Estimate, Result, append_results, read_results, write_results
    from eval_zeroshot.runner import ModelFacts, evaluate, observe_share
    from eval_zeroshot.sheet import contact_sheet
    from eval_zeroshot.suite import Suite
    from eval_zeroshot.suites import SUITES, box_iou, get_suite, point_iou
    from eval_zeroshot.table import Comparison, compare

__all__ = [
    "SUITES",
    "BoxIou",
    "Comparison",
    "Disc",
    "Estimate",
    "EvalDataset",
    "FillBox",
    "ModelFacts",
    "PointIou",
    "PublishedRow",
    "Result",
    "Suite",
    "append_results",
    "average_precision",
    "box_iou",
    "choose_suites",
    "compare",
    "contact_sheet",
    "evaluate",
    "get_suite",
    "observe_share",
    "open_dataset",
    "point_iou",
    "published_rows",
    "read_results",
    "untrained",
    "write_results",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "ap": ("average_precision",),
            "baselines": ("Disc", "FillBox", "untrained"),
            "box_suite": ("BoxIou",),
            "choose": ("choose_suites",),
            "datasets": ("EvalDataset", "open_dataset"),
            "point_suite": ("PointIou",),
            "published": ("PublishedRow", "published_rows"),
            "results": ("Estimate", "Result", "append_results", "read_results", "write_results"),
            "runner": ("ModelFacts", "evaluate", "observe_share"),
            "sheet": ("contact_sheet",),
            "suite": ("Suite",),
            "suites": ("SUITES", "box_iou", "get_suite", "point_iou"),
            "table": ("Comparison", "compare"),
        },
    )
