"""What coding does to embeddings and masks, and the gate before a cache is begun."""

import numpy as np
import pytest
import torch

import encoders
import shards
from encoders.errors import InputError
from encoders.prompts import Prompts
from shards.codec.base import Gate
from shards.codec.fidelity import EmbeddingPair, Fidelity, measure_fidelity, stored_boxes
from shards.pipeline.codec_check import missed_gate
from tests.shards.helpers import standin

SHAPE = (40, 64)  # pixels of the photo in a 64 px frame: 3 rows of 4 positions are kept


@pytest.fixture(scope="module")
def teacher():
    return encoders.load("sam_demo", image_size=64)


def comparison(*, error=0.0, padding=0.0, boxes=(), seed=0):
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(256, 4, 4)).astype(np.float32)
    coded = raw.copy()
    coded[:, :3] += error * rng.normal(size=(256, 3, 4))
    coded[:, 3:] += padding
    return EmbeddingPair(raw=raw, coded=coded.astype(np.float32), shape=SHAPE, boxes=np.reshape(boxes, (-1, 4)).astype("f4"))


def test_an_exact_copy_scores_perfectly_whatever_lies_on_padding(teacher):
    got = measure_fidelity([comparison(padding=9.0), comparison(padding=-9.0, boxes=[[4, 8, 50, 30]])], teacher=teacher)
    assert (got.samples, got.prompts) == (2, 16 + 1)  # a 4 x 4 grid, and one box
    assert (got.relative_mse, got.mask_iou, got.score_difference) == (0.0, 1.0, 0.0)
    assert got.cosine == pytest.approx(1.0)


def test_error_and_cosine_are_those_of_the_kept_positions():
    raw = np.zeros((256, 4, 4), np.float32)
    raw[0], coded = 4.0, np.zeros((256, 4, 4), np.float32)
    coded[0], coded[1] = 4.0, 3.0  # right by 4, off by 3 at a right angle: cosine 4 / 5, error 9 of 16
    teacher = standin.standin_teacher(image_size=64)
    got = measure_fidelity([EmbeddingPair(raw=raw, coded=coded, shape=SHAPE, boxes=np.zeros((0, 4), "f4"))], teacher=teacher)
    assert got.relative_mse == pytest.approx(9 / 16) and got.cosine == pytest.approx(0.8)


def test_masks_of_a_box_and_their_scores_are_the_predictors_own(teacher):
    one = comparison(error=0.4, boxes=[[4, 8, 50, 30], [20, 2, 60, 39]], seed=3)
    predictor, answers = encoders.Predictor(teacher), []
    for embedding in (one.raw, np.concatenate([one.coded[:, :3], one.raw[:, 3:]], axis=1)):
        predictor.set_embedding(torch.from_numpy(embedding)[None], shape=SHAPE)
        answers.append(predictor.predict(Prompts(boxes=one.boxes), multimask=False))
    (raw, raw_scores, _), (coded, scores, _) = answers
    ious = [(a & b).sum() / (a | b).sum() for a, b in zip(raw[:, 0], coded[:, 0], strict=True)]
    got = measure_fidelity([one], teacher=teacher)
    assert got.mask_iou == pytest.approx(np.mean(ious)) and got.mask_iou < 1
    assert got.mask_iou_error == pytest.approx(abs(ious[0] - ious[1]) / 2)  # of two values: half their distance
    assert got.score_difference == pytest.approx(np.abs(raw_scores - scores).mean())


def test_more_error_means_less_of_everything(teacher):
    small, large = (measure_fidelity([comparison(error=e)], teacher=teacher) for e in (0.05, 0.5))
    assert small.relative_mse < large.relative_mse and small.cosine > large.cosine
    assert small.mask_iou > large.mask_iou and small.score_difference < large.score_difference


