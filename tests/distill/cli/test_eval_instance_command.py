"""`repvit-sam eval instance`: results made elsewhere, scored from the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from encoders.samples.rle import encode_mask

MASK = encode_mask(np.pad(np.ones((10, 30), bool), ((5, 25), (40, 20))))  # rows 5 to 15, columns 40 to 70 of 40 x 90
RIGHT = {"image_id": 7, "category_id": 3, "score": 0.9}
TRUTH = {
    "images": [{"id": 7, "height": 40, "width": 90, "file_name": "a.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [40, 5, 30, 10], "area": 300, "iscrowd": 0, "segmentation": MASK}
    ],
    "categories": [{"id": 3, "name": "kite"}],
}
LVIS = TRUTH | {
    "images": [TRUTH["images"][0] | {"neg_category_ids": [], "not_exhaustive_category_ids": []}],
    "categories": [{"id": 3, "name": "kite", "frequency": "c"}],
}


@pytest.fixture
def score(command, tmp_path):
    """Runs the command on results and annotations given as json types; gives exit code, stdout and stderr."""

    def run(results, *options, truth=TRUTH):
        for name, content in (("results.json", results), ("truth.json", truth)):
            (tmp_path / name).write_text(json.dumps(content))
        return command("eval", "instance", "--results", tmp_path / "results.json", "--data", tmp_path / "truth.json", *options)

    return run


def test_masks_and_boxes_are_recognised_by_what_the_results_hold(score):
    box, mask = RIGHT | {"bbox": [40, 5, 15, 10]}, RIGHT | {"segmentation": MASK}
    code, out, _ = score([box], "--json")
    numbers = json.loads(out)
    assert code == 0 and (numbers["type"], numbers["AP"], numbers["AP50"]) == ("bbox", pytest.approx(0.1), pytest.approx(1.0))
    code, out, _ = score([box | mask], "--json")
    assert json.loads(out)["type"] == "segm" and json.loads(out)["AP"] == pytest.approx(1.0)
    code, out, _ = score([box | mask], "--json", "--type", "bbox")
    assert json.loads(out)["type"] == "bbox" and json.loads(out)["AP"] == pytest.approx(0.1)


def test_lvis_is_recognised_by_what_the_annotations_hold(score):
    code, out, _ = score([RIGHT | {"segmentation": MASK}], "--json", truth=LVIS)
    numbers = json.loads(out)
    assert code == 0 and numbers["data"] == "lvis"
    assert [numbers[name] for name in ("AP", "APc", "AR@300", "ARs@300")] == pytest.approx([1.0] * 4)
    assert numbers["APr"] is None
    assert not {"APr", "AR@300"} & set(json.loads(score([RIGHT | {"segmentation": MASK}], "--json")[1]))


def test_both_backends_and_the_plain_text_say_the_same(score):
    texts = {score([RIGHT | {"segmentation": MASK}], "--backend", name)[1].replace(name, "?") for name in ("fast", "reference")}
    assert len(texts) == 1 and "AP: 1.0000\n" in texts.pop()


def test_unknown_categories_are_told(score):
    mask = {"segmentation": MASK}
    code, out, err = score([RIGHT | mask, RIGHT | mask | {"category_id": 4}], "--json")
    assert code == 0 and json.loads(out)["unknown_categories"] == 1 and "note: 1 detections of categories" in err


@pytest.mark.parametrize(
    ("results", "says"),
    [
        ([], "has no detection"),
        ({"annotations": []}, "is a JSON object"),
        ([RIGHT], "result 0: neither bbox nor segmentation"),
        ([{"image_id": 7, "score": 0.9, "bbox": [1, 2, 3, 4]}], "result 0: no category_id"),
        ([RIGHT | {"bbox": [1, 2, 3]}], "bbox [1, 2, 3] is not four finite numbers"),
        ([RIGHT | {"bbox": [9, 9, -3, 4]}], "negative size"),
        ([RIGHT | {"bbox": [1, 2, 3, 4], "score": 10**400}], f"score 1{59 * '0'} is no finite number"),
        ([[1]], "result 0: is a JSON list"),
        ([RIGHT | {"bbox": [1, 2, 3, 4], "score": "high"}], "score 'high' is no finite number"),
        ([RIGHT | {"bbox": [1, 2, 3, float("nan")]}], "not four finite numbers"),
        ([RIGHT | {"bbox": [1, 2, 3, 4], "image_id": 8}], "does not have the images of 1 of 1 detection, image_id 8 first"),
        ([RIGHT | {"bbox": [1, 2, 3, 4], "category_id": 1}], "none of its detections has a category"),
        ([RIGHT | {"segmentation": {"size": [40, 90], "counts": "a"}}], "result 0, image 7: malformed segmentation"),
        ([RIGHT | {"segmentation": MASK}, RIGHT | {"bbox": [1, 2, 3, 4]}], "result 1, image 7: no segmentation"),
    ],
)
def test_bad_results_are_refused_in_a_sentence(score, results, says):
    code, out, err = score(results, "--json")
    assert (code, out) == (2, "") and says in err and err.startswith("error: ") and "Traceback" not in err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"categories": []}, "has no categories"),
        ({"images": [{"id": 7}]}, "images, record 0: no height and no width"),
        ({"annotations": [{"id": 1, "image_id": 7}]}, "annotations, record 0: no category_id"),
        ({"images": [TRUTH["images"][0] | {"neg_category_ids": []}]}, "no not_exhaustive_category_ids"),
    ],
)
def test_annotations_that_ap_cannot_be_measured_on_are_refused(score, change, says):
    code, out, err = score([RIGHT | {"segmentation": MASK}], truth=TRUTH | change)
    assert (code, out) == (2, "") and says in err


def test_unknown_options_are_refused(score):
    mask = [RIGHT | {"segmentation": MASK}]
    assert score(mask, "--type", "masks")[0] == 2 and "expected auto, segm or bbox" in score(mask, "--type", "masks")[2]
    assert score(mask, "--backend", "quick")[0] == 2


def test_a_model_is_asked_for_masks_of_a_detectors_boxes_and_the_table_names_the_protocol(command, score, tmp_path):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 90, 3), dtype=np.uint8))
    (tmp_path / "images").mkdir()
    photo.save(tmp_path / "images" / "a.jpg")
    score([RIGHT | {"bbox": [40, 5, 30, 10]}])  # writes the files
    words = ["eval", "-m", "sam_demo", "--image-size", 64, "-s", "instance_repvit_sam", "-s", "instance_sam", "--baselines"]
    words += ["--data", tmp_path / "truth.json", "--out", tmp_path / "out.jsonl"]
    code, _, err = command(*words)
    assert code == 2 and "instance_repvit_sam needs a detector's boxes" in err
    code, out, _ = command(*words, "--boxes", tmp_path / "results.json", "--json")
    results = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(results) == 4 and {result["detector"] for result in results} == {"results.json"}
    filled = {result["suite"]: result["value"] for result in results if result["role"] == "baseline"}
    assert filled == {"instance_repvit_sam": pytest.approx(1.0), "instance_sam": pytest.approx(1.0)}
    code, out, _ = command("compare", tmp_path / "out.jsonl", "--format", "markdown", "--published")
    assert "| mask AP (repvit_sam) |" in out and out.index("RepViT-SAM: instance") < out.index("EdgeSAM: box")


def test_annotations_that_do_not_count_are_told(score):
    crowd = TRUTH["annotations"][0] | {"iscrowd": 1, "id": 2}
    elsewhere, strange = crowd | {"image_id": 99, "iscrowd": 0}, crowd | {"category_id": 99, "iscrowd": 0}
    right = [RIGHT | {"segmentation": MASK}]
    code, out, err = score(right, truth=TRUTH | {"annotations": [TRUTH["annotations"][0], elsewhere, elsewhere, strange]})
    assert code == 0 and "AP: 1.0000" in out
    assert "2 annotations of" in err and "of an image that is not listed" in err
    assert "1 annotations of" in err and "of a category that is not listed" in err
    code, out, err = score(right, truth=TRUTH | {"annotations": [crowd]})
    assert code == 0 and "AP: None" in out and "do not count: crowd" in err and "nothing to measure" in err


def test_a_folder_is_no_file_of_results(command, tmp_path):
    code, _, err = command("eval", "instance", "--results", tmp_path, "--data", tmp_path / "x.json")
    assert code == 2 and "Traceback" not in err
    (tmp_path / "x.json").write_text(json.dumps(TRUTH))
    code, _, err = command("eval", "instance", "--results", tmp_path, "--data", tmp_path / "x.json")
    assert code == 2 and f"{tmp_path} is a folder; expected results in COCO's format" in err


def test_ids_that_pandas_wrote_as_floats_are_ids(score):
    code, out, _ = score([RIGHT | {"image_id": 7.0, "category_id": 3.0, "segmentation": MASK}], "--json")
    assert code == 0 and json.loads(out)["AP"] == pytest.approx(1.0)
    assert score([RIGHT | {"image_id": 7.5, "segmentation": MASK}])[0] == 2


@pytest.mark.parametrize("crowd", ["x", [1], None, 2])
def test_a_crowd_flag_that_is_none_is_named(score, crowd):
    truth = TRUTH | {"annotations": [TRUTH["annotations"][0] | {"iscrowd": crowd}]}
    code, _, err = score([RIGHT | {"segmentation": MASK}], "--backend", "reference", truth=truth)
    assert code == 2 and f"annotations, record 0: iscrowd is {str(crowd)!r}; expected 0 or 1" in err
