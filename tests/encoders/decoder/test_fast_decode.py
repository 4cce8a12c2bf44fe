"""The decoder without autograd against segment-anything's own: the same logits up to rounding, the same masks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam as OriginalSam
from torch import nn

import encoders
from encoders.decoder import batched as decoder
from encoders.decoder.batched import MAX_TOKENS
from encoders.decoder.masks import logits_to_masks, upscale_logits
from encoders.geometry import resized_shape
from encoders.prompts import Prompts
from encoders.sam import Sam

SIZE = 128
COUNT = 11


@pytest.fixture(scope="module")
def sam(randomise):
    return randomise(Sam(arch="none", image_encoder=nn.Conv2d(1, 1, 1), image_size=SIZE)).eval()


@pytest.fixture(scope="module")
def embeddings():
    return torch.randn(3, 256, 8, 8, generator=torch.Generator().manual_seed(0))


def some_prompts(kinds, *, points=3):
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(COUNT, 2, generator=generator) * torch.tensor([70.0, 50.0])
    every = {
        "points": torch.rand(COUNT, points, 2, generator=generator) * SIZE,
        "labels": torch.randint(-1, 2, (COUNT, points), generator=generator),
        "boxes": torch.cat([corners, corners + torch.tensor([50.0, 30.0])], dim=1),
        "masks": torch.randn(COUNT, 1, 32, 32, generator=generator),
    }
    return {name: every[name] for name in kinds}


def one_by_one(sam, embeddings, index, prompts, *, multimask):
    """segment-anything's own modules, a prompt at a time: logits (P, M, h, w) and predicted IoU (P, M)."""
    answers = []
    for row in range(len(index)):
        own = {name: value[row : row + 1] for name, value in prompts.items()}
        points = (own["points"], own["labels"]) if "points" in own else None
        sparse, dense = sam.prompt_encoder(points=points, boxes=own.get("boxes"), masks=own.get("masks"))
        answers.append(
            sam.mask_decoder(
                image_embeddings=embeddings[index[row]][None],
                image_pe=sam.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=multimask,
            )
        )
    return [torch.cat(parts) for parts in zip(*answers, strict=True)]


# Images in no order, with 7, 3 and 1 prompts: enough to share an image's projections, just enough, and too few.
INDEX = torch.tensor([2, 0, 2, 2, 1, 0, 2, 2, 0, 2, 2])


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize(
    "kinds",
    [("boxes",), ("points", "labels"), ("masks",), ("points", "labels", "boxes"), ("points", "labels", "masks")],
)
@pytest.mark.parametrize("index", [INDEX, torch.zeros_like(INDEX)])
def test_logits_are_those_of_the_stock_decoder(sam, embeddings, kinds, multimask, index):
    prompts = some_prompts(kinds)
    with torch.inference_mode():
        expected, expected_scores = one_by_one(sam, embeddings, index, prompts, multimask=multimask)
        logits, scores = sam.decode(embeddings, image_index=index, multimask=multimask, **prompts)
    assert logits.shape == (COUNT, 3 if multimask else 1, 32, 32)
    assert expected.std() > 0.1
    assert (logits - expected).abs().max() <= 2e-5
    assert (scores - expected_scores).abs().max() <= 2e-5


@pytest.mark.parametrize("points", [MAX_TOKENS - 1, MAX_TOKENS + 6])
def test_many_points_a_prompt(sam, embeddings, points):
    prompts = some_prompts(("points", "labels"), points=points)
    with torch.inference_mode():
        expected, _ = one_by_one(sam, embeddings, INDEX, prompts, multimask=True)
        logits, _ = sam.decode(embeddings, image_index=INDEX, **prompts)
    assert (logits - expected).abs().max() <= 2e-5


