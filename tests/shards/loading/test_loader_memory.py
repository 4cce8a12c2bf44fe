"""A long epoch: memory stays as it is, and a bad network loses nothing of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shards.helpers import standin
from tests.shards.helpers.photos import jpeg, make_photo
from tests.shards.helpers.server import FaultyServer

ROOT = Path(__file__).resolve().parents[3]
SAMPLES, BATCH = 10_000, 8


@pytest.fixture(scope="module")
def long_cache(tmp_path_factory):
    """10,000 samples in 100 shards, image size 128."""
    root = tmp_path_factory.mktemp("long")
    (root / "photos").mkdir()
    photos = [jpeg(make_photo(number)) for number in range(40)]
    for number in range(SAMPLES):
        (root / "photos" / f"{number:05d}.jpg").write_bytes(photos[number % 40])
    standin.run(root / "photos", root / "cache", samples_per_shard=100, batch_size=50)
    return root / "cache"


# In a process of its own: one that made the cache has room from before, where growth would not show.
READ = """
import json, os, resource, sys
from itertools import islice
from pathlib import Path
import torch
import shards

def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

torch.set_num_threads(1)
cache, local, samples, batch_size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
loader = shards.ShardLoader(cache, batch_size=batch_size, seed=1, local_cache=local)
keys, early = [], 0
for batch in islice(loader.batches(), samples // batch_size):
    keys += batch.keys
    early = early or (resident_bytes() if len(keys) >= 500 else 0)
print(json.dumps({"early": early, "late": resident_bytes(), "keys": keys}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize("remote", [False, True])
def test_memory_is_flat_over_10000_samples_and_every_tenth_connection_dropped_loses_none(long_cache, tmp_path, remote):
    """About a minute on one core, most of it for making the cache."""
    with FaultyServer(long_cache, fault=lambda name, number: "drop" if number % 10 == 9 else None) as server:
        place = server.url if remote else str(long_cache)
        command = [sys.executable, "-c", READ, place, str(tmp_path / "local"), str(SAMPLES), str(BATCH)]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(server.requests) >= 100 * remote
    facts = json.loads(done.stdout)
    early, late = facts["early"], facts["late"]
    print(f"resident after 500 samples {early / 1e6:.1f} MB, after {SAMPLES} {late / 1e6:.1f} MB: {late / early - 1:+.2%}")
    assert sorted(facts["keys"]) == [f"{number:05d}" for number in range(SAMPLES)]
    assert late < 1.05 * early
