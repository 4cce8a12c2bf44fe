import pytest

from encoders.errors import InputError, InputWarning
from eval_zeroshot import Estimate, Result, append_results, read_results, write_results
from eval_zeroshot.results import others


def result(model: str = "m", suite: str = "box", role: str = "student", **facts) -> Result:
    given = {"value": 0.5, "n": 4, "standard_error": 0.1, "version": "1", "protocol": "p", "dataset": "d"} | facts
    return Result(model=model, suite=suite, role=role, **given)


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
    path.write_text(result().to_line() + result().to_line().replace('"seed"', '"sed"'))
    with pytest.raises(InputError, match=r"results.jsonl, line 2: not a result \(sed"):
        read_results(path)


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
