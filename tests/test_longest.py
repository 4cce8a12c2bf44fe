"""The order of test files: the longest first, each in its own order."""

from types import SimpleNamespace

from tests.longest import LONGEST, TESTS, longest_first


def test_the_longest_files_are_there():
    assert len(set(LONGEST)) == len(LONGEST) > 5
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []


def test_the_longest_come_first_and_the_rest_stays_as_it_was():
    paths = ["test_docs.py", LONGEST[1], "encoders/test_fusion.py", LONGEST[0], LONGEST[0]]
    items = [SimpleNamespace(path=TESTS / path, number=number) for number, path in enumerate(paths)]
    longest_first(items)
    assert [item.number for item in items] == [3, 4, 1, 0, 2]
