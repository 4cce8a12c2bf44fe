"""The comparison of ways of training: its averages by hand, and the whole of it on a few photos."""

import argparse
import json
import math
import sys

import pytest

from benchmarks import recipes
from benchmarks.recipe_ways import WAYS, configs_of, samples_of, work_of
from benchmarks.seed_statistics import Values, cell_text
from distill.config.runs import run_model
from eval_zeroshot.results.observations import Observation

ONE_SEED = [[0.2, 0.4], [], [0.9]]  # three photos with two, no and one object
OTHER_SEED = [[0.4, 0.8], [], [0.3]]


def test_objects_are_averaged_over_seeds_and_then_over_all_photos():
    values = Values([ONE_SEED, OTHER_SEED], key=0)
    assert values.size == (2, 3)
    assert values.of_seeds == pytest.approx([0.5, 0.5])
    assert values.mean == pytest.approx((0.3 + 0.6 + 0.6) / 3)


def test_an_interval_has_the_spread_of_photos_and_of_seeds():
    alike = [[0.5], [0.5], [0.5]]
    worse = [[value - 0.2 for value in photo] for photo in alike]
    assert Values([alike, alike], key=0).facts()["interval"] == pytest.approx((0.5, 0.5))
    assert Values([alike, worse], key=0).facts()["interval"] == pytest.approx((0.3, 0.5))  # both draws of one seed
    gap = Values([alike, worse], key=0).gap(Values([alike, worse], key=1))  # the same numbers, of two ways
    assert gap["difference"] == 0 and gap["difference_interval"] == pytest.approx((-0.2, 0.2))


def test_a_difference_is_paired_by_photo():
    low, high = Values([ONE_SEED], key=0), Values([[[value + 0.1 for value in photo] for photo in ONE_SEED]], key=1)
    gap = high.gap(low)
    assert gap["difference"] == pytest.approx(0.1)
    assert gap["difference_interval"] == pytest.approx((0.1, 0.1))  # however much the photos differ
    below, above = low.facts()["interval"]
    assert above - below > 0.3


def test_a_cell_has_the_mean_its_interval_the_spread_and_the_difference():
    facts = {"value": 0.4321, "interval": (0.41, 0.455), "seeds": [0.43, 0.434]}
    assert cell_text(facts) == "0.432 (0.410 to 0.455) ±0.003"
    assert cell_text(facts | {"seeds": [0.4321]}) == "0.432 (0.410 to 0.455)"
    gap = {"difference": 0.0112, "difference_interval": (-0.002, 0.017)}
    assert cell_text(facts | gap) == "0.432 (0.410 to 0.455) ±0.003; +0.011 (-0.002 to +0.017)"


def test_two_stages_share_the_samples_of_one():
    counts = {name: samples_of(way, steps=1000, window=256, measured=640) for name, way in WAYS.items()}
    assert counts["stage 1"] == counts["stages 1 and 2"] == 4000 and counts["stages 1 and 2, half the samples"] == 2000


@pytest.mark.parametrize(("measured", "batch", "steps"), [(256, 4, 1000), (384, 2, 889), (512, 1, 1000), (640, 1, 640)])
def test_whole_photos_are_as_many_pixels_as_windows(measured, batch, steps):
    windows, whole = WAYS["stage 1"], WAYS["stage 1, one view"]
    assert work_of(windows, steps=1000, window=256, measured=measured) == (4, 1000, 0)
    assert work_of(whole, steps=1000, window=256, measured=measured) == (batch, steps, 0)
    assert batch * steps * measured**2 == pytest.approx(4 * 1000 * 256**2, rel=1e-3)


@pytest.fixture
def refusal(tmp_path, monkeypatch, capsys):
    """Run the comparison, which must be refused, and return what it says."""

    def of(*words):
        monkeypatch.setattr(sys, "argv", ["recipes", "--data", "x", "--val", "y", "--out", str(tmp_path), *words])
        with pytest.raises(SystemExit) as raised:
            recipes.main()
        assert raised.value.code == 2
        return capsys.readouterr().err

    return of


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--measured-size", "128"], "--measured-size 128 is below --image-size 256"),
        (["--image-size", "0"], "--image-size 0: expected pixels"),
        (["--steps", "4"], "--steps 4 leaves a stage of 'stages 1 and 2, half the samples' without a step"),
        (["--steps", "8", "--image-size", "64"], "--steps 8 leaves a stage of 'stage 1, one view' without a step"),
        (["--way", "TinyViT, stage 1"], "--against stage 1: expected one of the ways"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_made(refusal, tmp_path, words, message):
    assert message in refusal(*words)
    assert not list(tmp_path.iterdir())


def test_a_wrong_path_does_not_bind_the_folder(refusal, tmp_path):
    assert "source.path=x" in refusal()  # the command that fails
    assert not (tmp_path / "settings.json").exists()


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b'{"data": "x", "val": "y", "steps": 1600}'])
def test_settings_that_are_damaged_or_of_another_version_are_refused(refusal, tmp_path, content):
    (tmp_path / "settings.json").write_bytes(content)
    assert "give another --out" in refusal()


