"""JSON and YAML from files that may be damaged or hostile."""

import time

import pytest

from encoders.errors import InputError
from encoders.untrusted import json_kind, json_lines, parse_json, parse_yaml, read_json, read_yaml, whole_lines


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b'{"a": 1', b"\xff", b'"\xff"', b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b"[-Infinity]", b"1e999",
        b"9" * 5000, b'"\\ud800"', b"{'a': 1}", b"1 2", b'"\x00"',
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused_by_name(content):
    with pytest.raises(InputError, match="the file (is not JSON|is nested too deeply)") as error:
        parse_json(content, name="the file")
    assert len(str(error.value)) < 400 and str(error.value).isprintable()


def test_json_is_read():
    assert parse_json('{"a": [1, 2.5, "\u2028", "\\ud83d\\ude00"]}'.encode(), name="x") == {"a": [1, 2.5, "\u2028", "😀"]}
    assert parse_json("[1e999]", name="x", finite=False) == [float("inf")]  # whose reader checks numbers itself


def test_lines_end_at_newlines_only():
    content = '"a\u2028b\x85c\x0bd"\n2\n{"cut'.encode()
    assert whole_lines(content) == (['"a\u2028b\x85c\x0bd"'.encode(), b"2"], b'{"cut')
    assert whole_lines(b"") == ([], b"") and whole_lines(b"1\n") == ([b"1"], b"")
    with pytest.raises(InputError, match="log, line 3, is not JSON"):
        list(json_lines(content.replace(b"\x0b", b" "), name="log"))
    assert list(json_lines('"a\u2028b\x85c"\n2\n'.encode(), name="log")) == ["a\u2028b\x85c", 2]


def test_files_are_bounded(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b" " * 100 + b"1")
    assert read_json(path, max_bytes=101) == 1
    with pytest.raises(InputError, match=r"x\.json has 101 bytes; at most 100 are read"):
        read_json(path, max_bytes=100)
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "none", max_bytes=1)
    with pytest.raises(InputError, match="is a folder; expected a file"):
        read_yaml(tmp_path)
    path.write_bytes(b"# \n" * 400_000)
    with pytest.raises(InputError, match="at most 262144 are read"):
        read_yaml(path)


BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 31))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "more than 20000 values"),
        ("a: &a [*a]", r"an alias inside its own anchor \(line 1\)"),
        ("a: 1\nb: 2\na: 3", "the key 'a' twice"),
        ("a: " + "[" * 20_000, "nested too deeply"),
        ("\n".join(" " * i + "a:" for i in range(1400)), "nested too deeply"),
        ("a: " + "9" * 5000, "is not YAML"),
        ("a: 2001-99-99", "is not YAML"),
        ("a: !!python/object/apply:os.system [x]", "is not YAML"),
        ("a: [", "is not YAML"),
        ("a: 1\n---\nb: 2", "is not YAML"),
        ("? [1, 2]\n: 3", "is not YAML|nested|unhashable"),
        (b"\xff", "is not YAML"),
        ("a: \x00", "is not YAML"),
    ],
)
def test_yaml_that_is_damaged_or_hostile_is_refused_at_once(text, reason):
    start = time.process_time()
    with pytest.raises(InputError, match=reason):
        parse_yaml(text, name="config")
    assert time.process_time() - start < 5  # a bomb takes a minute


def test_yaml_is_read_with_its_aliases():
    value = parse_yaml("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}", name="x")
    assert value == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    assert parse_yaml("", name="x") is None


def test_what_a_json_value_is_is_said_in_words():
    said = {
        "{}": "a JSON object",
        "[]": "a JSON list",
        '"a"': "a JSON string",
        "true": "a JSON boolean",
        "7": "a JSON number",
        "7.5": "a JSON number",
        "null": "null",
    }
    assert {text: json_kind(parse_json(text, name="it")) for text in said} == said
