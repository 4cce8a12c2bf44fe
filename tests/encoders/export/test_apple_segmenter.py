import importlib
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import encoders
from encoders.errors import InputError
from encoders.export import ExportRequest, export_model
from encoders.export.formats.coreai_asset import Asset
from encoders.export.modules.exportable import exportable
from encoders.export.modules.prompt_decoder import PADDING, PromptDecoder
from encoders.export.targets.apple_segmenter import (
    INPUTS,
    OUTPUTS,
    POINTS,
    QUERIES,
    AppleSegmenterTarget,
    SegmenterRuntime,
    main_asset,
)
from encoders.export.targets.apple_segmenter_module import NOT_MEANT, Segmenter
from encoders.preprocess import normalize_padded
from encoders.samples.overlap import mask_iou
from tests.encoders.export.apple_image_segmenter import (
    BACKGROUND,
    BOTTOM_RIGHT,
    FOREGROUND,
    TOP_LEFT,
    ImageSegmenter,
    model_path,
)

SIZE = 128
SHAPES = dict(zip(INPUTS, ((1, 3, SIZE, SIZE), (1, QUERIES, POINTS, 2), (1, QUERIES, POINTS)), strict=True))
CLICK = [(61.0, 130.5, FOREGROUND)]
CLICKS = [(61.0, 130.5, FOREGROUND), (20.0, 40.0, BACKGROUND), (70.0, 150.0, FOREGROUND)]
BOX = [(38.0, 96.0, TOP_LEFT), (85.0, 171.0, BOTTOM_RIGHT)]
BOX_AND_CLICKS = [*CLICKS, *BOX]
FULL = [(10.0 + 9 * index, 30.0 + 17 * index, index % 2) for index in range(POINTS)]
QUERIES_BY_NAME = {
    "click": CLICK, "clicks": CLICKS, "box": BOX, "box and clicks": BOX_AND_CLICKS, "as many as fit": FULL,
}  # fmt: skip


@pytest.fixture(scope="module")
def sam():
    return encoders.load("sam_demo", image_size=SIZE)


@pytest.fixture(scope="module")
def portrait(photo):
    """(180, 100, 3) uint8: stretched to a square it becomes much wider."""
    scaled = F.interpolate(torch.from_numpy(photo).permute(2, 0, 1)[None].float(), size=(180, 100), mode="bilinear")
    return scaled[0].permute(1, 2, 0).round().to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def by_torch(sam):
    """`ImageSegmenter` on the graph that is exported, run by PyTorch."""
    module = Segmenter(sam, exportable(sam.image_encoder))

    @torch.no_grad()
    def run(**arrays):
        found = module(*(torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in INPUTS))
        return {name: value.numpy() for name, value in zip(OUTPUTS, found, strict=True)}

    return ImageSegmenter(run, shapes=SHAPES, outputs=OUTPUTS)


@torch.no_grad()
def answer(sam, segmenter, image, query):
    """Our own model's mask and score for the stretched photo, by segment-anything's rule: one point, the best of three."""
    pixels = torch.from_numpy(segmenter.preprocess(image) * 255)
    embedding = sam.image_encoder(normalize_padded(pixels, [(SIZE, SIZE)]))
    scale = np.asarray([SIZE / image.shape[1], SIZE / image.shape[0]])
    places = np.asarray([(x, y) for x, y, _ in query]) * scale
    kinds = np.asarray([label for _, _, label in query])
    clicks, corners = (torch.from_numpy(places[own]).float()[None] for own in (kinds < TOP_LEFT, kinds >= TOP_LEFT))
    logits, scores = sam.decode_all(
        embedding,
        image_index=torch.tensor([0]),
        points=clicks if clicks.numel() else None,
        labels=torch.from_numpy(kinds[kinds < TOP_LEFT])[None] if clicks.numel() else None,
        boxes=corners.reshape(1, 4) if corners.numel() else None,
    )
    token = 1 + int(scores[0, 1:].argmax()) if len(query) == 1 else 0
    shares = F.interpolate(logits[:, token : token + 1].sigmoid(), size=image.shape[:2], mode="bilinear")
    return shares[0, 0].numpy() >= 0.5, float(scores[0, token])


