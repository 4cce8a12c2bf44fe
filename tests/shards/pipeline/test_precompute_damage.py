"""An unfinished cache whose own small files were damaged: that piece is done again, with a note, and the rest is kept."""

import json
import os
import shutil
from pathlib import Path

import pytest

import shards
from encoders.errors import InputError, InputWarning
from tests.shards.helpers import standin
from tests.shards.helpers.photos import jpeg, make_photo
from tests.shards.helpers.processes import content

ENTRY = "work/shards/train-000001.tar.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with 13 photos, a calm cache of them, and one of which the last of 3 shards is not made."""

    def stop(state: shards.PrecomputeProgress) -> None:
        if state.photos == 12:
            raise KeyboardInterrupt

    root = tmp_path_factory.mktemp("damage")
    (root / "photos").mkdir()
    for number in range(13):
        (root / "photos" / f"p{number:03d}.jpg").write_bytes(jpeg(make_photo(number)))
    standin.run(root / "photos", root / "calm")
    with pytest.raises(KeyboardInterrupt):
        standin.run(root / "photos", root / "out", progress=stop)
    return root


@pytest.fixture
def unfinished(made: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """The photos, the calm cache, and a copy of the unfinished one."""
    return made / "photos", made / "calm", Path(shutil.copytree(made / "out", tmp_path / "out"))


def changed(**changes: object):
    return lambda path: path.write_bytes(json.dumps(json.loads(path.read_bytes()) | changes).encode() + b"\n")


DAMAGE = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a byte 0xff": lambda path: path.write_bytes(b"\xff" + path.read_bytes()),
    "nested deeply": lambda path: path.write_bytes(b"[" * 100_000 + b"\n"),
    "of wrong types": changed(bytes="1", keys=5),
    "of another shard": changed(name="train-000000.tar"),
    "of another codec": changed(codec="fp16"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_named_and_its_shard_made_again(unfinished, damage):
    photos, calm, out = unfinished
    damage(out / ENTRY)
    kept = (out / "train-000000.tar").stat().st_mtime_ns
    report = shards.verify(out)
    assert str(report.problems[1]).startswith(f"{ENTRY}: cannot be used (") and report.damaged == []
    assert report.rerun == "run the same precompute command again; it makes what is missing"
    with pytest.warns(InputWarning, match=r"train-000001\.tar\.json cannot be read .* makes train-000001\.tar again"):
        assert standin.run(photos, out).shards_made == 2
    assert content(out) == content(calm)
    assert (out / "train-000000.tar").stat().st_mtime_ns == kept


def test_damage_is_told_in_the_figures_of_an_unfinished_cache(unfinished):
    (unfinished[2] / ENTRY).write_bytes(b"\xff")
    with pytest.warns(InputWarning, match="makes train-000001.tar again"):
        assert shards.CacheSample(unfinished[2], samples=1).stats().shards == 1


LINES = [b"\xff", b"[" * 100_000, b"[]", b'{"shard": "x", "quarantined": []}', b'{"shard": 1}', b"{"]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_damaged_journal_is_passed_over_with_a_note(unfinished, line):
    photos, calm, out = unfinished
    (journal,) = (out / "work" / "processes").iterdir()
    journal.write_bytes(line + b"\n" + journal.read_bytes())
    with pytest.warns(InputWarning, match="has a damaged line"):
        assert standin.run(photos, out).shards_made == 1
    assert content(out) == content(calm)


def test_files_of_others_in_the_work_folder_stop_nobody(unfinished):
    photos, calm, out = unfinished
    work = out / "work"
    (work / "shards" / "notes.json").write_text("{}")
    shutil.copy(out / ENTRY, work / "shards" / "train-000077.tar.json")
    (work / "processes" / "a folder").mkdir()
    os.mkfifo(work / "processes" / "pipe.jsonl")
    with pytest.warns(InputWarning, match="train-000077"):
        assert standin.run(photos, out).complete
    assert content(out) == content(calm)


def test_an_unfinished_cache_of_an_earlier_release_with_leases_is_finished(unfinished):
    photos, calm, out = unfinished
    for name in ("train-000002.tar.0.lease", "progress.0.lease", "manifest.0.lease", "host-7-00.clock"):
        (out / "work" / "shards" / name).write_text(json.dumps({"owner": "host-7-00", "node": "this boot", "pid": os.getpid()}))
    (out / "train-000002.tar.99.tmp").write_bytes(b"of the process that held the lease")
    assert standin.run(photos, out).shards_made == 1
    assert content(out) == content(calm) and not list(out.glob("*.tmp"))


def test_a_line_of_the_manifest_that_is_damaged_is_named(unfinished):
    photos, _, out = unfinished
    (out / "manifest.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=r"manifest\.jsonl, line 1 cannot be read"):
        standin.run(photos, out)
