"""The settings of a probe: where they fit, which may change, and what it costs by arithmetic."""

import pytest
import yaml

from distill.config.probe import ProbeConfig
from distill.config.reading import read_run
from distill.jobs.planning.decoding import prompt_tflop
from distill.jobs.planning.probe_cost import probe_share, too_often
from distill.run_folder import check_run, claim_run
from encoders.errors import InputError


def test_export_follows_the_probe_and_best_needs_one(config_file):
    assert not read_run(config_file()).exports_best
    assert read_run(config_file(probe={})).exports_best
    assert not read_run(config_file(probe={}, export="last")).exports_best
    with pytest.raises(InputError, match="export: best needs a probe, which finds the best weights"):
        read_run(config_file(export="best"))


def test_the_mask_stage_has_no_teacher_to_compare_with(tmp_path, config_file):
    settings = yaml.safe_load(config_file().read_text())
    mask = {key: settings[key] for key in ("name", "model", "schedule")} | {"stage": "mask", "probe": {}}
    file = tmp_path / "mask.yaml"
    file.write_text(yaml.safe_dump(mask | {"mask_data": {"sets": [{"kind": "shapes", "count": 4}]}}))
    with pytest.raises(InputError, match="probe compares with a teacher, whose embeddings the mask stage does not have"):
        read_run(file)


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_leaves_no_photo_on_one_side_is_refused(config_file, share):
    with pytest.raises(InputError, match=r"probe.share: Input should be (greater than 0|less than 1)"):
        read_run(config_file(probe={"share": share}))


def test_of_a_run_that_has_begun_the_photos_stay_and_pictures_and_patience_may_change(config_file):
    config = read_run(config_file(probe={"share": 0.1}))
    claim_run(config)
    (config.folder / "metrics.jsonl").write_text('{"step": 1}\n')
    for changed in ({"patience": 3}, {"pictures": 0}, {"alarm": {"below": 0.9}}):
        assert check_run(read_run(config_file(probe={"share": 0.1} | changed)))
    assert check_run(read_run(config_file(probe={"share": 0.1}, export="last")))
    for changed in ({"share": 0.2}, {"seed": 1}, {"every_steps": 7}):
        with pytest.raises(InputError, match="holds a run of another config .probe."):
            check_run(read_run(config_file(probe={"share": 0.1} | changed)))


def test_a_run_begun_before_there_was_a_probe_goes_on(config_file):
    config = read_run(config_file())
    claim_run(config)
    (config.folder / "metrics.jsonl").write_text('{"step": 1}\n')
    file = config.folder / "config.yaml"
    old = yaml.safe_load(file.read_text())
    for key in ("probe", "export"):
        del old[key]
    del old["log"]["loggers"]
    file.write_text(yaml.safe_dump(old))
    assert check_run(config)


def test_a_decoded_prompt_and_the_share_of_a_run_are_their_products():
    assert 0.002 < prompt_tflop(image_size=1024) < 0.006  # TFLOP: a hundredth of what RepViT-M2.3 takes for the photo
    probe = ProbeConfig()
    share = probe_share(probe, arch="repvit_m2_3", image_size=1024, update_tflop=8 * 3 * 0.227)
    decoding = 2 * 9 * prompt_tflop(image_size=1024) / 0.227
    assert share == pytest.approx(32 * (1 + decoding) / (1000 * 8 * 3), rel=0.02) and too_often(probe, share) == []
    (said,) = too_often(probe, 0.25)
    assert said.startswith("the probe computes 25 % of all: for less than 3 % raise probe.every_steps from 1000")
