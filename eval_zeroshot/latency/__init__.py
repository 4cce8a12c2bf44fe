"""The latency lab: how long encoder, decoder and everything mode take, in which runtime, and how sure that is.

`run_lab` measures, `read_latencies` reads what it or another machine wrote, `latency_grids` shows it.
"""

from eval_zeroshot.latency.blocks import Pace
from eval_zeroshot.latency.lab import run_lab
from eval_zeroshot.latency.reading import read_latencies
from eval_zeroshot.latency.rows import LatencyRow, append_rows, read_rows
from eval_zeroshot.latency.settings import LabSettings
from eval_zeroshot.latency.table import latency_grids

__all__ = ["LabSettings", "LatencyRow", "Pace", "append_rows", "latency_grids", "read_latencies", "read_rows", "run_lab"]
