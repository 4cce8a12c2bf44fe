"""Detector boxes, videos and other projects' predictors on a pretended GPU: the CPU's numbers, bounded waiting."""

import types

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam as TheirSam
from torch import nn

import encoders
from encoders.prompts import Prompts
from encoders.sam import build_mask_decoder, build_prompt_encoder
from eval_zeroshot import choose_suites, evaluate, get_suite, open_dataset
from eval_zeroshot.ap.annotations import read_annotations
from eval_zeroshot.ap.detections import Detections
from eval_zeroshot.predictors.adapters import SamPredictorAdapter
from eval_zeroshot.predictors.adapters.efficient_sam import EfficientSamAdapter
from eval_zeroshot.suites.detector_boxes.instance import InstanceAp
from eval_zeroshot.suites.detector_boxes.instance_protocols import PROTOCOLS
from tests.accelerator.pretend import CUDA, PretendTensor, on_gpu, pretended_gpu
from tests.layouts import make_davis, make_seginw, rectangle

SIZE = 64
FIRST, SECOND = rectangle((3, 2, 10, 12)), rectangle((15, 4, 24, 9))
BOXES = np.asarray([[10, 5, 60, 40], [70, 20, 140, 85], [1, 50, 30, 88.5]], np.float32)
POINTS = np.asarray([[[20, 30], [100, 10]], [[80.5, 60], [3, 4]], [[5, 70], [120, 80]]], np.float32)
LABELS = np.asarray([[1, 0], [1, -1], [1, 1]])


@pytest.fixture(scope="module")
def sams():
    """One model twice: on the CPU and on the pretended GPU."""
    return encoders.load("sam_demo", image_size=SIZE), on_gpu(encoders.load("sam_demo", image_size=SIZE))


def both(suite, samples, sams, *, most_waits):
    """Results of a suite on the CPU and on the GPU, which may wait so many times for all samples."""
    cpu, gpu = sams
    (expected,) = evaluate({"model": encoders.Predictor(cpu)}, suites=[suite], samples=samples)
    with pretended_gpu() as counts:
        (found,) = evaluate({"model": encoders.Predictor(gpu)}, suites=[suite], samples=samples)
    assert counts.launched, "nothing ran on the device"
    assert counts.waited <= most_waits, counts
    assert (found.n, found.images, found.skipped) == (expected.n, expected.images, expected.skipped)
    assert found.value == pytest.approx(expected.value, abs=2e-3)  # the decoders differ by rounding
    for name, estimate in expected.extra.items():
        assert found.extra[name].value == pytest.approx(estimate.value, abs=2e-3, nan_ok=True), name


@pytest.fixture
def seginw(tmp_path):
    """Two data sets, a photo with two objects each."""
    return make_seginw(tmp_path, {"Puppies": {"a.jpg": [FIRST, SECOND]}, "Hand": {"b.jpg": [SECOND, FIRST]}})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_instance(protocol, seginw, sams):
    data, boxes = seginw
    truth = read_annotations(data / "Puppies" / "valid" / "_annotations.coco.json")
    records = [
        {"image_id": 1, "category_id": 1, "score": score, "bbox": box}
        for score, box in ((0.9, [3, 2, 7, 10]), (0.8, [15, 4, 9, 5]), (0.3, [0, 0, 30, 20]), (0.2, [40, 30, 5, 5]))
    ]
    suite = InstanceAp(
        PROTOCOLS[protocol], detections=Detections(name="boxes.json", sha256="0" * 64, records=records), truth=truth
    )
    samples = open_dataset(data / "Puppies" / "valid", images=data / "Puppies" / "valid")
    both(suite, samples, sams, most_waits=8)


def test_seginw(seginw, sams):
    data, boxes = seginw
    (suite,) = choose_suites(["seginw"], data=data, boxes=boxes)
    both(suite, open_dataset(data), sams, most_waits=8)


def test_video(tmp_path, sams):
    frames = []
    for step in range(4):
        labels = np.zeros((20, 30), np.uint8)
        labels[2 + step : 12 + step, 3:10] = 1
        labels[4:9, 15 + step : 24 + step] = 2
        frames.append(labels)
    both(get_suite("video"), open_dataset(make_davis(tmp_path, {"drift": frames})), sams, most_waits=14)


class Stem(nn.Module):
    """A stand-in for an image encoder of the original, 256 px."""

    img_size = 256

    def __init__(self):
        super().__init__()
        self.project = nn.Conv2d(3, 256, 16, stride=16)

    def forward(self, image):
        return self.project(image)


