"""Ingest: plan and quarantine list without a teacher."""

import json
import os

import pytest

import shards
from encoders.errors import InputError
from shards.pipeline.ingest import CHECKED_FILE
from shards.sources.tar_index import Listing
from tests.shards.helpers import standin
from tests.shards.helpers.photos import cut_end_mark, jpeg, make_photo, pair, write_tar


@pytest.fixture
def tars(tmp_path):
    """12 photos in two tars, shards of 5: one cut JPEG, one photo without json, and the second tar has no end mark."""
    bad = [("sa_50.jpg", jpeg(make_photo(50))[:900]), ("sa_50.json", pair(50)[1][1]), ("sa_51.jpg", jpeg(make_photo(51)))]
    write_tar(tmp_path / "sa_000000.tar", [member for n in range(6) for member in pair(n)] + bad)
    cut_end_mark(write_tar(tmp_path / "sa_000001.tar", [member for n in range(6, 10) for member in pair(n)]))
    return tmp_path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_plan_says_what_the_listing_knows_and_names_what_is_bad(tars, tmp_path):
    plan = shards.ingest(shards.open_source(tars), out=tmp_path / "out", samples_per_shard=5, max_bad_fraction=0.2)
    sizes = [sum(len(data) for _, data in pair(n)) for n in range(10)]
    rest = 900 + len(pair(50)[1][1]) + len(jpeg(make_photo(51)))
    assert (plan.photos, plan.bad, plan.bad_allowed, plan.shards) == (13, 2, 3, 3)
    assert plan.bytes == sum(sizes) + rest
    assert plan.damaged_tars == ("sa_000001.tar",) and not plan.decoded
    assert json.loads((tmp_path / "out" / "plan.json").read_text()) == {**vars(plan), "damaged_tars": ["sa_000001.tar"]}
    found = [(line["shard"], line["key"]) for line in lines(tmp_path / "out" / "quarantine.jsonl")]
    assert found == [("train-000001.tar", "sa_51"), ("train-000002.tar", "sa_000001-end")]


@pytest.mark.parametrize("processes", [1, 2])
def test_decoding_finds_what_precompute_will_and_the_cache_can_be_made_in_the_same_folder(tars, tmp_path, processes):
    listing = Listing(folder=tmp_path / "out" / "tar_index")
    source = shards.open_source(tars, listing=listing)
    plan = shards.ingest(
        source, out=tmp_path / "out", decode=True, processes=processes, samples_per_shard=5, max_bad_fraction=0.3
    )
    assert (plan.photos, plan.bad, plan.decoded) == (13, 3, True)
    foretold = (tmp_path / "out" / "quarantine.jsonl").read_bytes()
    call = {"teacher": standin.standin_teacher(), **standin.CALL, "max_bad_fraction": 0.3}
    summary = shards.precompute(shards.open_source(tars, listing=listing), out=tmp_path / "out", **call)
    assert (summary.photos, summary.quarantined, summary.shards) == (10, 3, 3)
    assert (tmp_path / "out" / "quarantine.jsonl").read_bytes() == foretold
    with pytest.raises(InputError, match="holds a cache"):
        shards.ingest(source, out=tmp_path / "out")


def test_too_many_bad_photos_are_an_error_that_leaves_plan_and_list(tars, tmp_path):
    with pytest.raises(InputError, match="3 photos of 13 cannot be used, max_bad_fraction=0.1 allows 2: sa_50: "):
        shards.ingest(shards.open_source(tars), out=tmp_path / "out", decode=True, max_bad_fraction=0.1)
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["bad"] == 3
    assert len(lines(tmp_path / "out" / "quarantine.jsonl")) == 3


def test_a_killed_call_goes_on_where_it_was(tars, tmp_path, monkeypatch):
    monkeypatch.setattr("shards.pipeline.ingest.CHUNK", 4)
    source = shards.open_source(tars)
    options = {"out": tmp_path / "out", "decode": True, "max_bad_fraction": 0.3}
    whole = shards.ingest(source, **options)
    listed = (tmp_path / "out" / "quarantine.jsonl").read_bytes()
    checked = tmp_path / "out" / CHECKED_FILE
    kept = checked.read_bytes().splitlines(keepends=True)
    checked.write_bytes(b"".join(kept[:3]) + kept[3][:10])  # two of four chunks, and what a kill leaves of the third
    read = []
    read_photo = source.read_photo
    monkeypatch.setattr(source, "read_photo", lambda item: read.append(item.key) or read_photo(item))
    assert shards.ingest(source, **options) == whole
    assert read == ["sa_6", "sa_7", "sa_8", "sa_9"]
    assert (tmp_path / "out" / "quarantine.jsonl").read_bytes() == listed
    read.clear()
    assert shards.ingest(source, **options) == whole and read == []


def test_what_was_checked_of_another_source_does_not_count(tars, tmp_path):
    options = {"out": tmp_path / "out", "decode": True, "max_bad_fraction": 0.5}
    shards.ingest(shards.open_source(tars / "sa_000001.tar"), **options)
    assert shards.ingest(shards.open_source(tars), **options).bad == 3
    again = shards.ingest(shards.open_source(tars / "sa_000000.tar"), **options)
    assert (again.photos, again.bad) == (8, 2)


def test_a_photo_that_brings_its_decoder_down_is_narrowed_down(photo_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("shards.pipeline.ingest.CHUNK", 2)
    source = shards.open_source(photo_folder(9))
    photo = source.read_photo
    monkeypatch.setattr(source, "read_photo", lambda item: os._exit(9) if item.key == "p003" else photo(item))
    with pytest.raises(InputError, match=r"brought down .* by a photo from p00[02]\.jpg to p00[3-9]\.jpg"):
        shards.ingest(source, out=tmp_path / "out", decode=True, processes=2)
