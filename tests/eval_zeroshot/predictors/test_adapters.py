"""Other projects' models behind our interface: equal answers where we have the same model, honest errors where not."""

import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam as TheirSam
from torch import nn

from encoders.errors import InputError
from encoders.predictor import Predictor
from encoders.prompts import Prompts
from encoders.sam import Sam
from eval_zeroshot import box_iou, evaluate, point_iou
from eval_zeroshot.predictors.adapters import SamPredictorAdapter, is_adapter, open_adapter

PIXELS = {"pixel_mean": [123.675, 116.28, 103.53], "pixel_std": [58.395, 57.12, 57.375]}


class Stem(nn.Module):
    """A stand-in for an image encoder, 256 px."""

    image_size = img_size = 256

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, 256, 16, stride=16)

    def forward(self, image):
        return self.project(image)


@pytest.fixture(scope="module")
def sam():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Sam(arch="stem", image_encoder=Stem(), image_size=256).eval()


def theirs(sam, cls=TheirSam):
    return cls(
        image_encoder=sam.image_encoder, prompt_encoder=sam.prompt_encoder, mask_decoder=sam.mask_decoder, **PIXELS
    ).eval()


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8)


BOXES = np.asarray([[10, 5, 60, 40], [70, 20, 140, 85], [1, 50, 30, 88.5]], np.float32)
POINTS = np.asarray([[[20, 30], [100, 10]], [[80.5, 60], [3, 4]], [[5, 70], [120, 80]]], np.float32)
LABELS = np.asarray([[1, 0], [1, -1], [1, 1]])


class OneByOne:
    """A predictor with nothing but set_image and predict."""

    def __init__(self, inner):
        self.set_image, self._inner = inner.set_image, inner

    def predict(self, point_coords=None, point_labels=None, box=None, mask_input=None, multimask_output=True):
        return self._inner.predict(point_coords, point_labels, box, mask_input, multimask_output)


@pytest.mark.parametrize("wrap", [lambda predictor: predictor, OneByOne], ids=["batched", "one by one"])
def test_segment_anythings_predictor_answers_as_ours_does(sam, photo, wrap):
    ours, other = Predictor(sam), SamPredictorAdapter(wrap(SamPredictor(theirs(sam))), identity="x")
    ours.set_image(photo)
    other.set_image(photo)
    first = None
    for prompts, multimask in (
        (Prompts(boxes=BOXES), False),
        (Prompts(points=POINTS, labels=LABELS), True),
        (Prompts(points=POINTS, labels=LABELS, boxes=BOXES), False),
        (Prompts(points=POINTS, labels=LABELS, masks="fed back"), False),
    ):
        if prompts.masks is not None:
            prompts = replace(prompts, masks=first)
        expected, answer = (each.predict(prompts, multimask=multimask) for each in (ours, other))
        assert (answer.masks != expected.masks).mean() < 1e-4
        np.testing.assert_allclose(answer.scores, expected.scores, atol=1e-4)
        np.testing.assert_allclose(answer.logits, expected.logits, atol=1e-3)
        first = expected.logits[:, :1] if first is None else first
    assert (answer.masks.dtype, answer.scores.dtype, answer.logits.dtype) == (bool, np.float32, np.float32)


def test_mobile_sams_predictor_too(sam, photo):
    mobile_sam = pytest.importorskip("mobile_sam")
    from mobile_sam.modeling import Sam as MobileSam

    adapter = SamPredictorAdapter(mobile_sam.SamPredictor(theirs(sam, MobileSam)), identity="x")
    ours = Predictor(sam)
    ours.set_image(photo)
    adapter.set_image(photo)
    expected, answer = (each.predict(Prompts(boxes=BOXES), multimask=True) for each in (ours, adapter))
    assert (answer.masks != expected.masks).mean() < 1e-4
    np.testing.assert_allclose(answer.logits, expected.logits, atol=1e-3)
    assert adapter.image_size == 256


def test_suites_give_an_adapted_model_the_numbers_of_the_same_model_of_ours(sam, make_sample, tmp_path):
    samples = [make_sample((10, 4, 20, 16), (1, 1, 9, 9), key="a"), make_sample((3, 2, 25, 18), key="b", mark=200)]
    models = {"ours": Predictor(sam), "theirs": SamPredictorAdapter(SamPredictor(theirs(sam)), identity="x")}
    results = evaluate(models, suites=[box_iou, point_iou], samples=samples, against="ours", state=tmp_path)
    for ours, other in (results[:2], results[2:]):
        assert other.value == pytest.approx(ours.value, abs=0.02)
        assert other.extra["stability"].value == pytest.approx(ours.extra["stability"].value, abs=0.02)
        assert abs(other.difference.value) < 0.02


