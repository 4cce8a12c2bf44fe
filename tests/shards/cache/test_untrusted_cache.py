"""A cache that others wrote, damaged or made to do harm: what it says is checked where it is read, and said by name."""

import json
import shutil
from pathlib import Path

import pytest

import shards
from encoders.errors import InputError
from shards.cache.manifest import parse_entry
from shards.cache.names import is_shard_name, shard_index, shard_name
from shards.sources.kept_index import FORMAT
from shards.sources.tar_index import read_index, scan_tar
from tests.shards.helpers.standin import CALL, standin_teacher

WRONG = {
    "name": ["train-/../../precious/thesis.txt", "../train-000000.tar", "train-000000.tar\n", "train-00000.tar",
             "train-0000000.tar", "train-٠٠٠٠٠٠.tar", "x", "", 7, None, ["train-000000.tar"], "train-" + "9" * 5000 + ".tar"],
    "bytes": [0, -1, 2**50, 1.0, "1", True, None, [1]],
    "sha256": ["/abs/x", "../victim/y", "5A" * 32, "5a" * 31, "5a" * 32 + "\n", 5, None],
    "keys": ["abc", 3, None, {"a": 1}, [""], [1], [None], ["a", "a"], ["a/../b"], ["a\u001b[2J"], ["k" * 300], [["a"]]],
    "quarantined": [["x"], [{"key": "a"}], [{"key": "a", "where": "b", "reason": 3}], {"a": 1}, 5,
                    [{"key": "a", "where": "b", "reason": "c", "more": "d"}]],
    "teacher": ["", 1, None], "teacher_sha256": ["", "x" * 64, 1], "preprocess_version": ["", 2],
    "image_size": [0, 100, -64, 2**20, "128", 128.0, None], "codec": ["", 8, None], "codec_version": [0, "1", 1.0],
    "source": ["", 3], "format": [2, "1", None],
}  # fmt: skip
CASES = [pytest.param(field, value, id=f"{field}-{n}") for field, values in WRONG.items() for n, value in enumerate(values)]
NO_JSON = [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"null", b"NaN", b'"\\ud800"', b"7"]


@pytest.fixture
def copy(cache: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cache, tmp_path / "copy"))


def first_line(folder: Path, **changes: object) -> bytes:
    line = (folder / "manifest.jsonl").read_bytes().splitlines()[0]
    return json.dumps(json.loads(line) | changes).encode()


def replace_first_line(folder: Path, line: bytes) -> None:
    path = folder / "manifest.jsonl"
    path.write_bytes(b"\n".join([line, *path.read_bytes().split(b"\n")[1:]]))


@pytest.mark.parametrize(("field", "value"), CASES)
def test_a_field_of_a_manifest_line_that_cannot_be_is_named(cache, field, value):
    with pytest.raises(InputError, match=field) as error:
        parse_entry(first_line(cache, **{field: value}))
    assert len(str(error.value)) < 400 and str(error.value).isprintable()


@pytest.mark.parametrize("line", NO_JSON, ids=range(len(NO_JSON)))
def test_a_manifest_line_that_is_none_stops_reading_and_is_found_by_verify(copy, line):
    replace_first_line(copy, line)
    with pytest.raises(InputError, match=r"manifest\.jsonl, line 1 cannot be read"):
        shards.Manifest.read(copy)
    assert str(shards.verify(copy).problems[0]).startswith("manifest.jsonl: line 1 cannot be used (")


