"""Keys in little memory: as strict and as exact as Python's strings, and shared by forked processes."""

import hashlib
import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from benchmarks.sa1b_size import bytes_of_a_worker
from encoders.errors import InputError
from shards.cache.fields import Keys, are_keys
from shards.cache.files import to_line
from shards.cache.key_list import KeyList
from shards.cache.manifest import Manifest, parse_entry, read_entries, write_manifest
from shards.sources.repeats import repeated_keys

LINE = {
    "name": "train-000000.tar", "bytes": 1, "sha256": "5a" * 32, "quarantined": [], "teacher": "t", "teacher_sha256": "5a" * 32,
    "preprocess_version": "p", "image_size": 64, "codec": "int8", "codec_version": 1, "source": "s", "format": 1,
}  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def entry(number, keys):
    return parse_entry(to_line(LINE | {"name": f"train-{number:06d}.tar", "keys": keys}))


@given(st.lists(TEXT, max_size=8), st.integers(-9, 9), st.integers(-9, 9))
@example(["sa_1", "sa_12", "sa_13"], 0, 2)
@example(["pérou", "pérou 2", "péage"], 1, -1)
def test_it_behaves_like_the_tuple(keys, start, stop):
    packed, plain = KeyList(keys), tuple(keys)
    assert packed == plain and plain == packed and packed == KeyList(keys) and hash(packed) == hash(plain)
    assert list(packed) == keys and len(packed) == len(keys) and repr(packed) == repr(plain)
    assert packed[start:stop] == plain[start:stop] and packed[::-1] == plain[::-1]
    assert packed != (*plain, "more") and packed != keys  # a list is no tuple
    assert pickle.loads(pickle.dumps(packed)) == packed
    for number in range(-len(keys), len(keys)):
        assert packed[number] == plain[number]
    for number in (len(keys), -len(keys) - 1):
        with pytest.raises(IndexError):
            packed[number]


def test_the_keys_of_a_shard_of_sa1b_take_a_tenth_of_the_strings():
    keys = [f"sa_{number}" for number in range(11_000_000, 11_001_000)]
    assert KeyList(keys).nbytes < 7 * len(keys)  # 4 bytes apart from what all begin with, 2 for the place of its end
    long = ["x" * 200 + str(number) for number in range(1000)]
    assert KeyList(long) == tuple(long) and KeyList(long).nbytes < 6 * 1000
    assert KeyList(["a" * 70_000, "b"]) == ("a" * 70_000, "b")


@given(st.lists(TEXT | st.sampled_from(["a/b", "", "k" * 255, "k" * 256, "\x1b", "ok", "ok2", 3, None, ["a"]]), max_size=5))
def test_all_at_once_the_check_says_what_it_says_one_by_one(keys):
    """`Sequence[Key]` with `_check_keys` is what says what is wrong; `are_keys` may only let through what it would."""

    def one_by_one():
        if not all(isinstance(key, str) and 1 <= len(key) <= 255 and key.isprintable() and "/" not in key for key in keys):
            return False
        return len(set(keys)) == len(keys)

    assert are_keys(keys) == (one_by_one() and bool(keys))
    adapter = TypeAdapter(Keys)
    if one_by_one():
        assert adapter.validate_python(keys) == tuple(keys)
    else:
        with pytest.raises(ValidationError):
            adapter.validate_python(keys)


@pytest.mark.parametrize("keys", ["ab", {"a": 1}, 7, None, True])
def test_what_is_no_list_is_no_keys(keys):
    with pytest.raises(InputError, match="keys"):
        parse_entry(json.dumps(LINE | {"keys": keys}).encode())


def test_a_message_names_the_key(tmp_path):
    with pytest.raises(InputError, match=r"keys\.1: expected a key without slashes"):
        entry(0, ["a", "b/c"])
    with pytest.raises(InputError, match="key 'b' comes twice in one shard"):
        entry(0, ["a", "b", "b"])


def test_a_manifest_is_written_and_summed_a_line_at_a_time_with_the_same_bytes(tmp_path):
    entries = [entry(number, [f"pérou_{number}_{each}" for each in range(3)]) for number in (1, 0)]
    write_manifest(tmp_path, entries)
    path = tmp_path / "manifest.jsonl"
    content = path.read_bytes()
    lines = [to_line(LINE | {"name": f"train-00000{n}.tar", "keys": [f"pérou_{n}_{k}" for k in range(3)]}) for n in (0, 1)]
    assert content == b"".join(lines)
    manifest = Manifest(tmp_path, None, tuple(read_entries(tmp_path)))
    assert manifest.sha256 == hashlib.sha256(content).hexdigest() and manifest.samples == 6
    assert manifest.entries == tuple(sorted(entries, key=lambda entry: entry.name))
    written = path.stat().st_mtime_ns, path.stat().st_ino
    write_manifest(tmp_path, entries)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written  # it has these lines
    for other in (content[:-5], content + b"{}\n", content.replace(b"_1_2", b"_1_3")):
        path.write_bytes(other)
        write_manifest(tmp_path, entries)
        assert path.read_bytes() == content


def test_keys_of_several_shards_that_come_twice_are_named(tmp_path):
    entries = (entry(0, ["a", "b", "c"]), entry(1, ["d", "b"]), entry(2, ["b", "a"]))
    with pytest.raises(InputError, match="holds keys twice: b, a$"):
        Manifest(tmp_path, None, entries).check_keys()
    Manifest(tmp_path, None, entries[:1]).check_keys()


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), max_size=4))
def test_repeated_keys_are_counted_exactly(lists):
    counts = Counter(key for keys in lists for key in keys)
    expected = [(key, times) for key, times in counts.items() if times > 1]
    assert list(repeated_keys(lists, count=sum(map(len, lists))).items()) == expected


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="a process's own memory is read from /proc")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_goes_through_the_keys_without_copying_them(tmp_path):
    entries = tuple(entry(number, [f"sa_{number * 1000 + each}" for each in range(1000)]) for number in range(200))
    own = min(bytes_of_a_worker(Manifest(tmp_path, None, entries)) for _ in range(3))  # what else a fork copies only adds
    as_strings = tuple(replace(packed, keys=tuple(packed.keys)) for packed in entries)
    assert own < 2e6 and own < bytes_of_a_worker(Manifest(tmp_path, None, as_strings)) / 5