def test_wrong_calls_are_said(sam, photo):
    adapter = SamPredictorAdapter(SamPredictor(theirs(sam)), identity="x")
    with pytest.raises(InputError, match="set_image first"):
        adapter.predict(Prompts(boxes=BOXES))
    adapter.set_image(photo)
    with pytest.raises(InputError, match="points without labels"):
        adapter.predict(Prompts(points=POINTS))
    assert adapter.predict(Prompts(boxes=BOXES[:0]), multimask=True).masks.shape == (0, 3, 90, 150)


class EdgeSamPredictor(SamPredictor):
    """EdgeSAM's interface: `predict_torch` is handed the features and the number of masks."""

    def predict_torch(
        self, features, point_coords, point_labels, boxes=None, mask_input=None, num_multimask_outputs=3,
        return_logits=False, use_stability_score=True,
    ):  # fmt: skip
        assert features is self.features and not use_stability_score and num_multimask_outputs in (1, 3)
        return super().predict_torch(point_coords, point_labels, boxes, mask_input, num_multimask_outputs == 3)


def module(monkeypatch, name, **content):
    fake = types.ModuleType(name)
    fake.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, fake)


def edge_sam_of(monkeypatch, sam):
    builders = {"edge_sam": lambda checkpoint: theirs(sam)}
    module(monkeypatch, "edge_sam", sam_model_registry=builders, SamPredictor=EdgeSamPredictor)


def test_edge_sam_by_family(sam, photo, tmp_path, monkeypatch):
    torch.save(theirs(sam).state_dict(), tmp_path / "edge.pth")
    fresh = Sam(arch="stem", image_encoder=Stem(), image_size=256)
    edge_sam_of(monkeypatch, fresh)
    adapter, ours = open_adapter(f"edge_sam:{tmp_path / 'edge.pth'}"), Predictor(sam)
    for each in (adapter, ours):
        each.set_image(photo)
    for multimask in (True, False):
        expected, answer = (each.predict(Prompts(boxes=BOXES), multimask=multimask) for each in (ours, adapter))
        np.testing.assert_allclose(answer.logits, expected.logits, atol=1e-3)
    assert adapter.identity.startswith("edge_sam:") and len(adapter.identity) == len("edge_sam:") + 64


def test_edge_sam_with_weights_of_another_model_does_not_run_untrained(sam, tmp_path, monkeypatch):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    edge_sam_of(monkeypatch, sam)
    with pytest.raises(InputError, match="of EdgeSAM's tensors are missing"):
        open_adapter(f"edge_sam:{tmp_path / 'other.pth'}")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match="text.pth is not a checkpoint"):
        open_adapter(f"edge_sam:{tmp_path / 'text.pth'}")


def test_damaged_weights_of_other_projects_are_refused(sam, efficient_sam, tmp_path, monkeypatch):
    edge_sam_of(monkeypatch, sam)
    state = theirs(sam).state_dict()
    torch.save(state, tmp_path / "edge.pth")
    data = bytearray((tmp_path / "edge.pth").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "edge.pth").write_bytes(data)
    with pytest.raises(InputError, match="edge.pth is damaged"):
        open_adapter(f"edge_sam:{tmp_path / 'edge.pth'}")
    torch.save({"model": {"weight": torch.tensor([1e20])}}, tmp_path / "s.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="weight holds the value 1e"):
        open_adapter(f"efficient_sam:vits:{tmp_path / 's.pt'}")


def test_efficient_sam_has_the_weights_of_its_file(efficient_sam, tmp_path):
    assert efficient_sam.model.weight.item() == 1
    torch.save({"model": {"other": torch.ones(1)}}, tmp_path / "s.pt")
    with pytest.raises(InputError, match="the weights do not fit"):
        open_adapter(f"efficient_sam:vits:{tmp_path / 's.pt'}")


class EfficientSam(nn.Module):
    """EfficientSAM's interface: a stretched square of 64 px, logits of 16 x 16 that are high inside a box."""

    decoder_max_num_input_points = 6

    def __init__(self):
        super().__init__()
        self.image_encoder = types.SimpleNamespace(img_size=64)
        self.weight = nn.Parameter(torch.zeros(1))

    def get_image_embeddings(self, images):
        assert images.max() <= 1
        self.size = images.shape[-2:]
        return images

    def predict_masks(self, image_embeddings, batched_points, batched_point_labels, multimask_output):
        height, width = self.size
        count = batched_points.shape[1]
        logits = torch.full((1, count, 3 if multimask_output else 1, 16, 16), -4.0)
        for prompt in range(count):
            corners = batched_points[0, prompt, :2] * torch.tensor([16 / width, 16 / height])
            assert batched_point_labels[0, prompt, :2].tolist() == [2, 3]
            (x0, y0), (x1, y1) = corners.round().long().tolist()
            logits[0, prompt, :, y0:y1, x0:x1] = 4
        return logits, torch.full(logits.shape[:3], 0.7)


@pytest.fixture
def efficient_sam(tmp_path, monkeypatch):
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "s.pt")
    module(monkeypatch, "efficient_sam")
    module(monkeypatch, "efficient_sam.build_efficient_sam", build_efficient_sam=lambda **options: EfficientSam())
    return open_adapter(f"efficient_sam:vits:{tmp_path / 's.pt'}")


