"""`repvit-sam eval` with models of other projects, with differences, and on a data set whose photos are not all there."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def command(command):
    """Exit code, stdout and stderr of `repvit-sam eval ARGUMENTS`, in this process."""
    return partial(command, "eval")


@pytest.fixture
def folder(tmp_path):
    """An LVIS-like file of three 60 x 40 photos, of which the third is absent."""
    (tmp_path / "val2017").mkdir()
    square = {"bbox": [10, 5, 20, 10], "segmentation": [[10, 5, 30, 5, 30, 15, 10, 15]], "area": 200, "category_id": 1}
    images, annotations = [], []
    for number in (1, 2, 3):
        photo = np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)
        url = f"http://images.cocodataset.org/val2017/{number}.png"
        images.append({"id": number, "coco_url": url, "width": 60, "height": 40})
        annotations.append(square | {"id": 10 + number, "image_id": number})
        if number < 3:
            Image.fromarray(photo).save(tmp_path / "val2017" / f"{number}.png")
    (tmp_path / "lvis.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return tmp_path


def test_differences_on_the_photos_that_are_there(command, folder):
    words = ["-m", "demo=sam_demo", "--image-size", 64, "-s", "box", "--baselines", "--against", "filled box or disc", "--json"]
    words += ["--data", folder / "lvis.json", "--images", folder, "--out", folder / "out.jsonl"]
    code, _, err = command(*words)
    assert code == 2 and "1 of 3 photos" in err and "3.png first" in err
    code, out, _ = command(*words, "--present-only")
    demo, filled = (json.loads(line) for line in out.splitlines())
    assert code == 0 and demo["dataset"] == "lvis (2 of 3 photos)"
    assert (filled["value"], filled["low"], filled["high"], filled["difference"]) == (1.0, 1.0, 1.0, None)
    assert demo["against"] == "filled box or disc"
    assert demo["difference"]["value"] == pytest.approx(demo["value"] - 1)
    assert demo["difference"]["low"] == pytest.approx(demo["low"] - 1)
    assert {"ece", "stability", "predicted_iou"} <= set(demo["extra"]) and "ece" not in filled["extra"]


def test_names_that_cannot_be_meant(command, folder):
    data = ["-s", "box", "--data", folder / "lvis.json", "--images", folder, "--present-only"]
    code, _, err = command("-m", "demo=sam_demo", "--against", "nobody", *data)
    assert code == 2 and "--against 'nobody' is not among the models demo" in err
    code, _, err = command("-m", "edge=edge_sam:nowhere.pth", *data)
    assert code == 2 and "nowhere.pth is no file; expected edge_sam:WEIGHTS" in err
    code, _, err = command("-m", "x=edgesam:nowhere.pth", *data)
    assert code == 2 and "did you mean edge_sam" in err


def test_only_the_clicks_that_are_asked_for_are_reported(command, folder):
    words = ["-m", "demo=sam_demo", "--image-size", 64, "--data", folder / "lvis.json", "--images", folder, "--present-only"]
    found = {}
    for clicks in ([], ["--clicks", 3, "--clicks", 1], ["--clicks", 1]):
        code, out, err = command(*words, "-s", "point", *clicks, "--out", folder / f"{len(clicks)}.jsonl", "--json")
        assert code == 0, err
        found[len(clicks)] = json.loads(out)
    counts = [{name for name in found[length]["extra"] if name.startswith("click_")} for length in (0, 4, 2)]
    assert counts == [{"click_2", "click_3", "click_5", "click_9"}, {"click_3"}, set()]
    assert found[0]["value"] == found[4]["value"] == found[2]["value"]
    assert found[0]["extra"]["click_3"] == found[4]["extra"]["click_3"]
    assert "each further click" in found[4]["protocol"] and "each further click" not in found[2]["protocol"]
    for wrong in (0, 21):
        code, _, err = command(*words, "-s", "point", "--clicks", wrong, "--out", folder / "wrong.jsonl")
        assert code == 2 and f"--clicks {wrong}: expected numbers from 1 to 20" in err
    code, _, err = command(*words, "-s", "box", "--clicks", 1, "--out", folder / "wrong.jsonl")
    assert code == 2 and "--clicks is an option of the suite point; add -s point, or leave it out" in err
