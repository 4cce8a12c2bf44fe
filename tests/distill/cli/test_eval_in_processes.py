"""`repvit-sam eval --num-processes N`: the photos shared, the result that of one process."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from encoders.errors import InputError
from eval_zeroshot.results.observations import ObservationStore

SAMPLE = ("eval", "-m", "demo=sam_demo", "--image-size", 64, "--baselines", "-s", "box", "--data", "sample:val", "--limit", 3)


@pytest.fixture
def capsys(capfd):
    """What `command` reads; processes that it starts write to the files behind stdout and stderr."""
    return capfd


def test_two_processes_print_what_one_prints(command, monkeypatch, tmp_path):
    """Each has one thread; with more the last digits of sums differ."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code, shared, err = command(*SAMPLE, "--json", "--out", tmp_path / "shared.jsonl", "--num-processes", 2)
    assert code == 0, err
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        code, alone, err = command(*SAMPLE, "--json", "--out", tmp_path / "alone.jsonl")
    finally:
        torch.set_num_threads(threads)
    assert code == 0, err
    assert shared == alone and len([json.loads(line) for line in alone.splitlines()]) == 2
    parts = sorted(path.name.split(".")[-2] for path in (tmp_path / "shared.state").glob("*demo*rank*"))
    assert parts in (["rank-0-of-2"], ["rank-0-of-2", "rank-1-of-2"])  # the first may be done before the second is open


def processes_of(marker):
    """Numbers of running processes that have a text among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker in path.read_bytes().decode("utf-8", "replace").split("\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow  # 11 s; test_launching.py kills a launcher of processes that do nothing
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end processes with the one that started them")
def test_processes_end_with_the_one_that_started_them(start, tmp_path):
    out = tmp_path / "r.jsonl"
    words = ["eval", "-m", "demo=sam_demo", "--image-size", 128, "-s", "everything", "--data", "sample:val"]
    parent = start(*words, "--out", out, "--num-processes", 2)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "r.state").glob("*rank*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(processes_of(str(out))) == 3
    parent.kill()
    parent.wait()
    while processes_of(str(out)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(str(out)) == []


def test_two_writers_of_one_file_are_refused(tmp_path):
    first = ObservationStore(tmp_path / "a.jsonl", identity={"suite": "s"})
    with pytest.raises(InputError, match="is being written by another process; wait until it ends, or choose another --out"):
        ObservationStore(tmp_path / "a.jsonl", identity={"suite": "s"})
    ObservationStore(tmp_path / "a.jsonl", identity={"suite": "s"}, part="rank-0-of-2").close()  # a file of its own
    first.close()
    ObservationStore(tmp_path / "a.jsonl", identity={"suite": "s"}).close()