def test_stored_boxes_are_scaled_to_the_frame_and_crowds_left_out():
    annotations = [
        {"bbox": [10, 20, 30, 40], "iscrowd": 0},
        {"bbox": [0, 0, 100, 200], "iscrowd": 1},
        {"bbox": [5, 5, 0, 9], "iscrowd": 0},
    ]
    boxes = stored_boxes({"annotations": annotations, "height": 200, "width": 100}, image_size=64)
    np.testing.assert_allclose(boxes, [[3.2, 6.4, 12.8, 19.2]], rtol=1e-6)
    assert stored_boxes({"annotations": [], "height": 200, "width": 100}, image_size=64).shape == (0, 4)


def test_the_check_of_a_few_photos_gives_the_mean_its_standard_errors_and_the_measurement_does_not():
    gate = Gate(mask_iou=0.97, relative_mse=0.01, instead="int8")
    facts = {"samples": 2, "prompts": 32, "cosine": 1.0, "score_difference": 0.0, "relative_mse": 0.001}
    near = Fidelity(mask_iou=0.962, mask_iou_error=0.005, **facts)
    assert missed_gate(near, gate, doubt=2.0) is None
    assert "0.9620 ± 0.0050, its gate is at least 0.97" in str(missed_gate(near, gate))
    assert missed_gate(Fidelity(mask_iou=0.955, mask_iou_error=0.005, **facts), gate, doubt=2.0) is not None
    assert missed_gate(Fidelity(mask_iou=0.97, mask_iou_error=0.0, **facts), gate) is None


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (Gate(mask_iou=2.0, relative_mse=1.0, instead="int8"), ("mask_iou 0.", "at least 2.0", "use codec int8")),
        (Gate(mask_iou=0.0, relative_mse=1e-9, instead="fp16"), ("relative_mse", "at most 1e-09", "use codec fp16")),
        (Gate(mask_iou=0.0, relative_mse=1e-9, instead=None), ("no codec here is more exact",)),
    ],
)
def test_a_codec_below_its_gate_is_refused_with_the_figure_and_nothing_is_begun(
    tmp_path, photo_folder, monkeypatch, gate, words
):
    monkeypatch.setattr(shards.CODECS["int4"], "gate", gate, raising=False)
    folder = photo_folder(3)
    (folder / "p000.jpg").write_bytes(b"junk")  # the gate looks at good photos
    with pytest.raises(InputError) as caught:
        standin.run(folder, tmp_path / "out", codec="int4", max_bad_fraction=0.5, codec_gate=True)
    assert all(word in str(caught.value) for word in (*words, "codec int4 loses too much", "codec_gate"))
    assert "on 2 photos" in str(caught.value) and not (tmp_path / "out").exists()
    made = standin.run(folder, tmp_path / "out", codec="int4", max_bad_fraction=0.5, codec_gate=False)
    assert made.photos == 2


def test_a_cache_that_is_begun_is_not_measured_again(tmp_path, photo_folder, monkeypatch):
    folder = photo_folder(6)
    standin.run(folder, tmp_path / "out", codec="int8", codec_gate=True)
    monkeypatch.setattr(shards.CODECS["int8"], "gate", Gate(mask_iou=2.0, relative_mse=0.0, instead=None), raising=False)
    assert standin.run(folder, tmp_path / "out", codec="int8", codec_gate=True).shards_made == 0


def test_an_int4_cache_trains_as_an_int8_cache_does(tmp_path, photo_folder):
    """The same photos, batch for batch, to within the codecs' errors; padding is exactly 0."""
    folder = photo_folder(8)
    batches = []
    for codec in ("int8", "int4"):
        standin.run(folder, tmp_path / codec, codec=codec, codec_gate=False)
        batches.append(next(shards.ShardLoader(tmp_path / codec, batch_size=8).batches()))
    assert batches[1].codes.shape == (8, 129, 8, 8) and batches[1].codes.dtype == torch.uint8
    assert batches[0].keys != [] and sorted(batches[0].keys) == sorted(batches[1].keys)
    order = [batches[1].keys.index(key) for key in batches[0].keys]
    first, second = (batch.to_device("cpu") for batch in batches)
    teacher = second.teacher[order]
    assert (teacher[(~first.valid).expand_as(teacher)] == 0).all()
    assert ((teacher - first.teacher) ** 2).sum() < 0.01 * (first.teacher**2).sum()
