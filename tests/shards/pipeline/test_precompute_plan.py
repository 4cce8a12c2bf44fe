"""What a precompute says of itself beforehand, against what it then does."""

import json
from pathlib import Path

import pytest

import shards
from encoders.errors import InputError
from tests.shards.helpers import standin
from tests.shards.helpers.standin import CALL, standin_teacher


def plan(source: Path, out: Path, *, pause_seconds: float = 0.0, **changes: object) -> shards.PrecomputePlan:
    photos = shards.open_source(source)
    teacher = standin_teacher(pause_seconds=pause_seconds)
    call = {name: CALL[name] for name in ("teacher_name", "teacher_sha256", "samples_per_shard")} | {"codec": "int8"}
    identity = shards.wanted_identity(photos, teacher=teacher, **call)
    return shards.plan_precompute(photos, teacher=teacher, identity=identity, out=out, **{"batch_size": 2, **changes})


def test_a_plan_of_a_new_cache_measures_a_few_photos_and_writes_nothing(tmp_path, photo_folder):
    folder, out = photo_folder(13), tmp_path / "deep" / "out"
    planned = plan(folder, out, batch_size=8, pause_seconds=0.4, processes=2)  # 13 photos are two batches
    assert not out.parent.exists()
    assert (planned.photos, planned.photos_done, planned.shards, planned.shards_done) == (13, 0, 3, 0)
    assert planned.bytes_from == planned.rate_from == "13 photos measured now"
    assert 5 / 0.4 > planned.photos_per_second > 1  # the second batch: 5 photos in 0.4 s and a little
    assert planned.hours == pytest.approx(13 / planned.photos_per_second / 2 / 3600)
    made = standin.run(folder, out)
    assert 0 <= made.bytes - planned.bytes <= 3 * 10240  # a tar ends on a multiple of 10,240 bytes


def test_a_plan_of_a_begun_cache_rests_on_what_is_there(tmp_path, photo_folder):
    folder, out = photo_folder(13), tmp_path / "out"

    def stop(state: shards.PrecomputeProgress) -> None:
        if state.photos == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        standin.run(folder, out, progress=stop)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    planned = plan(folder, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert (planned.photos_done, planned.shards_done) == (10, 2)
    done = sum((out / f"train-00000{index}.tar").stat().st_size for index in range(2))
    assert planned.bytes_done == done and planned.bytes == round(done * 13 / 10)
    last = json.loads((out / "progress.jsonl").read_text().splitlines()[-1])
    assert planned.photos_per_second == last["photos_made"] / last["seconds"] and last["photos_made"] == 10
    assert planned.rate_from == "the progress of earlier calls"
    standin.run(folder, out)
    planned = plan(folder, out)
    assert (planned.photos_done, planned.shards_done, planned.hours) == (13, 3, 0)
    assert planned.bytes == planned.bytes_done


def test_a_plan_is_refused_where_the_work_would_be(tmp_path, photo_folder):
    folder, out = photo_folder(6), tmp_path / "out"
    standin.run(folder, out, codec="fp16")
    with pytest.raises(InputError, match="codec is fp16 there, int8 now"):
        plan(folder, out)
    with pytest.raises(InputError, match="expected at least 1"):
        plan(folder, tmp_path / "new", processes=0)
    for photo in folder.iterdir():
        photo.write_bytes(b"junk")
    with pytest.raises(InputError, match="none of 6 photos drawn from folder:photos can be used; the first: .*p00"):
        plan(folder, tmp_path / "new")
