"""Results made by hand, and what a terminal shows of their comparison."""

import io

from rich.console import Console

from eval_zeroshot import Estimate, Result


def result(model: str, suite: str = "box", role: str = "student", **facts) -> Result:
    estimate = Estimate(value=0.25, n=1672)
    given = {
        "value": 0.5,
        "n": 1672,
        "standard_error": 0.004,
        "version": "1",
        "protocol": "ground truth",
        "dataset": "coco",
        "images": 188,
        "skipped": {"crowd": 20, "empty": 0},
        "breakdown": dict.fromkeys(("small", "medium", "large"), estimate),
        "extra": {"agreement": Estimate(value=0.75, n=1672), "oracle": Estimate(value=0.875, n=1672)},
        "reference": "sam_demo",
    }
    return Result(model=model, suite=suite, role=role, **(given | facts))


def printed(comparison, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    comparison.terminal(console)
    return console.file.getvalue()