@pytest.mark.parametrize("content", NO_JSON, ids=range(len(NO_JSON)))
def test_a_cache_json_that_is_none_is_named_and_verify_says_what_to_run(copy, content):
    (copy / "cache.json").write_bytes(content)
    with pytest.raises(InputError, match=r"cache\.json cannot be read .* cache verify .* --repair"):
        shards.Manifest.read(copy)
    assert "cache.json" in str(shards.verify(copy).problems[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [("shards", 0), ("shards", "5"), ("shards", 10**12), ("shards", 5.0), ("samples_per_shard", -5), ("image_size", 100)]
    + [("source_sha256", "abc"), ("teacher_sha256", None), ("teacher", ["a"]), ("codec", 8), ("codec_version", True)],
)
def test_a_field_of_cache_json_that_cannot_be_is_named(copy, field, value):
    path = copy / "cache.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(InputError, match=rf"cache\.json cannot be read \({field}: "):
        shards.Manifest.read(copy)
    assert field in str(shards.verify(copy).problems[0])


def test_what_is_too_large_to_be_a_cache_is_not_taken_into_memory(copy, monkeypatch):
    monkeypatch.setattr("shards.cache.manifest.MAX_MANIFEST_BYTES", 1000)
    with pytest.raises(InputError, match=r"manifest\.jsonl has \d+ bytes; at most 1000 are read"):
        shards.Manifest.read(copy)
    (copy / "cache.json").write_bytes(b" " * 70_000)
    with pytest.raises(InputError, match=r"cache\.json cannot be read \(it has 70000 bytes; at most 65536"):
        shards.Manifest.read(copy)


def test_names_of_shards_and_nothing_else():
    for index in (0, 7, 999_999, 1_000_000, 10**9):
        assert shard_index(shard_name(index)) == index
    for name in ("train-1.tar", "train-0000001.tar", "train-+00001.tar", "train-000001.tar.tmp", "a/train-000001.tar"):
        assert not is_shard_name(name)


def test_a_name_that_leads_out_of_the_cache_is_neither_looked_at_nor_removed(copy, tmp_path):
    thesis = tmp_path / "precious" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    (copy / "train-").mkdir()
    with (copy / "manifest.jsonl").open("ab") as file:
        file.write(first_line(copy, name="train-/../../precious/thesis.txt") + b"\n")
    report = shards.verify(copy)
    assert report.damaged == [] and "is not a shard name" in str(report.problems[0])
    shards.clear_damaged(report, wanted=shards.CacheIdentity.read(copy))
    assert thesis.read_text() == "years of work"
    assert shards.verify(copy).problems == []


def test_a_folder_where_a_shard_belongs_is_not_removed(copy):
    (copy / "train-000001.tar").unlink()
    (copy / "train-000001.tar").mkdir()
    damaged = copy / "train-000000.tar"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"train-000001\.tar is a folder where a shard belongs"):
        shards.clear_damaged(shards.verify(copy), wanted=shards.CacheIdentity.read(copy))
    assert damaged.exists()


def test_a_line_of_a_shard_that_the_cache_does_not_have_is_found_and_dropped(copy):
    with (copy / "manifest.jsonl").open("ab") as file:
        file.write(json.dumps(json.loads(first_line(copy)) | {"name": "train-000009.tar", "keys": []}).encode() + b"\n")
    with pytest.raises(InputError, match=r"train-000009\.tar: there is an entry of it, but the cache has 5 shards"):
        shards.Manifest.read(copy)
    shards.clear_damaged(shards.verify(copy), wanted=shards.CacheIdentity.read(copy))
    assert shards.Manifest.read(copy).samples == 23


def test_a_cache_that_claims_a_billion_shards_is_verified_all_the_same(copy):
    path = copy / "cache.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shards": 10**9}))
    problems = [str(problem) for problem in shards.verify(copy).problems]
    assert "train-000005.tar: no line of the manifest names it" in problems
    assert problems[-1] == "manifest.jsonl: names none of 999998995 more shards that cache.json counts"