@pytest.mark.parametrize("block", [1, 5, 16])
def test_prompts_decoded_at_a_time_do_not_matter(sam, embeddings, block, monkeypatch):
    """What other devices take at a time, too: those are not tested here."""
    monkeypatch.setattr(decoder, "BLOCK_PROMPTS", block)
    for kinds in (("boxes",), ("points", "labels", "masks")):
        prompts = some_prompts(kinds)
        with torch.inference_mode():
            expected, _ = one_by_one(sam, embeddings, INDEX, prompts, multimask=True)
            logits, _ = sam.decode(embeddings, image_index=INDEX, **prompts)
        assert (logits - expected).abs().max() <= 2e-5


@pytest.fixture
def stock_calls(sam, monkeypatch):
    """How often the stock decoder was asked."""
    calls = []
    stock = sam.mask_decoder.predict_masks

    def counting(**kwargs):
        calls.append(kwargs)
        return stock(**kwargs)

    monkeypatch.setattr(sam.mask_decoder, "predict_masks", counting)
    return calls


def test_training_keeps_the_stock_decoder_and_its_gradients(sam, embeddings, stock_calls):
    prompts = some_prompts(("boxes",))
    inputs = embeddings.clone().requires_grad_()
    logits, _ = sam.decode_all(inputs, image_index=INDEX, **prompts)
    logits.square().mean().backward()
    assert len(stock_calls) == 1
    assert inputs.grad.abs().amax(dim=(1, 2, 3)).min() > 0
    assert sam.mask_decoder.transformer.layers[0].cross_attn_token_to_image.k_proj.weight.grad.abs().max() > 0
    with torch.no_grad():
        again, _ = sam.decode_all(embeddings, image_index=INDEX, **prompts)
    assert len(stock_calls) == 1
    assert (again - logits).abs().max() <= 2e-5


def test_whoever_hooks_into_the_decoder_sees_it_run(sam, embeddings, stock_calls):
    seen = []
    hook = sam.mask_decoder.transformer.norm_final_attn.register_forward_hook(lambda *args: seen.append(args))
    with torch.inference_mode():
        sam.decode(embeddings, image_index=INDEX, **some_prompts(("boxes",)))
    hook.remove()
    assert len(seen) == len(stock_calls) == 1


def test_new_weights_count_at_once(sam, embeddings):
    prompts = some_prompts(("boxes",))
    bias = sam.mask_decoder.transformer.layers[0].cross_attn_token_to_image.v_proj.bias
    with torch.inference_mode():
        before, _ = sam.decode(embeddings, image_index=INDEX, **prompts)
    with torch.no_grad():
        bias += 1
        after, _ = sam.decode(embeddings, image_index=INDEX, **prompts)
        expected, _ = one_by_one(sam, embeddings, INDEX, prompts, multimask=True)
        bias -= 1
    assert (after - before).abs().max() > 1e-2
    assert (after - expected).abs().max() <= 2e-5


