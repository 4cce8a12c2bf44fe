"""Files of observations that were damaged, edited, or cannot be written: what is wrong is named, what was seen stays."""

import json
import re

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.samples.rle import encode_mask
from eval_zeroshot.results.observations import Observation, ObservationStore, opened_alone, read_observations

WHO = {"suite": "s", "dataset": "d"}


def seen(key, **facts):
    mask = np.zeros((20, 30), bool)
    mask[2:9, 5:11] = True
    return Observation(
        **({"key": key, "ids": [7], "areas": [42.0], "values": {"iou": [0.375]}, "masks": [encode_mask(mask)]} | facts)
    )


@pytest.fixture
def path(tmp_path):
    """A file with the photos a, b and c."""
    store = ObservationStore(tmp_path / "o.jsonl", identity=WHO)
    for key in "abc":
        store.add(seen(key))
    store.close()
    return tmp_path / "o.jsonl"


def opened(path):
    store = ObservationStore(path, identity=WHO)
    store.close()
    return store.found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"key": "\xff"}', "is not JSON .*; delete the line and run eval again, which asks about its photo anew"),
        (b'{"key": "b", "values": {"iou": [NaN]}}', "is not JSON .NaN"),
        (b'{"key": "b", "values": {"iou": [1e999]}}', "is not JSON .1e999"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'"key"', "is a JSON string; expected a JSON object"),
        (b"{}", "is not an observation .key: Field required"),
        (b'{"key": "b", "values": {"iou": null}}', "is not an observation .values.iou: "),
        (b'{"key": "b", "masks": [{"size": [20, 30]}]}', "is not an observation .malformed segmentation"),
        (b'{"key": "b", "masks": [{"counts": "04"}]}', "is not an observation .KeyError"),
        (b'{"key": "b", "masks": [{"size": [0, 0], "counts": "04"}]}', "is not an observation .malformed segmentation"),
        (b'{"key": "b", "ids"', "is not JSON"),
    ],
)
def test_a_damaged_line_is_named_and_the_photo_is_asked_again_without_it(path, line, said):
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[3:]]))
    for read in (opened, read_observations):
        with pytest.raises(InputError, match=f"o.jsonl, line 3, {said}"):
            read(path)
    path.write_bytes(b"\n".join([*lines[:2], *lines[3:]]))
    assert list(opened(path)) == ["a", "c"]


def test_bits_that_flip_in_observations_are_found(path):
    whole = path.read_bytes()
    for at in range(0, len(whole) - 1, 11):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 7]) + whole[at + 1 :])
        with pytest.raises(InputError, match=r"o.jsonl, line \d"):
            opened(path)


def test_an_edited_number_is_refused(path):
    path.write_bytes(path.read_bytes().replace(b"0.375", b"0.875", 1))
    with pytest.raises(InputError, match="line 2, was changed after it was written.* delete the line and run eval again"):
        opened(path)


def test_a_damaged_first_line_costs_the_file(path):
    path.write_bytes(path.read_bytes().replace(b'"d"', b'"e"', 1))
    with pytest.raises(InputError, match="line 1, was changed after it was written.* delete the file and run eval again"):
        opened(path)


def test_a_last_line_that_was_cut_off_is_asked_again(path):
    whole = path.read_bytes()
    for cut in (1, 30):
        path.write_bytes(whole[:-cut])
        assert [one.key for one in read_observations(path)[1]] == ["a", "b"]
        with pytest.warns(UserWarning, match="dropped an unfinished last line"):
            assert list(opened(path)) == ["a", "b"]


def test_observations_of_earlier_releases_are_read(path):
    path.write_text(re.sub(r',"crc32":"\w+"', "", path.read_text()))
    assert "crc32" not in path.read_text() and opened(path)["b"] == seen("b")
    store = ObservationStore(path, identity=WHO)
    store.add(seen("d"))
    store.close()
    assert list(opened(path)) == ["a", "b", "c", "d"] and path.read_text().count("crc32") == 1


def test_on_a_full_disk_what_was_seen_stays_and_the_same_call_continues(path, no_room):
    store = ObservationStore(path, identity=WHO)
    said = "o.jsonl cannot be written .*MiB free.*run the same command again: what was seen so far stays"
    with no_room(path.stat().st_size + 40), pytest.raises(InputError, match=said):
        store.add(seen("d"))
    store.close()
    assert list(opened(path)) == ["a", "b", "c"]  # without a warning of a line that was cut off
    store = ObservationStore(path, identity=WHO)
    store.add(seen("d"))
    store.close()
    assert list(opened(path)) == ["a", "b", "c", "d"]


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "o.jsonl").mkdir()
    with pytest.raises(InputError, match="o.jsonl cannot be written .Is a directory"):
        opened(tmp_path / "o.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file cannot be made a folder"):
        opened(tmp_path / "file" / "o.jsonl")


def test_a_store_that_nothing_was_added_to_leaves_no_file(tmp_path):
    opened(tmp_path / "o.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_gone_after_the_block_and_its_folder_if_nothing_was_put_there(tmp_path):
    lock = tmp_path / "r.state" / "lock"
    with opened_alone(lock):
        with pytest.raises(InputError, match="is being written by another process"), opened_alone(lock):
            pass
        assert (tmp_path / "r.state" / ".gitignore").read_text() == "*\n"
    assert list(tmp_path.iterdir()) == []
    with opened_alone(lock):
        (tmp_path / "r.state" / "o.jsonl").write_text("x")
    assert sorted(path.name for path in lock.parent.iterdir()) == [".gitignore", "o.jsonl"]
    (tmp_path / "r.state" / ".gitignore").unlink()
    with opened_alone(lock):
        pass
    assert [path.name for path in lock.parent.iterdir()] == ["o.jsonl"]  # who keeps the folder in git goes on so


def test_the_checksum_is_a_field_of_its_own(path):
    assert [list(json.loads(line))[-1] for line in path.read_text().splitlines()] == ["crc32"] * 4
