"""`repvit-sam eval --num-processes N`: the photos shared, the result that of one process."""

import json
import os
import subprocess
import sys


def evaluate_sample(out, *options):
    command = [sys.executable, "-m", "distill", "eval", "-m", "demo=sam_demo", "--image-size", "128", "--baselines"]
    command += ["-s", "box", "--data", "sample:val", "--limit", "3", "--json", "--out", str(out), *options]
    # Each of two processes has one thread; with more the last digits of sums differ.
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=one_thread, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_print_what_one_prints(tmp_path):
    alone = evaluate_sample(tmp_path / "alone.jsonl")
    shared = evaluate_sample(tmp_path / "shared.jsonl", "--num-processes", "2")
    assert shared == alone and len([json.loads(line) for line in alone.splitlines()]) == 2
    parts = sorted(path.name.split(".")[-2] for path in (tmp_path / "shared.state").glob("*demo*rank*"))
    assert parts == ["rank-0-of-2", "rank-1-of-2"]
