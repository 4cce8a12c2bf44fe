"""`repvit-sam masks`: SA-1B's format, continued, and what it says where something is wrong."""

import errno
import json
import os
import re
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import encoders
from distill.jobs import mask_inputs
from eval_zeroshot.suites.everything import MaskGenerator, MaskSettings
from shards.sources.tars import parse_annotations

SETTINGS = ("--points", 3, "--min-iou", 0, "--min-stability", 0, "--image-size", 64)


@pytest.fixture
def masks(command):
    """Exit code, stdout and stderr of `repvit-sam masks --model sam_demo ARGUMENTS`, in this process."""
    return partial(command, "masks", "--model", "sam_demo")


@pytest.fixture
def photos(tmp_path):
    """Two photos of different sizes, one in a folder of its own."""
    rng = np.random.default_rng(2)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for name, shape in (("b.png", (40, 72)), ("more/a.png", (64, 50))):
        Image.fromarray(rng.integers(0, 255, (*shape, 3), dtype=np.uint8)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_each_photo_gets_its_masks_as_sa1b_has_them(masks, photos, tmp_path):
    code, out, err = masks("--photos", photos, "--out", tmp_path / "out", *SETTINGS, "--json")
    assert code == 0, err
    found = {path.name: json.loads(path.read_text()) for path in sorted((tmp_path / "out").iterdir())}
    assert list(found) == ["b.json", "more_a.json"]
    record = parse_annotations(json.dumps(found["b.json"]).encode(), where="b")  # as the reader of SA-1B takes it
    assert record["image"] | {"image_id": 0} == {"image_id": 0, "width": 72, "height": 40, "file_name": "b.png"}
    image = np.asarray(Image.open(photos / "b.png"))
    sam = encoders.load("sam_demo", image_size=64)
    settings = MaskSettings(points_per_side=3, pred_iou_thresh=0, stability_score_thresh=0)
    wanted = MaskGenerator(encoders.Predictor(sam), settings=settings).generate(image)
    assert [{k: v for k, v in a.items() if k != "id"} for a in record["annotations"]] == wanted != []
    for annotation in record["annotations"]:
        x, y, width, height = coco_mask.toBbox(annotation["segmentation"]).tolist()
        assert annotation["bbox"] == [x, y, width - 1, height - 1]
        assert annotation["area"] == coco_mask.area(annotation["segmentation"])
    numbers = [a["id"] for record in found.values() for a in record["annotations"]]
    assert len(set(numbers)) == len(numbers) == json.loads(out)["masks"] and max(numbers) < 2**63
    assert "photo 2/2" in err


def test_the_same_command_continues_and_another_one_is_refused(masks, photos, tmp_path):
    arguments = ("--photos", photos, "--out", tmp_path / "out", *SETTINGS, "--json")
    masks(*arguments)
    path = tmp_path / "out" / "b.json"
    first = path.read_bytes()
    path.unlink()
    code, out, _ = masks(*arguments)
    assert code == 0 and path.read_bytes() == first
    assert json.loads(out) | {"masks": 0} == {"written": 1, "kept": 1, "masks": 0, "failed": {}, "without": 0}
    code, _, err = masks(*arguments, "--budget", 4)
    assert code == 2 and "made otherwise: --budget None there and 4 now. Give --out another folder" in err
    code, _, err = masks(*arguments, "--min-iou", 0.3, "--min-stability", 0.4, "--nms", 0.5, "--min-area", 3, "--points", 2)
    assert code == 2 and all(name in err for name in ("--min-iou", "--min-stability", "--nms", "--min-area", "--points"))


def test_one_photo_under_a_budget(masks, photos, tmp_path):
    code, out, _ = masks("--photos", photos / "b.png", "--out", tmp_path / "out", *SETTINGS, "--budget", 2)
    assert code == 0 and "1 photo with " in out
    record = json.loads((tmp_path / "out" / "b.json").read_text())
    assert len({tuple(a["point_coords"][0]) for a in record["annotations"]}) <= 2
    assert record["generator"]["budget"] == 2


def test_a_broken_photo_is_named_and_the_others_are_done(masks, photos, tmp_path):
    (photos / "c.jpg").write_bytes(b"\xff\xd8 no photo")
    code, out, err = masks("--photos", photos, "--out", tmp_path / "out", *SETTINGS, "--json")
    assert code == 1
    assert list(json.loads(out)["failed"]) == ["c.jpg"] and "c.jpg" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.json", "more_a.json"]
    code, out, _ = masks("--photos", photos, "--out", tmp_path / "out", *SETTINGS)
    assert code == 1 and "2 photos there already; 1 photo left out" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--budget", 0), "give 1 point or more"), (("--points", 0), "leave no point"), (("--nms", 2), "expected 0 to 1")],
)
def test_settings_that_cannot_be_meant_are_refused(masks, photos, tmp_path, arguments, words):
    code, out, err = masks("--photos", photos, "--out", tmp_path / "out", *arguments)
    assert (code, out) == (2, "") and words in err
    assert not (tmp_path / "out").exists()


