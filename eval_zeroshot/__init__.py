"""Zero-shot evaluation: any predictor, any COCO-format data set, named protocols, honest tables."""

from typing import TYPE_CHECKING

from encoders.lazy import lazy_exports

if TYPE_CHECKING:
    from eval_zeroshot.ap.backends import average_precision
    from eval_zeroshot.datasets.opening import EvalDataset, open_dataset, register_dataset
    from eval_zeroshot.predictors.baselines import Disc, FillBox, untrained
    from eval_zeroshot.report.contact_sheet import contact_sheet
    from eval_zeroshot.report.published import PublishedRow, published_rows
    from eval_zeroshot.report.table import Comparison, compare
    from eval_zeroshot.results.result import Estimate, Result, append_results, read_results, write_results
    from eval_zeroshot.runner import ModelFacts, evaluate, observe_share, observing
    from eval_zeroshot.suites.base import Suite
    from eval_zeroshot.suites.box import BoxIou
    from eval_zeroshot.suites.point import PointIou
    from eval_zeroshot.suites.registry import (
        SUITES,
        box_iou,
        choose_suites,
        get_suite,
        point_iou,
        ready_suites,
        register_suite,
        register_suite_maker,
    )

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
    "observing",
    "open_dataset",
    "point_iou",
    "published_rows",
    "read_results",
    "ready_suites",
    "register_dataset",
    "register_suite",
    "register_suite_maker",
    "untrained",
    "write_results",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "ap.backends": ("average_precision",),
            "predictors.baselines": ("Disc", "FillBox", "untrained"),
            "suites.box": ("BoxIou",),
            "datasets.opening": ("EvalDataset", "open_dataset", "register_dataset"),
            "suites.point": ("PointIou",),
            "report.published": ("PublishedRow", "published_rows"),
            "results.result": ("Estimate", "Result", "append_results", "read_results", "write_results"),
            "runner": ("ModelFacts", "evaluate", "observe_share", "observing"),
            "report.contact_sheet": ("contact_sheet",),
            "suites.base": ("Suite",),
            "suites.registry": (
                "SUITES",
                "box_iou",
                "choose_suites",
                "get_suite",
                "point_iou",
                "ready_suites",
                "register_suite",
                "register_suite_maker",
            ),
            "report.table": ("Comparison", "compare"),
        },
    )
