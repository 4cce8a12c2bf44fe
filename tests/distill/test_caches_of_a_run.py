"""The cache that a run reads: at a URL, and with a sample that is damaged."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import pytest
import torch

import encoders
from distill import embedding_task
from distill.config.reading import read_run
from distill.embedding_task import EmbeddingTask
from encoders.errors import InputError
from shards import Manifest, ShardReader


@pytest.fixture
def served(tiny_cache):
    """The tiny cache by plain http."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tiny_cache))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def task_of(path, *, rank=0, world_size=1):
    return EmbeddingTask(read_run(path), batch_size=4, rank=rank, world_size=world_size)


def test_a_run_reads_its_cache_from_a_url_into_the_folder_that_its_config_names(config_file, served, tiny_cache, tmp_path):
    local = tmp_path / "local"
    data = {"cache": served, "num_workers": 0, "local_cache": str(local), "local_cache_gib": 0.01}
    remote = task_of(config_file(data=data))
    folder = task_of(config_file())
    for here, there in zip(*(islice(task.batches(start_step=2), 6) for task in (remote, folder)), strict=True):
        assert here.keys == there.keys and torch.equal(here.pixels, there.pixels) and torch.equal(here.codes, there.codes)
    names = {f"{entry.sha256}.tar" for entry in Manifest.read(tiny_cache).entries}
    assert {path.name for path in local.glob("*.tar")} == names
    assert remote.manifest.sha256 == folder.manifest.sha256


def test_a_url_without_a_local_cache_is_exit_code_2_and_the_key_that_is_missing(config_file, command, served):
    code, _, error = command("distill", "--config", config_file(data={"cache": served}))
    assert code == 2 and "data.local_cache" in error and "Traceback" not in error


def test_a_damaged_sample_ends_the_run_with_exit_code_2_and_its_name(config_file, command, tiny_cache, tmp_path):
    copy = shutil.copytree(tiny_cache, tmp_path / "copy")
    path = copy / "train-000001.tar"
    data = path.read_bytes()
    record = ShardReader(Manifest.read(copy)).read(1, 2).record
    path.write_bytes(data.replace(record, record[:-5] + bytes(5)))
    code, _, error = command("distill", "--config", config_file(data={"cache": str(copy), "num_workers": 1}))
    assert code == 2 and "train-000001.tar: sample p07: the embedding record is damaged" in error
    assert "cache verify" in error and "Traceback" not in error


def test_the_teacher_is_read_and_compared_with_the_cache_on_the_first_rank_alone(config_file, monkeypatch):
    read, sam = [], encoders.build_sam("repvit_m0_6", image_size=64)
    monkeypatch.setattr(embedding_task, "load_teacher", lambda teacher: read.append("loaded") or sam)
    monkeypatch.setattr(encoders, "tensors_sha256", lambda name, *, arch, recorded: read.append("hashed") or "ab" * 32)
    path = config_file()
    assert task_of(path, rank=1, world_size=2).steps_per_epoch and read == []
    with pytest.raises(InputError, match="abab"):
        task_of(path, world_size=2)
    assert read == ["loaded", "hashed"]
