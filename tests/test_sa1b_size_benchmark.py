"""The benchmark of SA-1B's size, in small: it runs, and the memory that keys take stays within its bounds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.sa1b_size import table

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow  # 20 s: a process for each part
def test_the_benchmark_of_sa1bs_size():
    command = [sys.executable, "-m", "benchmarks.sa1b_size", "--json", "--scale", "0.01"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)
    parts = found["parts"]
    assert found["photos"] == parts["listing"]["photos"] == 10 * 11_186
    assert found["keys"] == parts["manifest"]["keys"] == 112 * 1000
    assert 0.008 < parts["subset"]["photos"] / found["photos"] < 0.012
    assert parts["ingest"]["plan"] == "112 shards, 0.105 TB, 0 bad"
    loader = parts["loader"]
    assert loader["keys"] == 4000 * 8
    assert loader["worker_bytes"] < 2e6 + 10 * found["keys"]
    assert len(table(found).splitlines()) == 2 + len(parts)
