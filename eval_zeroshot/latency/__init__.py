"""The latency lab: times encoder, decoder and everything mode in several runtimes, with the uncertainty of each time.

`run_lab` measures, `read_latencies` reads rows of this or another machine, `latency_grids` makes tables of them.
"""

from typing import TYPE_CHECKING

from encoders.lazy import lazy_exports

if TYPE_CHECKING:
    from eval_zeroshot.latency.lab import run_lab
    from eval_zeroshot.latency.report.table import latency_grids
    from eval_zeroshot.latency.rows.files import append_rows, read_rows
    from eval_zeroshot.latency.rows.reading import read_latencies
    from eval_zeroshot.latency.rows.row import LatencyRow
    from eval_zeroshot.latency.settings import LabSettings
    from eval_zeroshot.latency.timing.blocks import Pace

__all__ = ["LabSettings", "LatencyRow", "Pace", "append_rows", "latency_grids", "read_latencies", "read_rows", "run_lab"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "timing.blocks": ("Pace",),
            "lab": ("run_lab",),
            "rows.reading": ("read_latencies",),
            "rows.files": ("append_rows", "read_rows"),
            "rows.row": ("LatencyRow",),
            "settings": ("LabSettings",),
            "report.table": ("latency_grids",),
        },
    )