def source_of(cache: Path) -> shards.Source:
    return shards.open_source(cache.parent / "sa_000007.tar")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("source_sha256", "ee" * 32, "source_sha256 is eeee"),
        ("samples_per_shard", 6, "samples_per_shard is 6, every line of the manifest but the last accounts for 5 photos"),
        ("shards", 6, "shards is 6, 23 photos at 5 a shard make 5"),
        ("shards", 4, "shards is 4, 23 photos at 5 a shard make 5"),
        ("source", "sa1b:other.tar", "source is sa1b:other.tar, every line of the manifest says sa1b:sa_000007.tar"),
        ("teacher", "other", "teacher is other, every line of the manifest says stand-in"),
        ("codec", "fp16", "codec is fp16, every line of the manifest says int8"),
        ("image_size", 64, "image_size is 64, every line of the manifest says 128"),
        ("preprocess_version", "sam-antialias-1+bf16", "preprocess_version is sam-antialias-1+bf16, every line"),
    ],
)
def test_a_changed_field_of_cache_json_is_found(cache, copy, field, value, problem):
    assert shards.verify(copy, source=source_of(cache)).problems == []
    assert shards.verify(copy, source=source_of(cache)).source == "the same"
    path = copy / "cache.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    report = shards.verify(copy, source=source_of(cache))
    assert f"cache.json: {problem}" in "\n".join(map(str, report.problems))


def test_a_changed_number_of_shards_is_put_right_and_a_changed_source_is_not(cache, copy):
    source, path = source_of(cache), copy / "cache.json"
    whole = json.loads(path.read_text())
    call = {name: CALL[name] for name in ("teacher_name", "teacher_sha256", "samples_per_shard")} | {"codec": "int8"}
    wanted = shards.wanted_identity(source, teacher=standin_teacher(), **call)
    path.write_text(json.dumps(whole | {"shards": 6}))
    with pytest.raises(InputError, match="another number of shards"):
        wanted.check_same(shards.CacheIdentity.read(copy), folder=copy)
    shards.clear_damaged(shards.verify(copy, source=source), wanted=wanted)
    assert json.loads(path.read_text()) == whole
    path.write_text(json.dumps(whole | {"source_sha256": "ee" * 32}))
    report = shards.verify(copy, source=source)
    assert report.source == "not the same: source_sha256"
    with pytest.raises(InputError, match=r"cannot be repaired: .*if they have changed, bring them back"):
        shards.clear_damaged(report, wanted=wanted)
    path.unlink()  # what the message says to do where the photos are the cache's
    shards.clear_damaged(shards.verify(copy, source=source), wanted=wanted)
    assert json.loads(path.read_text()) == whole


@pytest.mark.parametrize("content", [*NO_JSON, b'{"format": 1}', b'{"names": 1}'], ids=range(len(NO_JSON) + 2))
def test_a_damaged_index_of_a_tar_is_made_again(cache, tmp_path, content):
    tar, expected = cache.parent / "sa_000007.tar", scan_tar(cache.parent / "sa_000007.tar")
    assert read_index(tar, folder=tmp_path) == expected == read_index(tar, folder=tmp_path)
    (kept,) = tmp_path.glob("*.json")
    whole = kept.read_bytes()
    kept.write_bytes(content)
    assert read_index(tar, folder=tmp_path) == expected and kept.read_bytes() == whole


OUTSIDE = [{"spans": [-5] * 4}, {"spans": [2**62] * 4}, {"spans": [1.5] * 4}, {"problems": {"9999": "x"}}, {"others": "0"}]


@pytest.mark.parametrize("change", [*OUTSIDE, {"names": [1]}, {"format": FORMAT + 1}], ids=str)
def test_an_index_that_leads_out_of_its_tar_is_made_again(cache, tmp_path, change):
    tar, expected = cache.parent / "sa_000007.tar", scan_tar(cache.parent / "sa_000007.tar")
    read_index(tar, folder=tmp_path)
    (kept,) = tmp_path.glob("*.json")
    content = json.loads(kept.read_text())
    if "spans" in change:
        change = {"spans": change["spans"] + content["spans"][4:]}
    kept.write_text(json.dumps(content | change))
    assert read_index(tar, folder=tmp_path) == expected
