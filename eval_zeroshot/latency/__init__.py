"""The latency lab: times encoder, decoder and everything mode in several runtimes, with the uncertainty of each time.

`run_lab` measures, `read_latencies` reads rows of this or another machine, `latency_grids` makes tables of them.
"""

from typing import TYPE_CHECKING

from encoders.lazy import lazy_exports

if TYPE_CHECKING:
    from eval_zeroshot.latency.blocks import Pace
    from eval_zeroshot.latency.lab import run_lab
    from eval_zeroshot.latency.reading import read_latencies
    from eval_zeroshot.latency.row_files import append_rows, read_rows
    from eval_zeroshot.latency.rows import LatencyRow
    from eval_zeroshot.latency.settings import LabSettings
    from eval_zeroshot.latency.table import latency_grids

__all__ = ["LabSettings", "LatencyRow", "Pace", "append_rows", "latency_grids", "read_latencies", "read_rows", "run_lab"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "blocks": ("Pace",),
            "lab": ("run_lab",),
            "reading": ("read_latencies",),
            "row_files": ("append_rows", "read_rows"),
            "rows": ("LatencyRow",),
            "settings": ("LabSettings",),
            "table": ("latency_grids",),
        },
    )
