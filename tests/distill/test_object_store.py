"""The commands with their cache in an object store: a real S3 server, as a user calls them."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from encoders.files import sha256_file
from shards.stores.objects import open_objects
from tests.shards.helpers.s3_server import s3_server

pytestmark = pytest.mark.slow  # 140 seconds: nine commands, each of which imports torch


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def run(start):
    """Stdout of a command that must end with an exit code."""

    def call(*arguments: object, code: int = 0) -> str:
        process = start(*arguments)
        out, err = process.communicate(timeout=300)
        print(f"$ repvit-sam {' '.join(map(str, arguments))}\n{out}", flush=True)
        assert process.returncode == code, err
        return out

    return call


def test_a_cache_on_s3_is_made_killed_resumed_verified_repaired_and_learnt_from(bucket, tiny_cache, tmp_path, start, run):
    url = f"{bucket}/cache"
    job = tmp_path / "job.yaml"
    settings = {"source": {"path": str(tiny_cache.parent / "photos")}, "teacher": {"model": "sam_demo", "image_size": 64}}
    settings |= {"samples_per_shard": 5, "batch_size": 2, "out": url, "scratch": str(tmp_path / "scratch")}
    job.write_text(yaml.safe_dump(settings))
    store = open_objects(url)

    process = start("precompute", "--config", job)
    deadline = time.monotonic() + 200
    while not store.list("work/shards") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    print(f"killed with {sorted(store.list_all())} in the store", flush=True)

    other_machine = ("--set", f"scratch={tmp_path / 'other'}")
    facts = json.loads(run("precompute", "--config", job, *other_machine, "--num-processes", 2, "--json"))
    assert facts["cache"] == url and facts["complete"] and facts["shards"] == 3
    names = {"cache.json", "config.yaml", "manifest.jsonl", "progress.jsonl", *(f"train-{n:06d}.tar" for n in range(3))}
    assert set(store.list_all()) == names
    folder = tmp_path / "cache"
    run("precompute", "--config", job, "--set", f"out={folder}")
    local = {p.name: sha256_file(p) for p in folder.glob("train-*.tar")}
    lines = [json.loads(line) for line in store.read("manifest.jsonl", max_bytes=10**6).splitlines()]
    assert {line["name"]: line["sha256"] for line in lines} == local

    assert json.loads(run("cache", "verify", url, "--json"))["ok"]
    assert json.loads(run("cache", "stats", url, "--samples", 4, "--json"))["complete"]
    store.put("train-000001.tar", b"damaged")
    assert not json.loads(run("cache", "verify", url, "--samples", 0, "--json", code=1))["ok"]
    repaired = json.loads(run("cache", "verify", url, "--repair", "--json"))
    assert repaired["ok"] and repaired["repaired"] == ["train-000001.tar"] and repaired["changed"] == []

    weights = {}
    for name, data in (("local", {"cache": str(folder)}), ("s3", {"cache": url, "local_cache": str(tmp_path / "kept")})):
        config = _distil_config(tmp_path / f"{name}.yaml", data, out=tmp_path / name)
        run("distill", "--config", config)
        weights[name] = load_file(tmp_path / name / "encoder.safetensors")
    assert weights["local"].keys() == weights["s3"].keys()
    assert all(torch.equal(weights["s3"][key], value) for key, value in weights["local"].items())


def _distil_config(path: Path, data: dict[str, str], *, out: Path) -> Path:
    from tests.distill.conftest import SETTINGS

    path.write_text(yaml.safe_dump(SETTINGS | {"data": data | {"num_workers": 1}, "out": str(out)}))
    return path
