"""The commands around a cache with a URL in place of a folder, in this process."""

import json
from collections.abc import Iterator

import pytest
import yaml
from fsspec.implementations.memory import MemoryFileSystem

from shards.stores.objects import open_objects

URL = "memory://bucket/cache"


@pytest.fixture(autouse=True)
def _empty_store() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()


@pytest.fixture
def job(tiny_cache, tmp_path):
    """A precompute config of four of the tiny cache's photos, two to a shard, into a URL."""
    (tmp_path / "names.txt").write_text("p01.jpg\np02.jpg\np04.jpg\np05.jpg\n")
    source = {"path": str(tiny_cache.parent / "photos"), "names": str(tmp_path / "names.txt")}
    settings = {"source": source, "teacher": {"model": "sam_demo", "image_size": 64}, "out": URL, "codec_gate": False}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(settings | {"samples_per_shard": 2, "batch_size": 2, "scratch": str(tmp_path / "scratch")}))
    return path


@pytest.mark.slow  # 20 seconds: seven commands
def test_the_commands_take_a_url(job, command, monkeypatch):
    code, out, error = command("precompute", "--config", job, "--dry-run", "--json")
    assert code == 0 and json.loads(out)["shards_done"] == 0 and open_objects(URL).list() == {}, error
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, out, error = command("precompute", "--config", job)
    assert code == 0 and "process 1 of 2 has made its share; 1 of 2 shards are finished" in error
    monkeypatch.setenv("RANK", "0")
    code, out, error = command("precompute", "--config", job, "--json")
    facts = json.loads(out)
    assert code == 0 and (facts["cache"], facts["shards"], facts["shards_made"]) == (URL, 2, 1) and facts["complete"]
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")

    whole = open_objects(URL).read("train-000001.tar", max_bytes=10**7)
    open_objects(URL).put("train-000001.tar", whole[:-1])
    code, out, error = command("cache", "verify", URL, "--samples", 2)
    assert code == 1 and f"rerun: make again train-000001.tar: repvit-sam cache verify {URL} --repair" in out
    code, out, error = command("cache", "verify", URL, "--samples", 2, "--repair", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["repaired"] == ["train-000001.tar"] and facts["changed"] == [], error
    assert open_objects(URL).read("train-000001.tar", max_bytes=10**7) == whole
    code, out, error = command("cache", "stats", URL, "--samples", 2, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["complete"] and facts["mask_iou"] > 0.9, error


def test_a_url_that_holds_no_cache_is_said(command):
    for arguments in (("verify", URL, "--samples", 0), ("stats", URL)):
        code, _, error = command("cache", *arguments)
        assert code == 2 and f"{URL} holds no cache of teacher embeddings" in error
