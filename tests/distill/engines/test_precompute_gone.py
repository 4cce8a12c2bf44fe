"""A cache that another machine finishes first: the worker says so and ends with 0, and the lead ends with the whole cache."""

import shutil
from multiprocessing import Pipe
from pathlib import Path

import pytest

import shards
from distill.config.runs import PrecomputeConfig
from distill.engines.base import EngineOptions
from distill.engines.gone import Gone
from distill.engines.ray_cluster import answer
from distill.engines.session import Session
from distill.engines.worker import GONE, OPEN, serve
from distill.jobs import precompute as jobs
from distill.launching.world import World
from tests.shards.helpers import standin
from tests.shards.helpers.photos import jpeg, make_photo


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrecomputeConfig:
    """Ten photos in two shards, the stand-in for a teacher."""
    (tmp_path / "photos").mkdir()
    for number in range(10):
        (tmp_path / "photos" / f"p{number:03d}.jpg").write_bytes(jpeg(make_photo(number)))
    monkeypatch.setattr(jobs, "open_teacher", lambda job, device: standin.standin_teacher())
    facts = {name: standin.CALL[name] for name in ("teacher_name", "teacher_sha256")}
    monkeypatch.setattr(jobs, "teacher_facts", lambda job, folder=None: facts)
    return PrecomputeConfig.model_validate(
        {
            "source": {"path": str(tmp_path / "photos")},
            "teacher": {"model": "none"},
            "out": str(tmp_path / "out"),
            "codec": "int8",
            "codec_gate": False,
            "samples_per_shard": 5,
            "batch_size": 2,
        }
    )


def finish(job: PrecomputeConfig) -> None:
    """What other machines do: all shards, the manifest, and then the work folder is gone."""
    for rank in (0, 1):
        standin.run(job.source.path, job.out, rank=rank, world_size=2)
    shutil.rmtree(Path(job.out) / "work", ignore_errors=True)


def test_a_worker_says_that_the_work_is_gone_and_ends_with_0(job, capfd):
    finish(job)
    ours, theirs = Pipe()
    ours.send(0)
    assert serve(jobs.PrecomputeWork(job), World(), theirs) == 0
    assert ours.recv()[0] == OPEN
    message = ours.recv()
    while message[0] == "batch":
        message = ours.recv()
    assert message == (GONE, f"{job.out} was finished by another process")
    assert "Traceback" not in capfd.readouterr().err
    assert not list(Path(job.out).glob("*.tmp"))


def test_an_actors_session_gives_the_same_answer(job):
    finish(job)
    session = Session(jobs.PrecomputeWork(job), World())
    session.facts()
    with pytest.raises(Gone) as gone:
        session.do(1)
    assert answer(gone.value) == (GONE, f"{job.out} was finished by another process")


def test_a_missing_file_of_an_unfinished_cache_is_still_a_failure(job):
    ours, theirs = Pipe()
    ours.send(0)
    assert serve(jobs.PrecomputeWork(job), World(), theirs) == 1  # nobody has made the work folder


def test_the_lead_ends_with_the_cache_that_others_have_finished(job, monkeypatch):
    def others_are_faster(work, lead, *, options):
        with work.open(World()) as worker:
            lead.begin(worker.facts)
        finish(job)
        raise Gone("somebody was faster")

    monkeypatch.setattr(jobs, "run", others_are_faster)
    made = jobs.precompute_job(job, options=EngineOptions(processes=2))
    assert made.complete and (made.shards, made.shards_made, made.photos) == (2, 0, 10)
    assert shards.verify(job.out).problems == []