def original(cls):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = {
            "image_encoder": Stem(), "prompt_encoder": build_prompt_encoder(256), "mask_decoder": build_mask_decoder(),
            "pixel_mean": [123.675, 116.28, 103.53], "pixel_std": [58.395, 57.12, 57.375],
        }  # fmt: skip
        return cls(**parts).eval()


def answers(adapter):
    """An adapter's answers to a box, to points, and to both with a mask fed back."""
    adapter.set_image(np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8))
    box = adapter.predict(Prompts(boxes=BOXES), multimask=True)
    points = adapter.predict(Prompts(points=POINTS, labels=LABELS), multimask=False)
    again = adapter.predict(Prompts(points=POINTS, labels=LABELS, boxes=BOXES, masks=points.logits), multimask=True)
    return box, points, again


class EdgeSamPredictor(SamPredictor):
    """EdgeSAM's interface: `predict_torch` is handed the features and the number of masks."""

    def predict_torch(
        self, features, point_coords, point_labels, boxes=None, mask_input=None, num_multimask_outputs=3,
        return_logits=False, use_stability_score=True,
    ):  # fmt: skip
        return super().predict_torch(point_coords, point_labels, boxes, mask_input, num_multimask_outputs == 3)


class OneByOne:
    """A predictor with nothing but set_image and predict."""

    def __init__(self, model):
        self._inner = SamPredictor(model)
        self.set_image = self._inner.set_image

    def predict(self, point_coords=None, point_labels=None, box=None, mask_input=None, multimask_output=True):
        return self._inner.predict(point_coords, point_labels, box, mask_input, multimask_output)


def mobile_sam_predictor(model):
    return pytest.importorskip("mobile_sam").SamPredictor(model)


PREDICTORS = {
    "segment-anything": (SamPredictor, TheirSam, 20),
    "EdgeSAM": (EdgeSamPredictor, TheirSam, 20),
    "MobileSAM": (mobile_sam_predictor, TheirSam, 20),
    "one by one": (OneByOne, TheirSam, 55),
}


@pytest.mark.parametrize("name", PREDICTORS)
def test_another_projects_predictor(name):
    wrap, cls, most_waits = PREDICTORS[name]
    expected = answers(SamPredictorAdapter(wrap(original(cls)), identity="x"))
    with pretended_gpu() as counts:
        found = answers(SamPredictorAdapter(wrap(on_gpu(original(cls))), identity="x"))
    assert counts.launched and counts.waited <= most_waits, counts
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.masks != theirs.masks).mean() < 1e-4
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-3)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)


class EfficientSam(nn.Module):
    """EfficientSAM's interface on any device: logits by the distance from a prompt's first point."""

    decoder_max_num_input_points = 6

    def __init__(self):
        super().__init__()
        self.image_encoder = types.SimpleNamespace(img_size=64)
        self.weight = nn.Parameter(torch.full((1,), 0.1))

    def get_image_embeddings(self, images):
        return images.mean() + self.weight

    def predict_masks(self, image_embeddings, batched_points, batched_point_labels, multimask_output, input_h, input_w):
        places = torch.arange(16, device=batched_points.device)
        columns = (batched_points[..., 0, 0] * 16 / input_w)[..., None, None] - places
        rows = (batched_points[..., 0, 1] * 16 / input_h)[..., None, None] - places[:, None]
        logits = (4 - (columns**2 + rows**2).sqrt() + image_embeddings)[:, :, None]
        logits = logits.expand(-1, -1, 3 if multimask_output else 1, -1, -1)
        return logits, logits.mean(dim=(-2, -1)) + batched_point_labels.sum() * 0


def test_efficient_sam():
    def ask(model):
        adapter = EfficientSamAdapter(model, identity="x")
        adapter.set_image(np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8))
        return adapter.predict(Prompts(boxes=BOXES)), adapter.predict(Prompts(points=POINTS, labels=LABELS), multimask=False)

    expected = ask(EfficientSam())
    with pretended_gpu() as counts:
        model = on_gpu(EfficientSam())
        assert isinstance(model.weight, PretendTensor) and model.weight.device == CUDA
        found = ask(model)
    assert counts.launched and counts.waited <= 11, counts
    for ours, theirs in zip(found, expected, strict=True):
        for part in ("masks", "scores", "logits"):
            np.testing.assert_allclose(getattr(ours, part), getattr(theirs, part), atol=1e-4)
