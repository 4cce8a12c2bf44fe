"""The engine on Ray: nodes that are lost and come back, the bytes of one process, and nothing left behind."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from distill.engines.base import HERE, EngineOptions, run
from distill.jobs.evaluate import run_eval
from encoders.errors import InputError
from shards.pipeline.lead import CacheLead, ShardNews
from tests.distill.engines.standin_work import StandinWork
from tests.distill.engines.tiny_work import TinyLead, TinyWork, written
from tests.shards.helpers import standin
from tests.shards.helpers.processes import content

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'repvit-sam[ray]'")
from ray.cluster_utils import Cluster  # noqa: E402  # after the check that Ray is there

pytestmark = pytest.mark.slow  # a cluster takes 10 s to start

ROOT = Path(__file__).resolve().parents[3]
ON_RAY = EngineOptions(engine="ray")


def ray_processes() -> set[int]:
    """Numbers of all processes of Ray on this machine."""
    marks = ("raylet", "gcs_server", "ray::")
    return {p.pid for p in psutil.process_iter(["cmdline"]) if any(mark in " ".join(p.info["cmdline"] or ()) for mark in marks)}


@pytest.fixture(scope="module")
def importable() -> Iterator[None]:
    """Actors import the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")  # of the actors; with more the last digits of sums differ
        patch.chdir(ROOT)
        yield


@pytest.fixture(scope="module")
def cluster(importable: None) -> Iterator[Cluster]:
    """A cluster of one node with one CPU, which this process is connected to; nothing of it is left after the tests.

    Ray takes the same process for a dead one when it connects to a second cluster, so that there is only one.
    """
    before = ray_processes()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    psutil.wait_procs([psutil.Process(pid) for pid in ray_processes() - before], timeout=20)
    assert ray_processes() <= before


def test_a_cluster_that_is_not_there_is_named(importable, tmp_path):
    with pytest.raises(InputError, match="no Ray cluster can be reached at 127.0.0.1:1"):
        run(TinyWork(tmp_path), TinyLead(tmp_path, range(2)), options=EngineOptions(engine="ray", ray_address="127.0.0.1:1"))


OWN = """
from pathlib import Path
import ray
from distill.engines.base import EngineOptions, run
from tests.distill.engines.tiny_work import TinyLead, TinyWork
folder = Path({folder!r})
lead = TinyLead(folder, range(30))
run(TinyWork(folder, kill_once=5), lead, options=EngineOptions(engine="ray", processes=2))
assert sorted(lead.told) == list(range(30)) and not ray.is_initialized()
"""


def test_a_cluster_of_its_own_starts_and_ends_with_the_call(importable, tmp_path):
    before = ray_processes()
    subprocess.run([sys.executable, "-c", OWN.format(folder=str(tmp_path))], check=True, timeout=200)
    assert written(tmp_path) == {task: str(task**2) for task in range(30)}
    assert ray_processes() <= before


class Disturbed(CacheLead):
    """A lead that takes a node away once both have an actor at work, and adds one again some shards later."""

    cluster: Cluster
    work: StandinWork
    lost_at: int | None = None

    def done(self, task: int, news: ShardNews, /) -> None:
        super().done(task, news)
        if self.lost_at is None and len(self.work.workers()) == 2:
            self.lost_at = self.made
            (node,) = self.cluster.worker_nodes
            self.cluster.remove_node(node, allow_graceful=False)
        if self.lost_at is not None and self.made == self.lost_at + 3:
            self.cluster.add_node(num_cpus=1)


def test_a_node_that_is_lost_and_one_that_joins_leave_the_bytes_of_one_process(cluster, tmp_path):
    """2,000 photos of 64 px in 40 shards."""
    photos, pids = tmp_path / "photos", tmp_path / "pids"
    for folder in (photos, pids):
        folder.mkdir()
    rng = np.random.default_rng(7)
    for number in range(2000):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((64, 48) if number % 3 else (40, 64), Image.Resampling.BICUBIC)
        image.save(photos / f"p{number:04d}.jpg", quality=90)
    (photos / "p0777.jpg").write_bytes(b"junk")
    settings = {"samples_per_shard": 50, "batch_size": 10}
    standin.run(photos, tmp_path / "calm", max_bad_fraction=0.2, **settings)
    cluster.add_node(num_cpus=1)
    work = StandinWork(photos, tmp_path / "out", pids, settings=settings, pause_seconds=0.25)
    with Disturbed(work.out, max_bad_fraction=0.2) as lead:
        lead.cluster, lead.work = cluster, work
        run(work, lead, options=ON_RAY)
        assert lead.finish()
    assert content(work.out) == content(tmp_path / "calm")
    assert len(work.workers()) == 3, "one on each node"
    assert lead.made == 40


def test_a_task_that_always_fails_is_named_with_the_last_words(cluster, tmp_path):
    with pytest.raises(InputError, match=r"stone 3 failed 3 times, .*last words: RuntimeError: task 3 has a stone in it"):
        run(TinyWork(tmp_path, fails=3), TinyLead(tmp_path, range(8)), options=ON_RAY)
    with pytest.raises(InputError, match=r"^task 4 is no good; give another$"):
        run(TinyWork(tmp_path, refuses=4), TinyLead(tmp_path, range(8)), options=ON_RAY)


def test_an_evaluation_gives_the_lines_of_one_process(cluster, tmp_path):
    """The actors see every photo; the call itself only sums up."""

    def evaluated(name: str, options: EngineOptions) -> list[dict[str, Any]]:
        inputs = {"suites": ["box", "point"], "data": "sample:val", "out": tmp_path / name, "limit": 5}
        found = run_eval({"demo": "sam_demo"}, inputs, options=options, image_size=64, baselines=True)
        assert found is not None
        return [json.loads(result.to_line()) for result in found]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the actors
    try:
        assert evaluated("ray.jsonl", ON_RAY) == evaluated("alone.jsonl", HERE)
    finally:
        torch.set_num_threads(threads)
    parts = list((tmp_path / "ray.state").glob("*.jsonl"))
    assert len(parts) == 4 and all(".rank-" in path.name and len(path.read_text().splitlines()) == 6 for path in parts)