def test_efficient_sam_sees_a_stretched_photo_and_answers_in_ours(efficient_sam):
    efficient_sam.set_image(np.full((32, 64, 3), 255, np.uint8))  # 16 cells of 2 px down, of 4 px across
    answer = efficient_sam.predict(Prompts(boxes=np.asarray([[16, 4, 48, 20]], np.float32)), multimask=False)
    inside = answer.masks[0, 0]
    assert inside[6:18, 20:44].all() and inside.sum() <= 18 * 36
    # in SAM's layout the photo covers the upper 8 of 16 rows: columns 4-11, rows 1-4
    assert (answer.logits[0, 0, 1:5, 5:11] > 0).all() and (answer.logits[0, 0, 8:] < 0).all()
    assert answer.scores.tolist() == [[pytest.approx(0.7)]]


def test_what_efficient_sam_cannot_take_is_said(efficient_sam):
    efficient_sam.set_image(np.zeros((32, 64, 3), np.uint8))
    box = np.asarray([[16, 4, 48, 20]], np.float32)
    with pytest.raises(InputError, match="takes no mask"):
        efficient_sam.predict(Prompts(boxes=box, masks=np.zeros((1, 1, 16, 16))))
    with pytest.raises(InputError, match="up to 6 points, two of them for a box, got 7"):
        efficient_sam.predict(Prompts(boxes=box, points=np.zeros((1, 5, 2)), labels=np.ones((1, 5))))


def test_a_package_that_is_not_installed_says_how_to_get_it(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    path.write_bytes(b"")
    for name in ("edge_sam", "efficientvit", "efficientsam"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(InputError, match="edge_sam is not installed; get https://github.com/chongzhou96/EdgeSAM"):
        open_adapter(f"edge_sam:{path}")
    with pytest.raises(InputError, match="not installed; pip install efficientsam"):
        open_adapter(f"efficientvit_sam:l0:{path}")


def test_names_that_are_no_family_variant_or_file(tmp_path):
    with pytest.raises(InputError, match="did you mean edge_sam"):
        open_adapter("edgesam:w.pth")
    with pytest.raises(InputError, match="no variant 'l9'; expected efficientvit_sam:VARIANT:WEIGHTS with l0"):
        open_adapter("efficientvit_sam:l9:w.pt")
    with pytest.raises(InputError, match="w.pth is no file"):
        open_adapter("edge_sam:w.pth")
    assert is_adapter("edge_sam:w.pth") and not is_adapter("runs/ours")


def test_the_pypi_package_of_efficientvit_sam(tmp_path, photo):
    pytest.importorskip("efficientsam", reason="pip install efficientsam")
    from efficientsam.sam_model_zoo import create_efficientvit_sam_model

    torch.manual_seed(0)
    model = create_efficientvit_sam_model("efficientvit-sam-l0", pretrained=False)
    torch.save(model.state_dict(), tmp_path / "l0.pt")
    adapter = open_adapter(f"efficientvit_sam:l0:{tmp_path / 'l0.pt'}")
    adapter.set_image(photo)
    answer = adapter.predict(Prompts(boxes=BOXES), multimask=True)
    one = adapter.predictor.predict(box=BOXES[1], multimask_output=True)
    assert answer.masks.shape == (3, 3, 90, 150) and adapter.image_size == 512
    np.testing.assert_allclose(answer.logits[1], one[2], atol=1e-3)
    fed = adapter.predict(Prompts(boxes=BOXES, masks=answer.logits[:, :1]), multimask=False)
    assert fed.logits.shape == (3, 1, 256, 256)
