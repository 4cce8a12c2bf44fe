"""A verification finds what is wrong with a cache, says where, and names what to make again, which mends it."""

import json
import random
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from webdataset.writer import TarWriter

import shards
from encoders.errors import InputError
from encoders.files import sha256_file
from shards.cache.manifest import read_entries, write_manifest
from shards.codec.seal import ALONE, HEADER, MAGIC, payload_start, seal_record
from shards.pipeline.work_folder import WORK
from shards.verification.teacher import draw
from tests.shards.helpers import standin
from tests.shards.helpers.photos import pair, write_tar
from tests.shards.helpers.processes import content
from tests.shards.helpers.standin import CALL, standin_teacher

SECOND = "train-000001.tar"  # holds sa_5 .. sa_9
Parts = dict[str, dict[str, bytes]]  # key -> extension -> bytes


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tar of 13 photos, one of them bad, and its cache of 3 shards."""
    root = tmp_path_factory.mktemp("verify")
    members = [member for number in range(13) for member in pair(number)]
    members[22] = (members[22][0], b"junk")  # sa_11
    tar = write_tar(root / "sa_000007.tar", members)
    standin.run(tar, root / "cache", max_bad_fraction=0.2)
    return tar, root / "cache"


@pytest.fixture
def damaged(whole: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the cache, to be damaged."""
    return Path(shutil.copytree(whole[1], tmp_path / "cache"))


def forge(folder: Path, change: Callable[[Parts], None], *, name: str = SECOND, manifest: bool = True) -> None:
    """Rewrite a shard; the manifest has its new checksum and, where `manifest` says so, its new keys."""
    parts: Parts = {}
    with tarfile.open(folder / name) as tar:
        for member in tar:
            key, extension = member.name.split(".")
            parts.setdefault(key, {})[extension] = tar.extractfile(member).read()
    change(parts)
    with TarWriter(str(folder / name), encoder=False) as tar:  # also of samples that lack a member
        for key, part in parts.items():
            tar.write({"__key__": key, **part})
    entries = {entry.name: entry for entry in read_entries(folder)}
    path = folder / name
    entry = replace(entries[name], bytes=path.stat().st_size, sha256=sha256_file(path))
    entries[name] = replace(entry, keys=tuple(parts)) if manifest else entry
    write_manifest(folder, entries.values())


def flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def found(folder: Path, **settings: object) -> list[str]:
    return [str(problem) for problem in shards.verify(folder, **settings).problems]


def with_teacher(folder: Path, **settings: object) -> shards.VerifyReport:
    return shards.verify(folder, **{"teacher": standin_teacher(), "teacher_sha256": CALL["teacher_sha256"], **settings})


def test_a_whole_cache_has_no_problem_and_is_not_touched(whole):
    before = {path: path.stat().st_mtime_ns for path in whole[1].rglob("*")}
    seen = []
    report = with_teacher(whole[1], samples=100, progress=lambda done, total: seen.append((done, total)))
    assert report.problems == [] and report.rerun is None and seen == [(1, 3), (2, 3), (3, 3)]
    assert (report.shards, report.photos, report.recomputed) == (3, 12, 12)
    assert report.bytes == sum(path.stat().st_size for path in whole[1].glob("*.tar"))
    assert 0 < report.worst_error <= report.codec_error * 1.01 < 0.01
    assert {path: path.stat().st_mtime_ns for path in whole[1].rglob("*")} == before


def test_any_flipped_bit_of_any_file_that_holds_data_is_found(damaged):
    rng = random.Random(8)
    paths = [*sorted(damaged.glob("train-*.tar")), damaged / "manifest.jsonl", damaged / "quarantine.jsonl"]
    for number in range(60):
        path = paths[number % len(paths)]
        before = path.read_bytes()
        flip(path, rng.randrange(len(before)), rng.randrange(8))
        report = shards.verify(damaged)
        assert report.problems, f"flip {number} in {path.name}"
        assert path.name in str(report.problems[0]) or path.suffix == ".jsonl"
        path.write_bytes(before)
    assert shards.verify(damaged).problems == []


def test_a_flipped_bit_is_placed_in_its_sample(damaged):
    with tarfile.open(damaged / SECOND) as tar:
        place = tar.getmember("sa_7.emb").offset_data + 5000
    flip(damaged / SECOND, place)
    problems = found(damaged)
    assert len(problems) == 2
    assert problems[0].startswith(f"{SECOND}: sha256 is ")
    assert problems[1] == f"{SECOND}: sample sa_7: the embedding record is damaged: its checksum does not match"
    report = shards.verify(damaged)
    assert report.damaged == [SECOND]
    assert report.rerun == f"make again {SECOND}: repvit-sam cache verify {damaged} --repair"


