import json
import warnings

import pytest

from encoders.errors import InputError, InputWarning
from eval_zeroshot import Estimate, Result, append_results, read_results, write_results
from eval_zeroshot.results.result import others


def result(model: str = "m", suite: str = "box", role: str = "student", **facts) -> Result:
    given = {"value": 0.5, "n": 4, "standard_error": 0.1, "version": "1", "protocol": "p", "dataset": "d"} | facts
    return Result(model=model, suite=suite, role=role, **given)


def without_checksum(given: Result) -> str:
    """A result's line as earlier releases wrote it."""
    record = json.loads(given.to_line())
    assert record.pop("crc32")
    return json.dumps(record, sort_keys=True) + "\n"


def test_results_survive_the_file_to_the_last_digit(tmp_path):
    given = [
        result(value=1 / 3, extra={"agreement": Estimate(value=0.1 + 0.2, n=4)}, skipped={"crowd": 2}, reference="t"),
        result(value=None, n=0, standard_error=None, suite="point"),
    ]
    write_results(tmp_path / "new" / "results.jsonl", given)
    assert read_results(tmp_path / "new" / "results.jsonl") == given
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["results.jsonl"]


def test_the_order_in_a_file_is_suite_then_teacher_students_baselines(tmp_path):
    given = [result("fill", role="baseline"), result("b"), result("z", role="teacher"), result("a", suite="point")]
    write_results(tmp_path / "one", given)
    write_results(tmp_path / "two", reversed(given))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert [each.model for each in read_results(tmp_path / "one")] == ["z", "b", "fill", "a"]


def test_appending_adds_and_cuts_a_torn_line_off(tmp_path):
    path = tmp_path / "results.jsonl"
    append_results(path, [result("a")])
    path.write_bytes(path.read_bytes() + b'{"model": "b", "val')
    with pytest.warns(UserWarning, match="line 2 is unfinished"):
        assert [each.model for each in read_results(path)] == ["a"]
    with pytest.warns(UserWarning, match="dropped an unfinished last line of 19 bytes"):
        append_results(path, [result("c")])
    assert [each.model for each in read_results(path)] == ["a", "c"]


def test_a_line_that_is_no_result_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(result().to_line() + without_checksum(result()).replace('"seed"', '"sed"'))
    with pytest.raises(InputError, match=r"results.jsonl, line 2, is not a result \(sed"):
        read_results(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"suite": "\xff"}', "line 2, is not JSON"),
        (without_checksum(result()).replace("0.5", "NaN").encode(), "line 2, is not JSON .NaN"),
        (without_checksum(result()).replace("0.5", "1e999").encode(), "line 2, is not JSON .1e999"),
        (without_checksum(result()).replace("0.5", '"much"').encode(), "line 2, is not a result .value: "),
        (b"[" * 100_000, "line 2, is nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "line 2, is nested too deeply"),
        (b"[1, 2]", "line 2, is a JSON list; expected a results file"),
        (b"null", "line 2, is null; expected a results file that `repvit-sam eval --out` wrote"),
        (result().to_line()[:-9].encode(), "line 2, is not JSON"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, said):
    path = tmp_path / "r.jsonl"
    path.write_bytes(result().to_line().encode() + line + b"\n" + result("b").to_line().encode())
    with pytest.raises(InputError, match=f"r.jsonl, {said}"):
        read_results(path)


def test_bits_that_flip_in_a_results_file_are_found(tmp_path):
    path = tmp_path / "r.jsonl"
    write_results(path, [result(value=1 / 3, extra={"agreement": Estimate(value=0.25, n=4)}, skipped={"crowd": 2})])
    whole = path.read_bytes()
    before = read_results(path)
    found = 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 7]) + whole[at + 1 :])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputWarning)
                assert read_results(path) == before  # a space that became another
        except InputError:
            found += 1
    assert found > len(whole) / 4


def test_an_edited_line_is_refused_until_its_checksum_is_removed(tmp_path):
    path = tmp_path / "r.jsonl"
    edited = result("a").to_line().replace("0.5", "0.9")
    path.write_text(edited + result("b").to_line())
    with pytest.raises(InputError, match="line 1, was changed .* run eval again, or, .* remove its field crc32"):
        read_results(path)
    path.write_text(result("b").to_line() + edited.rstrip())  # an editor that leaves the last newline out
    with pytest.raises(InputError, match="line 2, was changed"):
        read_results(path)
    record = json.loads(edited)
    del record["crc32"]
    path.write_text(json.dumps(record) + "\n\n" + result("b").to_line().replace("\n", "\r\n"))
    assert [(each.model, each.value) for each in read_results(path)] == [("a", 0.9), ("b", 0.5)]


def test_lines_that_a_script_wrote_anew_and_those_of_earlier_releases_are_read(tmp_path):
    path = tmp_path / "r.jsonl"
    record = json.loads(result().to_line())
    path.write_text(json.dumps(dict(reversed(record.items())), separators=(",", ":")) + "\n" + without_checksum(result("b")))
    assert read_results(path) == [result(), result("b")]


def test_a_result_has_finite_numbers():
    with pytest.raises(ValueError, match="finite number"):
        result(value=float("nan"))


def test_a_results_file_that_cannot_be_written_says_so_and_stays(tmp_path, no_room):
    path = tmp_path / "r.jsonl"
    append_results(path, [result("a")])
    with no_room(path.stat().st_size + 100):
        for write in (append_results, write_results):
            with pytest.raises(InputError, match="r.jsonl cannot be written .*MiB free"):
                write(path, [result("b"), result("c")])
    assert read_results(path) == [result("a")] and [each.name for each in tmp_path.iterdir()] == ["r.jsonl"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere.jsonl does not exist"):
        read_results(tmp_path / "nowhere.jsonl")


def test_a_last_line_that_lacks_only_its_end_counts(tmp_path):
    path = tmp_path / "r.jsonl"
    one, two = (Result(suite="s", version="1", protocol="p", model=name, dataset="d", value=0.5, n=1) for name in "ab")
    path.write_text(one.to_line() + two.to_line().rstrip())
    assert read_results(path) == [one, two]
    path.write_text(one.to_line() + two.to_line()[:-9])
    with pytest.warns(InputWarning, match="line 2 is unfinished"):
        assert read_results(path) == [one]


def test_results_are_replaced_by_those_of_the_same_data_and_protocol():
    def made(**facts):
        given = {"suite": "s", "version": "1", "protocol": "p", "model": "m", "dataset": "d", "dataset_sha256": "1"}
        return Result(value=0.5, n=1, **(given | facts))

    kept = [made(model="other"), made(suite="t"), made(protocol="q"), made(dataset="e"), made(dataset_sha256="2")]
    assert others([*kept, made(model_sha256="older"), made(dataset_sha256=None)], than=[made()]) == kept
