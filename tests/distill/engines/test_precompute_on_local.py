"""A precompute by workers of this machine: the bytes of one process, whoever is killed; and who may work in one folder."""

import os
import signal
from pathlib import Path

import pytest

from distill.engines.base import EngineOptions, run
from encoders.errors import InputError
from shards.pipeline.lead import CacheLead, ShardNews
from tests.distill.engines.standin_work import StandinWork
from tests.shards.helpers import standin
from tests.shards.helpers.photos import jpeg, make_photo
from tests.shards.helpers.processes import content

pytestmark = pytest.mark.slow  # 15 s: workers that import torch


@pytest.fixture
def work(tmp_path: Path) -> StandinWork:
    """Of 47 photos, one of them bad, in ten shards."""
    photos, pids = tmp_path / "photos", tmp_path / "pids"
    for folder in (photos, pids):
        folder.mkdir()
    for number in range(47):
        (photos / f"p{number:03d}.jpg").write_bytes(jpeg(make_photo(number)))
    (photos / "p011.jpg").write_bytes(b"junk")
    return StandinWork(photos, tmp_path / "out", pids, pause_seconds=0.2)


class Killing(CacheLead):
    """A lead that kills a worker when two shards are finished, and asks for the folder a second time."""

    work: StandinWork
    refused: str = ""

    def done(self, task: int, news: ShardNews, /) -> None:
        super().done(task, news)
        if self.made == 2:
            os.kill(self.work.workers()[0], signal.SIGKILL)
            with pytest.raises(InputError, match="work is in use: process .* makes shards there") as refusal:
                standin.run(self.work.photos, self.work.out)
            self.refused = str(refusal.value)


def test_a_worker_that_is_killed_leaves_the_bytes_of_one_process(work, tmp_path, capfd):
    standin.run(work.photos, tmp_path / "calm", max_bad_fraction=0.2)
    with Killing(work.out, max_bad_fraction=0.2, processes=2) as lead:
        lead.work = work
        run(work, lead, options=EngineOptions(processes=2))
        assert lead.finish()
    assert content(work.out) == content(tmp_path / "calm")
    assert len(work.workers()) == 3 and str(os.getpid()) in lead.refused
    assert "was ended by signal 9 (SIGKILL)" in capfd.readouterr().err
    assert not list(work.out.glob("*.tmp")) and not (work.out / "work").exists()