@pytest.mark.parametrize("name", QUERIES_BY_NAME)
def test_a_portrait_gets_the_models_own_mask_and_score(sam, by_torch, portrait, name):
    query = QUERIES_BY_NAME[name]
    ((mask, score),) = by_torch.segment(portrait, [query])
    expected, expected_score = answer(sam, by_torch, portrait, query)
    assert 20 < expected.sum() < expected.size - 20
    assert mask_iou(expected, mask) > 0.999
    assert score == pytest.approx(expected_score, abs=1e-4)


def test_several_queries_are_answered_as_each_alone(by_torch, portrait):
    queries = [CLICK, BOX, CLICKS, FULL]
    together = by_torch.segment(portrait, queries)
    alone = sorted((by_torch.segment(portrait, [query])[0] for query in queries), key=lambda segment: -segment[1])
    for (mask, score), (mask_alone, score_alone) in zip(together, alone, strict=True):
        assert mask_iou(mask_alone, mask) > 0.999
        assert score == pytest.approx(score_alone, abs=1e-4)


def test_everything_is_a_grid_of_points(by_torch, portrait):
    assert len(by_torch.segment(portrait, [])) == QUERIES


def test_points_of_other_coordinates_without_a_label_say_nothing(sam, by_torch, portrait):
    points, labels = np.full(SHAPES[INPUTS[1]], -1, np.float32), np.full(SHAPES[INPUTS[2]], PADDING, np.float32)
    points[0, 0, 0], labels[0, 0, 0] = (70, 90), FOREGROUND
    image = by_torch.preprocess(portrait)
    before = by_torch.run(**dict(zip(INPUTS, (image, points, labels), strict=True)))
    points[0, 0, 1:] = 55.5
    after = by_torch.run(**dict(zip(INPUTS, (image, points, labels), strict=True)))
    assert np.abs(before["pred_masks"] - after["pred_masks"])[0, 0].max() < 1e-4


def test_candidates_that_sam_would_not_answer_with_are_marked_in_the_scores(by_torch, portrait):
    points, labels = np.full(SHAPES[INPUTS[1]], 40, np.float32), np.full(SHAPES[INPUTS[2]], PADDING, np.float32)
    labels[0, 0, 0] = FOREGROUND
    labels[0, 1, :2] = TOP_LEFT, BOTTOM_RIGHT
    labels[0, 2, :2] = FOREGROUND, BACKGROUND
    found = by_torch.run(**dict(zip(INPUTS, (by_torch.preprocess(portrait), points, labels), strict=True)))
    marked = found["iou_scores"][0] < -NOT_MEANT / 2
    assert marked.tolist() == [[True, *[False] * 3], [False, *[True] * 3], [False, *[True] * 3], [True, *[False] * 3]]


@torch.no_grad()
def test_all_four_masks_are_the_prompt_decoders(sam, by_torch, portrait):
    decoder = PromptDecoder(sam)
    points, labels = np.full(SHAPES[INPUTS[1]], -1, np.float32), np.full(SHAPES[INPUTS[2]], PADDING, np.float32)
    points[0, 0, :2], labels[0, 0, :2] = [(70, 90), (20, 15)], (FOREGROUND, BACKGROUND)
    found = by_torch.run(**dict(zip(INPUTS, (by_torch.preprocess(portrait), points, labels), strict=True)))
    logits, _ = decoder(
        torch.from_numpy(found["image_embeddings"]),
        torch.tensor([[[70.0, 90.0], [20.0, 15.0], [0.0, 0.0]]]),
        torch.tensor([[FOREGROUND, BACKGROUND, PADDING]]),
    )
    assert np.abs(found["pred_masks"][0, 0] - logits[0].numpy()).max() < 1e-4


@pytest.fixture
def runtime(by_torch, monkeypatch, tmp_path):
    monkeypatch.setattr("encoders.export.targets.apple_segmenter.Asset", lambda path: by_torch.run)
    monkeypatch.setattr("encoders.export.targets.apple_segmenter.core_version", lambda: "0")
    write_metadata(tmp_path)
    return SegmenterRuntime(tmp_path, precision="fp32")


