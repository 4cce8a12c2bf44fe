"""Measures of a certificate, against numbers worked out by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from encoders.errors import InputError
from encoders.export.certification.certificate import Measures
from encoders.export.certification.comparison import compare
from encoders.export.certification.questions import questions
from encoders.export.certification.reference import make_reference
from encoders.export.certification.thresholds import THRESHOLDS, least_precision, rounding_layers, thresholds_for
from encoders.export.certifying import check_measures
from encoders.predictor import Prediction
from encoders.samples.sample import Sample

SHAPE, SIZE = (40, 64), 64
ASKED = questions(points=(2, 3), masks=False)


class Scripted:
    """A predictor that answers every prompt alike: four rectangles of a photo, logits and scores as they are given."""

    image_size = SIZE

    def __init__(self, *, embedding=1.0, width=20, logit=2.0, scores=(0.5, 0.6, 0.9, 0.7), side=16):
        self.embedding = torch.full((1, 4, 2, 2), embedding)
        self.width, self.logit, self.scores, self.side = width, np.broadcast_to(logit, 4), scores, side

    def set_image(self, image):
        assert image.shape[:2] == SHAPE

    def predict_tokens(self, prompts):
        count = len(prompts.boxes if prompts.boxes is not None else prompts.points)
        found = np.zeros((count, 4, *SHAPE), bool)
        found[:, :, 5:15, 10 : 10 + self.width] = True
        logits = np.broadcast_to(self.logit[None, :, None, None], (count, 4, self.side, self.side)).copy()
        return Prediction(masks=found, scores=np.tile(self.scores, (count, 1)), logits=logits)


def photo(key="a"):
    mask = np.zeros(SHAPE, bool)
    mask[5:15, 10:30] = True
    return Sample(key=key, image=np.zeros((*SHAPE, 3), np.uint8), boxes=[[10, 5, 30, 15]], masks=[mask])


def measured(**changes):
    reference, embeddings = make_reference(Scripted(), [photo()], asked=ASKED)
    return compare(Scripted(**changes), reference, {"a": photo().image}, embeddings=embeddings)


def test_the_same_answers_are_no_difference_at_all():
    found = measured()
    assert found.embedding_relative_error == found.logits_relative_error == found.score_max_difference == 0
    assert found.iou_mean == found.iou_min == found.iou_photo_min == 1 and found.embedding_cosine == pytest.approx(1)
    assert found.prompts == 2  # a box and a click; those with further points are compared by their logits


def test_differences_are_what_they_are_by_hand():
    found = measured(embedding=1.25, width=15, logit=[2.0, 2.0, 2.0, 2.5], scores=(0.5, 0.6, 0.8, 0.7))
    assert found.embedding_relative_error == found.embedding_max_difference == 0.25
    assert found.iou_mean == found.iou_min == 0.75  # 15 of 20 columns
    assert found.logits_relative_error == 0.25  # of the fourth mask alone: half of 2
    assert found.score_max_difference == pytest.approx(0.1)


def test_a_click_is_compared_by_the_mask_that_the_reference_chose_not_the_one_that_the_model_would():
    class OneDiffers(Scripted):
        def predict_tokens(self, prompts):
            found = super().predict_tokens(prompts)
            found.masks[:, 2] = False  # the reference's best of the three
            return found

    reference, _ = make_reference(Scripted(), [photo()], asked=ASKED)
    found = compare(OneDiffers(scores=(0.5, 0.99, 0.9, 0.7)), reference, {"a": photo().image})
    assert found.iou_min == 0 and found.iou_mean == 0.5  # the click's mask is gone, the box's is not


@pytest.mark.parametrize(
    "changes", [{"embedding": float("nan")}, {"logit": float("inf")}, {"scores": (0.5, float("nan"), 1, 1)}]
)
def test_values_that_are_not_finite_are_no_agreement(changes):
    with pytest.raises(InputError, match="gives values that are not finite on photo a"):
        measured(**changes)


def test_logits_of_another_size_are_refused():
    with pytest.raises(InputError, match="logits of 8 x 8 on photo a, the model gives 16 x 16"):
        measured(side=8)


def test_photos_without_a_name_of_their_own_are_refused():
    with pytest.raises(InputError, match="two photos of the certificate are called 'a'"):
        make_reference(Scripted(), [photo(), photo()], asked=ASKED)
    with pytest.raises(InputError, match="no photo to certify on"):
        make_reference(Scripted(), [], asked=ASKED)


def fine(**changes):
    given = {"embedding_relative_error": 0, "embedding_max_difference": 0, "embedding_cosine": 1, "logits_relative_error": 0}
    given |= {"iou_mean": 1, "iou_min": 1, "iou_photo_min": 1, "score_max_difference": 0, "prompts": 2}
    return Measures(**(given | changes))


def test_what_falls_short_is_named_with_its_limit():
    limits = thresholds_for("fp16")
    assert limits.failures(fine()) == []
    found = limits.failures(fine(embedding_relative_error=0.5, score_max_difference=0.25, iou_min=0.5))
    assert [line.split()[0] for line in found] == ["embedding_relative_error", "score_max_difference", "iou_min"]
    assert found[2] == "iou_min 0.5000, at least 0.99 wanted"


@pytest.mark.parametrize(
    ("measured", "precision", "advice"),
    [
        ({"iou_mean": 0.9972}, "fp16", r"logits near zero.*trained for longer, or another --precision \(fp64\)"),
        ({"iou_mean": 0.9972, "score_max_difference": 0.2}, "fp16", r"written; choose another --precision \(fp64\)"),
        ({"iou_mean": 0.9972}, "fp32", "written; please report this"),
    ],
)
def test_a_failure_says_what_to_do(measured, precision, advice):
    made = SimpleNamespace(name="onnx", precisions=(precision, "fp64"))
    runtime = SimpleNamespace(name="ONNX Runtime", how="executed")
    with pytest.raises(InputError, match=advice):
        check_measures(fine(**measured), thresholds_for(precision), made=made, precision=precision, runtime=runtime)


def test_random_weights_are_held_to_numbers_rather_than_to_outlines():
    trained, random = thresholds_for("fp16"), thresholds_for("fp16", trained=False)
    assert random.iou_mean == 0.95 and random.embedding_relative_error == trained.embedding_relative_error
    assert thresholds_for("fp32", trained=False) == thresholds_for("fp32")
    assert thresholds_for("palette4", trained=False) == thresholds_for("palette4")  # which ask for less
    deep, deep_random = (thresholds_for("fp16", layers=217, trained=given) for given in (True, False))
    assert deep.embedding_relative_error < deep_random.embedding_relative_error == pytest.approx(1.2e-3 * 217**0.5)
    assert (deep.score_max_difference, deep_random.score_max_difference) == (0.005, 0.01)


def test_a_deep_encoder_may_round_more_in_fp16_alone():
    deep = thresholds_for("fp16", layers=217)
    assert deep.embedding_relative_error == pytest.approx(6.5e-4 * 217**0.5)
    assert thresholds_for("fp16", layers=30) == thresholds_for("fp16")
    assert thresholds_for("fp32", layers=217) == thresholds_for("fp32") and deep.iou_mean == thresholds_for("fp16").iou_mean
    assert rounding_layers(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Sequential(nn.Linear(1, 1)))) == 2


def test_every_precision_of_every_format_has_thresholds():
    from encoders.export.formats import FORMATS, find_format

    for name in FORMATS:
        assert all(thresholds_for(precision) for precision in find_format(name).precisions)
    with pytest.raises(InputError, match="no thresholds for precision 'int3'; expected one of fp32"):
        thresholds_for("int3")
    assert least_precision("fp32", "bf16") == "bf16" and least_precision("int8", "fp32") == "int8"
    assert THRESHOLDS["fp32"].logits_relative_error < THRESHOLDS["fp16"].logits_relative_error


def test_the_documentation_has_the_thresholds_that_are_enforced():
    lines = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8").splitlines()
    rows = {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}
    precisions = ("fp32", "fp16", "int8", "bf16", "palette6", "palette4")
    for name, label in (
        ("embedding_relative_error", "embedding, relative error, at most"),
        ("logits_relative_error", "logits, relative error, at most"),
        ("score_max_difference", "predicted IoU, difference, at most"),
        ("iou_mean", "mask IoU, mean, at least"),
        ("iou_photo_min", "mask IoU, mean of the worst photo, at least"),
        ("iou_min", "mask IoU, worst prompt, at least"),
    ):
        assert [float(cell) for cell in rows[label]] == [getattr(thresholds_for(one), name) for one in precisions]
