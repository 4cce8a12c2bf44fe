"""From photos to shards: complete, resumable, byte-identical, and refusing what does not belong together."""

import json
import tarfile

import numpy as np
import pytest
import torch

import shards
from encoders.errors import InputError
from encoders.files import sha256_file
from encoders.geometry import resize_image
from encoders.preprocess import normalize_padded, pad_to_square
from encoders.samples.rle import decode_segmentation
from tests.shards.helpers import standin
from tests.shards.helpers.photos import jpeg, make_masks, make_photo, pair, write_tar
from tests.shards.helpers.processes import content


def test_a_shard_holds_the_teachers_pixels_its_embedding_and_the_facts(cache):
    manifest = shards.Manifest.read(cache)
    with tarfile.open(cache / "train-000001.tar") as tar:
        assert tar.getnames()[:3] == ["sa_5.emb", "sa_5.jpg", "sa_5.json"]
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(0, 0, 0, "")}
    sample = shards.ShardReader(manifest).read(1, 1)
    assert sample.key == "sa_6"
    pixels = sample.pixels()
    assert pixels.shape == (53, 128, 3)  # a 50 x 120 photo
    original = resize_image(make_photo(6), image_size=128).astype(int)
    assert np.abs(pixels - original).mean() < 6
    facts = sample.json()
    assert (facts["height"], facts["width"], facts["stored_height"], facts["stored_width"]) == (50, 120, 53, 128)
    masks = [decode_segmentation(a["segmentation"], shape=(50, 120)) for a in facts["annotations"]]
    assert all((got == want).all() for got, want in zip(masks, make_masks(6), strict=True))
    assert facts["meta"]["source"] == "sa1b:sa_000007.tar"
    teacher = standin.standin_teacher()
    with torch.inference_mode():
        image = normalize_padded(pad_to_square(pixels, image_size=128)[None], [pixels.shape[:2]])
        expected = teacher.image_encoder(image)[0].numpy()
    got = sample.embedding(image_size=128)
    assert np.abs(got - expected)[:, :4].max() < 3.5 / 127
    assert (got[:, 4:] == 0).all()


def test_the_manifest_says_what_is_there_and_who_made_it(cache):
    manifest = shards.Manifest.read(cache)
    assert [len(entry.keys) for entry in manifest.entries] == [5, 5, 5, 5, 3]
    for entry in manifest.entries:
        path = cache / entry.name
        assert (path.stat().st_size, sha256_file(path)) == (entry.bytes, entry.sha256)
        assert (entry.teacher, entry.teacher_sha256, entry.image_size) == ("stand-in", "5a" * 32, 128)
        assert (entry.codec, entry.preprocess_version) == ("int8", "sam-antialias-1")
    assert manifest.sha256 == sha256_file(cache / "manifest.jsonl")
    assert manifest.samples == 23


def test_a_bad_photo_is_named_counted_and_left_out_and_the_rest_is_done(tmp_path, photo_folder):
    folder = photo_folder(12)
    whole = (folder / "p003.jpg").read_bytes()
    (folder / "p003.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "p009.jpg").write_bytes(b"")
    summary = standin.run(folder, tmp_path / "out", max_bad_fraction=0.2)
    assert (summary.photos, summary.quarantined, summary.shards) == (10, 2, 3)
    lines = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["shard"], line["key"], line["where"]) for line in lines] == [
        ("train-000000.tar", "p003", "p003.jpg"),
        ("train-000001.tar", "p009", "p009.jpg"),
    ]
    assert all("not a readable image" in line["reason"] for line in lines)
    manifest = shards.Manifest.read(tmp_path / "out")
    assert manifest.quarantined == lines
    assert [len(entry.keys) for entry in manifest.entries] == [4, 4, 2]