@pytest.mark.parametrize("shape", [(427, 640), (640, 427), (500, 500), (40, 333), (1500, 1000)])
@pytest.mark.parametrize("size", [128, 1024])
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_are_upscaled_bit_for_bit_as_by_sam(shape, size, channels):
    logits = torch.randn(2, channels, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    model = SimpleNamespace(image_encoder=SimpleNamespace(img_size=size))
    expected = OriginalSam.postprocess_masks(model, logits, resized_shape(shape, image_size=size), shape)
    assert torch.equal(upscale_logits(logits, shape=shape, image_size=size), expected)


def blob(row, column, *, channels):
    """A noisy disc of radius 6 at a place of 32 x 32 logits."""
    y, x = np.mgrid[:32, :32]
    noise = np.random.default_rng(0).normal(0, 0.7, (1, channels, 32, 32))
    return torch.from_numpy(6 - np.hypot(y - row, x - column) + noise).float()


STEPS = torch.randint(-1, 2, (1, 4, 32, 32), generator=torch.Generator().manual_seed(0)).float()  # interpolated to exact zeros


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("shape", [(123, 85), (85, 123), (200, 310), (9, 77)])
def test_masks_are_the_positive_logits_wherever_they_lie(channels, shape):
    dots = torch.full((3, channels, 32, 32), -1.0)
    for index, place in enumerate([(0, 0), (5, 13), (31, 31)]):
        dots[(index, slice(None), *place)] = 1.0
    nothing = torch.full((1, channels, 32, 32), -3.0)
    blobs = [blob(*place, channels=channels) for place in [(12, 6), (0, 31), (22, 25)]]
    logits = torch.cat([dots, nothing, *blobs, STEPS[:, :channels]])
    groups = [slice(0, 1), slice(1, None)] if channels == 4 else [slice(None)]
    parts = [upscale_logits(logits[:, group], shape=shape, image_size=SIZE) > 0 for group in groups]
    masks = logits_to_masks(logits, shape=shape, image_size=SIZE)
    assert torch.equal(masks, torch.cat(parts, dim=1))
    assert masks[0].any() and not masks[3].any()


@pytest.fixture(scope="module", params=[(90, 140), (140, 61)])
def pair(request, randomise):
    """Ours and segment-anything's predictor with the same weights and embedding, for a wide and a tall photo."""
    sam = randomise(Sam(arch="none", image_encoder=nn.Conv2d(1, 1, 1), image_size=SIZE), seed=2).eval()
    ours = encoders.Predictor(sam)
    ours.set_embedding(torch.randn(1, 256, 8, 8, generator=torch.Generator().manual_seed(3)), shape=request.param)
    encoder = nn.Module()
    encoder.img_size = SIZE
    theirs = SamPredictor(OriginalSam(encoder, sam.prompt_encoder, sam.mask_decoder).eval())
    theirs.features, theirs.is_image_set = ours.embedding, True
    theirs.original_size, theirs.input_size = request.param, resized_shape(request.param, image_size=SIZE)
    return ours, theirs


def prompts_on(shape, count):
    generator = np.random.default_rng(4)
    size = np.asarray([shape[1], shape[0]])
    corners = generator.uniform(0, size / 2, (count, 2))
    return {
        "boxes": np.concatenate([corners, corners + size / 3], axis=1),
        "points": generator.uniform(0, size, (count, 2, 2)),
        "labels": np.tile([1, 0], (count, 1)),
        "masks": generator.normal(size=(count, 1, 32, 32)).astype(np.float32),
    }


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kinds", [("boxes",), ("points", "labels"), ("points", "labels", "masks")])
def test_masks_are_those_of_sam_predictor(pair, kinds, multimask):
    ours, theirs = pair
    prompts = {name: value for name, value in prompts_on(ours.shape, 5).items() if name in kinds}
    answer = ours.predict(Prompts(**prompts), multimask=multimask)
    names = {"boxes": "box", "points": "point_coords", "labels": "point_labels", "masks": "mask_input"}
    for row in range(5):
        own = {names[name]: value[row] for name, value in prompts.items()}
        masks, scores, logits = theirs.predict(**own, multimask_output=multimask)
        fine = theirs.predict(**own, multimask_output=multimask, return_logits=True)[0]
        sure = np.abs(fine) > 2e-5  # the others round to either side of 0
        assert sure.mean() > 0.999 and np.array_equal(answer.masks[row][sure], masks[sure])
        assert 0 < masks.mean() < 1
        assert np.allclose(answer.scores[row], scores, atol=2e-5)
        assert np.allclose(answer.logits[row], logits, atol=2e-5)


def test_all_four_tokens_are_the_single_mask_and_the_three(pair):
    ours, _ = pair
    boxes = prompts_on(ours.shape, 5)["boxes"]
    every = ours.predict_tokens(Prompts(boxes=boxes))
    single, three = (ours.predict(Prompts(boxes=boxes), multimask=multimask) for multimask in (False, True))
    for name in ("masks", "scores", "logits"):
        joined = np.concatenate([getattr(single, name), getattr(three, name)], axis=1)
        assert np.array_equal(getattr(every, name), joined)
    assert ours.predict_tokens(Prompts(boxes=boxes[:0])).masks.shape == (0, 4, *ours.shape)
