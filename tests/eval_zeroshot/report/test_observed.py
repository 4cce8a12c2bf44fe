import os

from eval_zeroshot.report.observed import ObservedFiles, primary_values
from eval_zeroshot.results.observations import dataset_sha256


def test_a_result_finds_its_own_observations(hand, tmp_path):
    sample = hand.photo("a", hand.mask(5, 3), hand.mask(30, 20))
    mine, others = hand.result("ours", [0.25, 0.75]), hand.result("theirs", [0.5, 0.5])
    hand.keep(tmp_path, mine, [hand.seen(sample, [0.25, 0.75], list(sample.masks))], name="mine")
    hand.keep(tmp_path, others, [hand.seen(sample, [0.5, 0.5], list(sample.masks))], name="theirs")
    files = ObservedFiles([tmp_path, tmp_path / "missing"])
    assert primary_values(mine, files.of(mine)) == {("a", 10): 0.25, ("a", 11): 0.75}
    assert files.of(mine).folder == tmp_path / "mine"
    assert files.of(mine.model_copy(update={"version": "2"})) is None


def test_files_of_several_ranks_are_one_set(hand, tmp_path):
    first, second = hand.photo("a", hand.mask(5, 3)), hand.photo("b", hand.mask(8, 9))
    result = hand.result("ours", [0.25, 0.75], model_sha256="cafe")
    hand.keep(tmp_path, result, [hand.seen(first, [0.25], list(first.masks))], name="rank0")
    hand.keep(tmp_path, result, [hand.seen(second, [0.75], list(second.masks))], name="rank1")
    assert sorted(ObservedFiles([tmp_path]).of(result).photos) == ["a", "b"]


def test_observations_of_other_weights_are_not_used(hand, tmp_path):
    sample = hand.photo("a", hand.mask(5, 3))
    result = hand.result("ours", [0.25], model_sha256="cafe")
    hand.keep(tmp_path, result, [hand.seen(sample, [0.25], list(sample.masks))], name="old", weights="beef")
    assert ObservedFiles([tmp_path]).of(result) is None


def test_observations_of_other_annotations_are_not_used(hand, tmp_path):
    sample = hand.photo("a", hand.mask(5, 3))
    seen = hand.seen(sample, [0.25], list(sample.masks)) | {"annotations_sha256": "1" * 64}
    result = hand.result("ours", [0.25], dataset_sha256=dataset_sha256(["1" * 64]))
    hand.keep(tmp_path / "mine", result, [seen], name="same")
    hand.keep(tmp_path / "other", result, [seen | {"annotations_sha256": "2" * 64}], name="same")
    for states in (["mine", "other"], ["other", "mine"]):
        assert ObservedFiles(tmp_path / name for name in states).of(result).folder == tmp_path / "mine" / "same"
    assert ObservedFiles([tmp_path / "other"]).of(result) is None


def test_observations_whose_mean_is_not_the_result_are_not_used(hand, tmp_path):
    sample = hand.photo("a", hand.mask(5, 3))
    result = hand.result("ours", [0.3])
    hand.keep(tmp_path, result, [hand.seen(sample, [0.25], list(sample.masks))], name="other")
    assert primary_values(result, ObservedFiles([tmp_path]).of(result)) is None


def test_an_unfinished_line_is_passed_over_and_left_in_its_file(hand, tmp_path):
    sample = hand.photo("a", hand.mask(5, 3))
    result = hand.result("ours", [0.25])
    path = hand.keep(tmp_path, result, [hand.seen(sample, [0.25], list(sample.masks))], name="torn")
    torn = path.read_text() + '{"key": "b", "ids'
    path.write_text(torn)
    (tmp_path / "strange.jsonl").write_text("not json\n")
    assert list(ObservedFiles([tmp_path]).of(result).photos) == ["a"]
    assert path.read_text() == torn


def test_what_is_no_file_is_passed_over(hand, tmp_path):
    sample, result = hand.photo("a", hand.mask(5, 3)), hand.result("ours", [0.25])
    hand.keep(tmp_path, result, [hand.seen(sample, [0.25], list(sample.masks))], name="mine")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    os.symlink("nowhere", tmp_path / "link.jsonl")
    assert list(ObservedFiles([tmp_path]).of(result).photos) == ["a"]