def test_too_many_bad_photos_stop_the_work_and_what_is_done_stays(tmp_path, photo_folder):
    folder = photo_folder(12)
    for number in (6, 8, 9):
        (folder / f"p{number:03d}.jpg").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"2 photos of 12 .* allows 1: p006: .*; p008: "):
        standin.run(folder, tmp_path / "out")
    assert (tmp_path / "out" / "train-000000.tar").is_file()
    assert not list((tmp_path / "out").glob("*.tmp"))
    with pytest.raises(InputError, match="unfinished: .* names 0 of 3 shards"):
        shards.Manifest.read(tmp_path / "out")
    summary = standin.run(folder, tmp_path / "out", max_bad_fraction=0.25)
    assert (summary.photos, summary.quarantined, summary.shards_made) == (9, 3, 2)
    assert len((tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()) == 3


def test_duplicates_are_quarantined_and_the_thinnest_photo_is_kept(tmp_path):
    thin = np.zeros((1, 600, 3), np.uint8)
    members = [*pair(1), ("b/sa_1.jpg", jpeg(make_photo(1))), ("b/sa_1.json", pair(1)[1][1]), *pair(2)]
    members += [("sa_9.jpg", jpeg(thin)), ("sa_9.json", b'{"annotations": []}')]
    summary = standin.run(write_tar(tmp_path / "a.tar", members), tmp_path / "out", max_bad_fraction=0.5)
    manifest = shards.Manifest.read(summary.out)
    assert manifest.entries[0].keys == ("sa_1", "sa_2", "sa_9")
    assert [bad["key"] for bad in manifest.quarantined] == ["sa_1"]
    assert "duplicate key 'sa_1', first seen in a.tar/./sa_1" in manifest.quarantined[0]["reason"]
    assert shards.ShardReader(manifest).read(0, 2).pixels().shape == (1, 128, 3)


def test_a_teacher_that_gives_nan_for_a_photo_does_not_get_it_into_the_cache(tmp_path, photo_folder):
    teacher = standin.standin_teacher()
    good = teacher.image_encoder.forward

    def sometimes_nan(image):
        out = good(image)
        out[(image[:, 0, 0, 0] < -2.0) & (image[:, 1, 0, 0] < -2.0) & (image[:, 2, 0, 0] > -1.5)] = float("nan")
        return out

    teacher.image_encoder.forward = sometimes_nan
    folder = photo_folder(8)
    summary = standin.run(folder, tmp_path / "out", teacher=teacher, max_bad_fraction=1.0)
    assert summary.quarantined > 0 and summary.photos > 0
    assert all("NaN" in bad["reason"] for bad in shards.Manifest.read(tmp_path / "out").quarantined)


def test_no_usable_photo_is_an_error(tmp_path, photo_folder):
    folder = photo_folder(1)
    (folder / "p000.jpg").write_bytes(b"junk")
    with pytest.raises(InputError, match="no photo of folder:photos can be used"):
        standin.run(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"teacher_sha256": "ee" * 32}, ("another teacher's weights", "5a" * 32, "ee" * 32)),
        ({"codec": "fp16"}, ("codec is int8 there, fp16 now",)),
        ({"teacher": standin.standin_teacher(image_size=64)}, ("image_size is 128 there, 64 now",)),
        ({"samples_per_shard": 4}, ("samples_per_shard is 5 there, 4 now",)),
    ],
)
def test_a_cache_made_otherwise_is_refused_with_both_values(tmp_path, photo_folder, change, words):
    folder = photo_folder(6)
    standin.run(folder, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(InputError) as caught:
        standin.run(folder, tmp_path / "out", **change)
    assert all(word in str(caught.value) for word in words)
    assert content(tmp_path / "out") == before


def test_a_changed_source_and_another_preprocessing_are_refused(tmp_path, photo_folder, monkeypatch):
    folder = photo_folder(6)
    standin.run(folder, tmp_path / "out")
    monkeypatch.setattr("shards.pipeline.precompute.PREPROCESS_VERSION", "sam-antialias-2")
    with pytest.raises(InputError, match="sam-antialias-1 there, sam-antialias-2 now"):
        standin.run(folder, tmp_path / "out")
    monkeypatch.undo()
    (folder / "p9.jpg").write_bytes(jpeg(make_photo(9)))
    with pytest.raises(InputError, match="whose photos have changed"):
        standin.run(folder, tmp_path / "out")


def test_the_same_weights_under_another_name_are_the_same_teacher(tmp_path, photo_folder):
    folder = photo_folder(6)
    standin.run(folder, tmp_path / "out")
    assert standin.run(folder, tmp_path / "out", teacher_name="elsewhere/stand-in.pt").shards_made == 0


def test_a_teacher_in_train_mode_and_nonsense_numbers_are_refused(tmp_path, photo_folder):
    folder = photo_folder(2)
    for change in ({"samples_per_shard": 0}, {"batch_size": 0}, {"rank": 2, "world_size": 2}, {"max_bad_fraction": 7}):
        with pytest.raises(InputError):
            standin.run(folder, tmp_path / "out", **change)
    with pytest.raises(InputError, match="train mode"):
        standin.run(folder, tmp_path / "out", teacher=standin.standin_teacher().train())


def test_a_torn_manifest_line_and_a_short_shard_are_made_again(tmp_path, photo_folder):
    folder = photo_folder(13)
    out = tmp_path / "out"
    standin.run(folder, out)
    before = content(out)
    manifest = (out / "manifest.jsonl").read_bytes()
    (out / "manifest.jsonl").write_bytes(manifest[:-30])
    (out / "train-000000.tar").write_bytes((out / "train-000000.tar").read_bytes()[:-600])
    (out / "train-000001.tar.99.tmp").write_bytes(b"left by a kill")
    assert standin.run(folder, out).shards_made == 2
    assert content(out) == before
    assert not list(out.glob("*.tmp"))


def test_an_unreadable_line_in_the_middle_of_the_manifest_is_not_passed_over(tmp_path, photo_folder):
    folder = photo_folder(13)
    standin.run(folder, tmp_path / "out")
    path = tmp_path / "out" / "manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"name": "x"}\n' + lines[2])
    with pytest.raises(InputError, match="line 2 cannot be read"):
        standin.run(folder, tmp_path / "out")


def test_progress_is_told_and_written(tmp_path, photo_folder):
    seen = []
    standin.run(
        photo_folder(7), tmp_path / "out", progress=lambda state: seen.append((state.photos, state.shards))
    )
    assert seen == [(2, 0), (4, 0), (5, 0), (5, 1), (7, 1), (7, 2)]
    lines = [json.loads(line) for line in (tmp_path / "out" / "progress.jsonl").read_text().splitlines()]
    assert [(line["photos"], line["photos_total"], line["shards"]) for line in lines] == [(5, 7, 1), (7, 7, 2)]