def test_a_truncated_shard_and_a_missing_one_are_found(damaged):
    path = damaged / SECOND
    whole = path.stat().st_size
    with tarfile.open(path) as tar:
        cut = tar.getmember("sa_7.jpg").offset_data + 10
    path.write_bytes(path.read_bytes()[:cut])
    (damaged / "train-000002.tar").unlink()
    problems = found(damaged)
    assert problems[0] == f"{SECOND}: was cut off: {cut} bytes, the manifest says {whole}"
    assert problems[1].startswith(f"{SECOND}: cannot be read to its end (")
    assert problems[1].endswith("); 3 of 5 samples are lost, from sa_7 on")
    assert problems[-1] == "train-000002.tar: is missing"
    assert shards.verify(damaged).damaged == [SECOND, "train-000002.tar"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda parts: parts.pop("sa_7"), "sample sa_7: is missing"),
        (lambda parts: parts["sa_7"].pop("json"), "sample sa_7: has no sa_7.json"),
        (lambda parts: parts["sa_7"].update(json=b"{"), "sample sa_7: its json cannot be read"),
        (lambda parts: parts["sa_7"].update(json=parts["sa_6"]["json"]), "sample sa_7: its json is that of 'sa_6'"),
        (lambda parts: parts["sa_7"].update(jpg=parts["sa_7"]["jpg"][:200]), "sample sa_7: not a readable image"),
        (lambda parts: parts["sa_7"].update(emb=parts["sa_6"]["emb"]), "sample sa_7: an embedding of (4, 8) positions"),
        (lambda parts: parts["sa_7"].update(emb=parts["sa_7"]["emb"][:-1]), "sample sa_7: the embedding record is dam"),
        (lambda parts: parts.update(sa_99=parts["sa_7"]), "sample sa_99: is not in the manifest"),
    ],
)
def test_a_sample_that_is_wrong_in_a_shard_with_the_right_checksum_is_named(damaged, change, problem):
    forge(damaged, change, manifest=False)
    problems = found(damaged)
    assert len(problems) == 1 and problems[0].startswith(f"{SECOND}: {problem}")


def test_a_key_that_the_manifest_forgets_too_is_found_by_its_number(damaged):
    forge(damaged, lambda parts: parts.pop("sa_7"))
    assert found(damaged) == [f"{SECOND}: the manifest accounts for 4 photos of 5"]


def test_an_embedding_of_another_photo_is_found_by_the_teacher(damaged):
    def swap(parts: Parts) -> None:  # both are 60 x 90 photos, so that only the teacher can tell
        sealed = parts["sa_0"]["emb"]
        alone = MAGIC + bytes([ALONE]) + sealed[5 : HEADER.size] + sealed[payload_start(sealed) :]
        parts["sa_4"]["emb"] = seal_record(alone, jpeg=parts["sa_4"]["jpg"], facts=parts["sa_4"]["json"])

    forge(damaged, swap, name="train-000000.tar")
    assert found(damaged) == []
    report = with_teacher(damaged, samples=100)
    assert [(problem.where, problem.key) for problem in report.problems] == [("train-000000.tar", "sa_4")]
    assert "of the teacher's root mean square away" in report.problems[0].problem
    assert report.damaged == ["train-000000.tar"]


def test_another_teacher_is_found_by_its_checksum_and_by_what_it_says(damaged):
    report = with_teacher(damaged, teacher_sha256="ee" * 32)
    assert [str(problem) for problem in report.problems] == [
        f"cache.json: the cache was made by teacher stand-in (sha256 {'5a' * 32}), not by the one given (sha256 {'ee' * 32})"
    ]
    assert report.recomputed == 0
    other = standin_teacher()
    with torch.no_grad():
        other.image_encoder.patches.weight.mul_(1.2)
    report = with_teacher(damaged, teacher=other)
    assert len(report.problems) == 1 and "none of 8 samples is what the teacher gives" in str(report.problems[0])
    config = damaged / "config.yaml"
    assert report.rerun == f"make the cache again in another folder: repvit-sam precompute --config {config} --set out=FOLDER"
    with torch.no_grad():
        other.image_encoder.patches.weight.copy_(standin_teacher().image_encoder.patches.weight * 1.0005)
    assert with_teacher(damaged, teacher=other, samples=100).problems == []  # as far as another device may be


def test_another_preprocessing_or_codec_version_is_found(damaged, monkeypatch):
    monkeypatch.setattr("shards.verification.verify.PREPROCESS_VERSION", "sam-antialias-2")
    monkeypatch.setattr(shards.CODECS["int8"], "version", 9)
    report = shards.verify(damaged)
    problems = [str(problem) for problem in report.problems]
    assert problems[0] == "cache.json: the cache was made under preprocessing sam-antialias-1, this release has sam-antialias-2"
    assert problems[1] == "cache.json: the cache has version 1 of codec int8, this release has 9"
    assert "another folder" in report.rerun


def test_a_shard_of_another_teacher_among_the_others_is_found(damaged):
    entries = read_entries(damaged)
    write_manifest(damaged, [replace(entries[0], teacher_sha256="ee" * 32), *entries[1:]])
    assert found(damaged) == [f"train-000000.tar: teacher_sha256 is {'ee' * 32} in the manifest, the cache's is {'5a' * 32}"]