def test_the_second_stage_goes_on_from_the_first_at_its_last_rate(tmp_path):
    options = argparse.Namespace(
        out=tmp_path, steps=800, image_size=256, measured_size=640, arch="repvit_m0_6", teacher="sam_demo"
    )
    first, second = configs_of("stages 1 and 2", seed=5, cache=tmp_path / "cache", options=options)
    assert first["schedule"]["steps"] + second["schedule"]["steps"] == 800
    assert second["model"]["init"] == first["out"] != second["out"]
    assert second["optim"]["lr"] == pytest.approx(first["optim"]["lr"] * first["schedule"]["min_lr_ratio"])
    (alone,) = configs_of("stage 1", seed=5, cache=tmp_path / "cache", options=options)
    assert alone["schedule"]["min_lr_ratio"] < first["schedule"]["min_lr_ratio"]  # it runs its rate down
    for config in (first, second, alone):
        run_model(config).model_validate(config)


def test_a_photo_without_objects_stays_a_photo():
    seen = [("a", [1], {"single": [0.5]}), ("b", [], {}), ("c", [3, 4], {"single": [0.25, 0.75]})]
    photos = [Observation(key=key, ids=ids, values=values) for key, ids, values in seen]
    assert recipes.ious(photos, "box") == [[0.5], [], [0.25, 0.75]]


def test_the_seconds_of_a_run_are_shown_as_unknown_where_their_file_is_damaged(tmp_path):
    stored = tmp_path / "runs" / "stages_1_and_2_seed_0" / "seconds.json"
    first = tmp_path / "runs" / "stages_1_and_2_seed_0_stage_1" / "seconds.json"
    for file, text in ((stored, "30.5"), (first, "20")):
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert recipes.seconds_of("stages 1 and 2", seed=0, out=tmp_path) == 50.5
    for damaged in (b"20.", b"\xff", b"NaN", b"-3", b"true", b"null", b"[]"):
        first.write_bytes(damaged)
        assert math.isnan(recipes.seconds_of("stages 1 and 2", seed=0, out=tmp_path))
    first.unlink()
    assert recipes.seconds_of("stages 1 and 2", seed=0, out=tmp_path) == 30.5


@pytest.mark.slow  # 3 minutes on 2 busy cores: two caches, five runs and an evaluation, each a process of its own
def test_a_comparison_goes_on_where_it_was_and_ends_in_a_table(tmp_path, monkeypatch, capsys):
    small = ["--image-size", "64", "--measured-size", "128", "--views", "2", "--steps", "8", "--seed", "3"]
    arguments = ["recipes", "--data", "sample:train", "--val", "sample:val", *small, "--out", str(tmp_path), "--json"]
    ways = [part for name in ("stage 1", "stages 1 and 2") for part in ("--way", name)]
    monkeypatch.setattr(sys, "argv", arguments + ways)
    recipes.main()
    first = json.loads(capsys.readouterr().out)
    assert list(first["ways"]) == ["teacher", "stage 1", "stages 1 and 2"]
    row = first["ways"]["stages 1 and 2"]
    assert row["samples"] == 32 and 0 < row["point agreement"]["value"] < 1 and "difference" in row["box iou"]
    monkeypatch.setattr(sys, "argv", arguments + ways + ["--way", "stage 1, one view"])
    recipes.main()
    again = json.loads(capsys.readouterr().out)
    assert again["ways"]["stage 1"] == first["ways"]["stage 1"] and "stage 1, one view" in again["ways"]
    monkeypatch.setattr(sys, "argv", arguments + ways + ["--steps", "16"])
    with pytest.raises(SystemExit) as raised:
        recipes.main()
    assert raised.value.code == 2 and "was begun with --steps 8; give it again" in capsys.readouterr().err