def write_metadata(folder, **changes):
    metadata = {"metadata_version": "0.2", "kind": "segmenter", "name": "a", "assets": {"main": "a.aimodel"}} | changes
    (folder / "metadata.json").write_text(json.dumps(metadata))


@torch.no_grad()
def test_the_runtime_answers_as_encoder_and_decoder_of_two_steps(sam, runtime):
    pixels = torch.randint(0, 256, (1, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image = normalize_padded(pixels, [(90, SIZE)])
    embedding = runtime.encode(image.numpy())
    expected = sam.image_encoder(image)
    assert np.linalg.norm(embedding - expected.numpy()) <= 1e-5 * expected.norm()
    coords = (np.random.default_rng(0).random((QUERIES + 2, 3, 2)) * [SIZE, 90]).astype(np.float32)
    labels = np.asarray([[1, 0, -1], [2, 3, 1], [1, 1, 1], [1, -1, -1], [1, 0, -1], [0, 2, 3]])
    logits, scores = runtime.decode(embedding, coords, labels)
    for row, (found, predicted) in enumerate(zip(logits, scores, strict=True)):
        given = labels[row] >= 0
        own, kinds = coords[row : row + 1, given], labels[row : row + 1, given]
        if kinds.max() < TOP_LEFT:
            own, kinds = np.concatenate([own, np.zeros((1, 1, 2), np.float32)], 1), np.append(kinds, [[PADDING]], 1)
        alone, score = PromptDecoder(sam)(expected, torch.from_numpy(own), torch.from_numpy(kinds))
        assert np.abs(found - alone[0].numpy()).max() < 1e-3
        assert np.abs(predicted - score[0].numpy()).max() < 1e-4


def test_the_runtime_refuses_an_embedding_of_another_photo(runtime):
    embedding = runtime.encode(np.zeros((1, 3, SIZE, SIZE), np.float32))
    with pytest.raises(InputError, match="encode the photo just before"):
        runtime.decode(embedding + 1, np.zeros((1, 2, 2), np.float32), np.asarray([[2, 3]]))


def test_more_points_than_the_bundle_takes_are_refused(runtime):
    embedding = runtime.encode(np.zeros((1, 3, SIZE, SIZE), np.float32))
    with pytest.raises(InputError, match="a prompt has 9 points; this bundle takes at most 8"):
        runtime.decode(embedding, np.zeros((1, 9, 2), np.float32), np.ones((1, 9), np.int64))


@pytest.mark.parametrize(
    "changes", [{"metadata_version": "0.1"}, {"kind": "llm"}, {"assets": {}}, {"assets": {"main": "../a.aimodel"}}]
)
def test_other_bundles_are_refused(tmp_path, changes):
    write_metadata(tmp_path, **changes)
    with pytest.raises(InputError, match="metadata.json is"):
        main_asset(tmp_path)


@pytest.mark.slow  # 70 s on a busy core
def test_core_ai_answers_a_portrait_from_the_bundle(sam, by_torch, portrait, export_photos, tmp_path):
    pytest.importorskip("coreai")
    importlib.import_module("coreai.runtime")
    folder = tmp_path / "bundle"
    request = ExportRequest(sam=sam, out=folder, target=AppleSegmenterTarget.name, samples=export_photos, weights="sam_demo")
    certificate = export_model(request)
    assert certificate.format == "coreai" and certificate.target == "apple-segmenter"
    assert certificate.runtimes[0].how == "executed"
    segmenter = ImageSegmenter(Asset(model_path(folder)), shapes=SHAPES, outputs=OUTPUTS)
    for query in (CLICK, BOX, CLICKS, BOX_AND_CLICKS):
        ((mask, score),) = segmenter.segment(portrait, [query])
        expected, expected_score = answer(sam, segmenter, portrait, query)
        assert mask_iou(expected, mask) > 0.999
        assert score == pytest.approx(expected_score, abs=1e-4)