def test_what_is_wrong_beside_the_shards_is_found(damaged):
    lines = (damaged / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (damaged / "manifest.jsonl").write_bytes(lines[0] + b"{}\n" + lines[2][:-5])
    (damaged / "quarantine.jsonl").unlink()
    shutil.copy(damaged / SECOND, damaged / "train-000009.tar")
    problems = found(damaged)
    assert problems[0].startswith("manifest.jsonl: line 2 cannot be used (missing ['bytes', ")
    assert problems[1].startswith("manifest.jsonl: line 3 cannot be used (")
    assert problems[2:] == [
        f"{SECOND}: no line of the manifest names it",
        "train-000002.tar: no line of the manifest names it",
        "train-000009.tar: no line of the manifest names it; remove it",
    ]
    (damaged / "manifest.jsonl").write_bytes(b"".join(lines))
    assert found(damaged)[1:] == ["quarantine.jsonl: does not name the photos that the manifest says were left out"]
    (damaged / "cache.json").write_text("{")
    assert found(damaged)[0].startswith("cache.json: ") and "cannot be read" in found(damaged)[0]


def test_a_changed_cache_json_is_told_from_changed_shards(damaged):
    path = damaged / "cache.json"
    path.write_text(path.read_text().replace("5a5a", "eeee", 1))
    problems = found(damaged)
    assert len(problems) == 1 and problems[0].startswith("cache.json: teacher_sha256 is eeee")
    assert shards.verify(damaged).damaged == []


def test_an_unfinished_cache_is_to_go_on(tmp_path, photo_folder):
    def stop(state: shards.PrecomputeProgress) -> None:
        if state.photos == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        standin.run(photo_folder(13), tmp_path / "out", progress=stop)
    assert (tmp_path / "out" / WORK).is_dir()
    report = shards.verify(tmp_path / "out")
    assert [str(problem) for problem in report.problems] == [
        "manifest.jsonl: the cache is unfinished: 2 of 3 shards are there"
    ]
    assert report.rerun == "run the same precompute command again; it makes what is missing"
    flip(tmp_path / "out" / SECOND, 9000)
    assert shards.verify(tmp_path / "out").damaged == [SECOND]


def test_no_cache_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="holds no cache"):
        shards.verify(tmp_path)


def test_samples_are_drawn_once_each_and_all_where_all_are_asked_for():
    assert draw([3, 0, 2], samples=9, seed=1) == [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]
    assert draw([], samples=3, seed=0) == []
    drawn = draw([50, 50], samples=20, seed=4)
    assert len(set(drawn)) == 20 and drawn == sorted(drawn) == draw([50, 50], samples=20, seed=4)
    assert drawn != draw([50, 50], samples=20, seed=5)


def repair(tar: Path, folder: Path) -> shards.PrecomputeSummary:
    source = shards.open_source(tar)
    call = {name: CALL[name] for name in ("teacher_name", "teacher_sha256", "samples_per_shard")} | {"codec": "int8"}
    wanted = shards.wanted_identity(source, teacher=standin_teacher(), **call)
    shards.clear_damaged(shards.verify(folder), wanted=wanted)
    return standin.run(tar, folder, max_bad_fraction=0.2)


def test_a_repair_makes_the_damaged_shards_again_and_nothing_else(whole, damaged):
    flip(damaged / SECOND, 9000)
    kept = (damaged / "train-000000.tar").stat().st_mtime_ns
    lines = (damaged / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (damaged / "manifest.jsonl").write_bytes(lines[0] + lines[1] + lines[2][:100] + b"\n")
    (damaged / "quarantine.jsonl").write_bytes(b"")
    (damaged / "cache.json").unlink()
    assert repair(whole[0], damaged).shards_made == 2
    assert content(damaged) == content(whole[1])
    assert (damaged / "train-000000.tar").stat().st_mtime_ns == kept


def test_a_repair_that_would_make_another_cache_touches_nothing(whole, damaged, tmp_path):
    flip(damaged / SECOND, 9000)
    before = content(damaged)
    other = write_tar(tmp_path / "sa_000007.tar", [member for number in range(13) for member in pair(number + 1)])
    with pytest.raises(InputError, match="whose photos have changed"):
        repair(other, damaged)
    (damaged / "cache.json").unlink()
    (tmp_path / "other").mkdir()
    elsewhere = shutil.copy(whole[0], tmp_path / "other" / "sa_1.tar")
    with pytest.raises(InputError, match="cache.json cannot be restored: source of train-000000.tar is sa1b:sa_000007.tar"):
        repair(elsewhere, damaged)
    assert content(damaged) == {name: value for name, value in before.items() if name != "cache.json"}
    assert json.loads((whole[1] / "cache.json").read_text())["shards"] == 3