def test_no_photos_get_instructions(masks, tmp_path):
    code, _, err = masks("--photos", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert code == 2 and "does not exist; expected a folder of photos" in err and "Traceback" not in err


def test_another_photo_of_the_same_name_is_noticed(masks, photos, tmp_path):
    arguments = ("--photos", photos, "--out", tmp_path / "out", *SETTINGS, "--json")
    assert masks(*arguments)[0] == 0
    Image.new("RGB", (50, 90)).save(photos / "b.png")
    code, _, err = masks(*arguments)
    assert code == 2 and "b.json was made otherwise: image_sha256" in err and "delete the file to make only this photo" in err


def test_photos_without_a_mask_are_told_what_to_lower_and_are_not_done(masks, photos, tmp_path):
    arguments = ("--photos", photos, "--out", tmp_path / "out", "--points", 2, "--image-size", 64)
    code, out, err = masks(*arguments, "--min-iou", 1)
    assert code == 0 and "with 0 masks" in out and "no mask in 2 photos" in out
    assert err.count("note: ") == 1 and err.index("note: ") < err.index("photo 2/2")
    assert "no mask of b.png passed --min-iou 1 and --min-stability 0.95; the highest there are " in err
    lower = re.search(r"e\.g\. (--min-iou \S+ --min-stability \S+)", err)[1].split()
    code, out, _ = masks(*arguments, *lower, "--json")
    found = json.loads(out)
    assert code == 0 and found["written"] == 2 and found["masks"] > 0
    assert json.loads(masks(*arguments, *lower, "--json")[1]) == found | {"written": 0, "kept": 2, "masks": 0}


@pytest.mark.parametrize(
    ("min_iou", "min_stability", "advice"),
    [
        (0.88, 0.95, "--min-iou 0.48 --min-stability 0.40"),  # of the second mask, not the highest of two others
        (0.3, 0.95, "--min-iou 0.30 --min-stability 0.40"),  # nothing becomes stricter
    ],
)
def test_the_advice_is_for_one_mask_and_lowers_thresholds(monkeypatch, min_iou, min_stability, advice):
    found = [SimpleNamespace(score=score, stability=stability) for score, stability in ((0.9, 0.1), (0.6, 0.5), (0.1, 0.9))]
    monkeypatch.setattr(mask_inputs, "explore", lambda *_, **__: SimpleNamespace(candidates=found))
    settings = MaskSettings(pred_iou_thresh=min_iou, stability_score_thresh=min_stability)
    predictor = SimpleNamespace(set_image=lambda image: None)
    note = mask_inputs.note_of(predictor, np.zeros((4, 6, 3), np.uint8), name="b.png", settings=settings)
    assert "the highest there are 0.90 and 0.90" in note and note.endswith(advice)


def test_overlays_are_photos_with_coloured_masks(masks, photos, tmp_path):
    code, _, err = masks("--photos", photos, "--out", tmp_path / "out", *SETTINGS, "--overlays", tmp_path / "seen")
    assert code == 0, err
    picture, photo = Image.open(tmp_path / "seen" / "b.jpg"), Image.open(photos / "b.png")
    assert picture.size == (72, 40) and (tmp_path / "seen" / "more_a.jpg").is_file()
    assert np.abs(np.asarray(picture, np.int16) - np.asarray(photo, np.int16)).mean() > 10


def test_a_full_disk_says_that_finished_photos_stay_and_how_to_go_on(masks, photos, tmp_path, monkeypatch):
    fsync, seen = os.fsync, []

    def full(descriptor):
        seen.append(descriptor)
        if len(seen) > 2:  # the first photo and its folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    arguments = ("--photos", photos, "--out", tmp_path / "out", *SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, _, err = masks(*arguments)
    assert code == 2 and "more_a.json cannot be written (No space left on device" in err
    assert "or make room there and run the same command again: photos that are finished stay" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.json"]
    assert "1 photo there already" in masks(*arguments)[1]


OWN = """
import numpy as np
class Own:
    weights_sha256 = "b" * 64
    def set_image(self, image): self.shape = image.shape[:2]
    def predict(self, point_coords=None, point_labels=None, box=None, multimask_output=True):
        found = np.zeros((3, *self.shape), bool)
        found[:, : int(point_coords[0, 1]) + 1] = True
        return found, np.full(3, 0.9), np.zeros((3, 1, 1))
"""


def test_a_model_of_ones_own_finds_masks_too(command, photos, tmp_path, monkeypatch):
    (tmp_path / "own_masks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = ["masks", "-m", "mine=own_masks:Own", "--photos", photos, "--out", tmp_path / "out", "--points", 2, "--min-iou", 0]
    code, out, err = command(*words)
    assert code == 0 and "2 photos with 4 masks written" in out, err
    made = json.loads((tmp_path / "out" / "b.json").read_text())
    assert made["generator"]["arch"] == "own_masks:Own" and made["generator"]["weights_sha256"] == "b" * 64
    assert [one["bbox"] for one in made["annotations"]] == [[0, 0, 71, 10], [0, 0, 71, 30]]  # rows 0 to 10 and 0 to 30 of 40
    assert "2 photos there already" in command(*words)[1]
    code, _, err = command(*words, "--image-size", 64)
    assert code == 2 and "--image-size is for models of this project; own_masks:Own has its own, so leave it out" in err
    sys.modules.pop("own_masks")


def test_a_file_where_the_folder_should_be(masks, photos, tmp_path):
    (tmp_path / "out").write_text("x")
    code, _, err = masks("--photos", photos, "--out", tmp_path / "out", *SETTINGS)
    assert code == 2 and "cannot be made a folder" in err


@pytest.mark.slow  # 12 s: two processes
def test_two_processes_write_what_one_writes(photos, tmp_path, start):
    for number in range(6):
        image = np.asarray(Image.open(photos / "b.png"))[:, number:]
        Image.fromarray(image).save(photos / f"c{number}.png")
    (photos / "d.png").write_bytes(b"junk")
    found = {}
    for name, options in (("alone", ()), ("shared", ("--num-processes", 2))):
        words = ("masks", "--model", "sam_demo", "--photos", photos, "--out", tmp_path / name, *SETTINGS, "--json", *options)
        process = start(*words)
        out, err = process.communicate(timeout=200)
        assert process.returncode == 1 and "left out: " in err, err
        found[name] = (json.loads(out), {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert found["alone"] == found["shared"] and found["alone"][0]["written"] == 8
