"""Parts of a source: by a share of the keys, and by lists of names and of tars."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shards
from encoders.errors import InputError
from shards.sources.selection import Subset
from tests.shards.helpers.photos import cut_end_mark, pair, write_tar


def keys(source):
    return [item.key for item in source.items()]


@pytest.fixture
def tars(tmp_path):
    """40 photos in 4 tars."""
    for n in range(4):
        write_tar(tmp_path / f"sa_{n:06d}.tar", [member for number in range(10) for member in pair(10 * n + number)])
    return tmp_path


def test_a_subset_is_what_the_documented_hash_says(tars):
    def first_eight_bytes(key):
        return int.from_bytes(hashlib.sha256(f"3:{key}".encode()).digest()[:8], "big")

    expected = [f"sa_{n}" for n in range(40) if first_eight_bytes(f"sa_{n}") < 2**64 // 4]
    source = shards.open_source(tars, subset="25%@seed=3")
    assert keys(source) == expected and 3 < len(expected) < 20
    assert source.name == "sa1b:sa_000000.tar..sa_000003.tar:25%@seed=3"
    assert source.photo(source.items()[0]).annotations[0]["id"] == 100 * int(expected[0][3:])
    assert source.item_bytes(source.items()[0]) == sum(len(data) for _, data in pair(int(expected[0][3:])))


def test_a_subset_stays_when_tars_are_added_or_renamed(tars):
    whole = keys(shards.open_source(tars, subset="30%@seed=1"))
    (tars / "sa_000002.tar").rename(tars / "a.tar")
    reordered = keys(shards.open_source(tars, subset="30%@seed=1"))
    assert reordered != whole and sorted(reordered) == sorted(whole)
    fewer = keys(shards.open_source([tars / "a.tar", tars / "sa_000003.tar"], subset="30%@seed=1"))
    assert fewer == [key for key in whole if int(key[3:]) >= 20]


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.integers(0, 2**40))
def test_with_one_seed_a_smaller_share_is_part_of_a_larger_one(one, other, seed):
    small, large = (Subset.parse(f"{share:.6f}%@seed={seed}") for share in sorted([one, other]))
    assert all(key in large for key in map(str, range(50)) if key in small)


def test_the_share_is_met_and_seeds_differ():
    chosen = {seed: {n for n in range(20_000) if f"sa_{n}" in Subset.parse(f"1%@seed={seed}")} for seed in (0, 1)}
    assert all(150 < len(numbers) < 250 for numbers in chosen.values())
    assert len(chosen[0] & chosen[1]) < 20
    assert all(str(n) in Subset.parse("100%") for n in range(1000))


def test_the_kind_of_source_may_stand_before_a_subset(tars):
    assert keys(shards.open_source(tars, subset="sa1b:30%@seed=1")) == keys(shards.open_source(tars, subset="30%@seed=1"))
    with pytest.raises(InputError, match="is of coco, but the source is sa1b"):
        shards.open_source(tars, subset="coco:30%@seed=1")


@pytest.mark.parametrize(
    "text", ["", "1", "0%", "101%", "-1%", "1%@seed=", "1%@seed=-1", "1%seed=1", "x:1%", "1e-1%", "1%@seed=1.5"]
)
def test_what_is_no_subset_is_refused_with_an_example(text):
    with pytest.raises(InputError, match="1%@seed=0"):
        Subset.parse(text)


def test_a_subset_without_any_photo_is_refused(tars):
    with pytest.raises(InputError, match="holds no usable photo.* has 40"):
        shards.open_source(tars, subset="0.0001%")


def test_the_damaged_end_of_a_tar_stays_known_in_every_part(tars):
    cut_end_mark(tars / "sa_000001.tar")
    (tars / "names.txt").write_text("sa_33\n")
    for options in ({"subset": "10%@seed=2"}, {"names": tars / "names.txt"}):
        source = shards.open_source(tars, **options)
        assert [item.where for item in source.items() if item.problem] == ["sa_000001.tar"]


def test_names_are_keys_file_names_or_what_messages_call_a_photo(tars):
    (tars / "names.txt").write_text("sa_31\n\n./sa_7.jpg\n  sa_8.jpg  \nsa_000002.tar/./sa_22\nsa_7\n")
    source = shards.open_source(tars, names=tars / "names.txt")
    assert keys(source) == ["sa_7", "sa_8", "sa_22", "sa_31"]  # in the source's order, each once
    assert source.name == "sa1b:sa_000000.tar..sa_000003.tar:names.txt"
    both = shards.open_source(tars, names=tars / "names.txt", subset="50%@seed=0")
    assert keys(both) == [key for key in keys(source) if key in Subset.parse("50%@seed=0")]


def test_unknown_names_are_refused_and_the_first_few_named(tars):
    (tars / "names.txt").write_text("sa_31\nsa_40\nsa_41.jpg\nx\ny\n")
    with pytest.raises(InputError, match=r"no photo named sa_40, sa_41\.jpg, x and 1 more; .* e\.g\. sa_000000\.tar"):
        shards.open_source(tars, names=tars / "names.txt")


def test_a_name_that_two_photos_of_a_folder_share_but_for_the_suffix_finds_its_own(photo_folder):
    folder = photo_folder(2)
    (folder / "p000.png").write_bytes((folder / "p001.jpg").read_bytes())
    (folder.parent / "names.txt").write_text("p000.png\n")
    source = shards.open_source(folder, names=folder.parent / "names.txt")
    assert [item.where for item in source.items()] == ["p000.png"]


@pytest.mark.parametrize(
    ("content", "words"), [(b"\n \n", "is empty"), (b"\xff\xfe", "not UTF-8"), (None, "does not exist")]
)
def test_a_list_that_cannot_be_read_is_refused(tars, content, words):
    if content is not None:
        (tars / "names.txt").write_bytes(content)
    with pytest.raises(InputError, match=words):
        shards.open_source(tars, names=tars / "names.txt")


def test_a_text_file_lists_tars_and_globs_beside_it(tars):
    (tars / "tars.txt").write_text(f"sa_000002.tar\n{tars}/sa_000000.tar\nsa_*2.tar\n")
    assert keys(shards.open_source(tars / "tars.txt")) == [f"sa_{n}" for n in (*range(10), *range(20, 30))]
    (tars / "tars.txt").write_text("sa_000002.tar\nsa_000007.tar\n")
    with pytest.raises(InputError, match=r"sa_000007\.tar cannot be opened"):
        shards.open_source(tars / "tars.txt")
