from functools import partial

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling import Sam as OriginalSam
from torch import nn

import encoders
from encoders.prompts import Prompts
from encoders.sam import build_mask_decoder, build_prompt_encoder

SIZE = 256


@pytest.fixture(scope="module")
def pair(randomise):
    """segment-anything's ViT-B model at 256 px, and ours with the same random weights."""
    vit = ImageEncoderViT(
        img_size=SIZE, patch_size=16, embed_dim=768, depth=12, num_heads=12, mlp_ratio=4, out_chans=256, qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=14, global_attn_indexes=[2, 5, 8, 11],
    )  # fmt: skip
    original = randomise(OriginalSam(vit, build_prompt_encoder(SIZE), build_mask_decoder())).eval()
    ours = encoders.build_sam("sam_vit_b", image_size=SIZE)
    ours.load_state_dict(original.state_dict())
    return original, ours


@pytest.fixture(scope="module")
def predictors(pair, photo):
    theirs, ours = SamPredictor(pair[0]), encoders.Predictor(pair[1])
    theirs.set_image(photo)
    ours.set_image(photo)
    return theirs, ours


def test_embedding_equals_segment_anything(predictors):
    theirs, ours = predictors
    assert theirs.features.std() > 0.1
    assert (ours.embedding - theirs.features).abs().max() <= 1e-4


POINTS = np.array([[100.0, 20.5], [12.0, 80.0]])
BOX = np.array([30.0, 10.0, 125.0, 62.0])
PROMPTS = {
    "point": {"points": POINTS[:1], "labels": [1]},
    "points": {"points": POINTS, "labels": [1, 0]},
    "box": {"boxes": BOX},
    "box and points": {"boxes": BOX, "points": POINTS, "labels": [0, 1]},
}


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("refined", [False, True])
def test_predictions_equal_segment_anything(predictors, kind, multimask, refined):
    theirs, ours = predictors
    prompt = {name: np.asarray(value) for name, value in PROMPTS[kind].items()}
    low = np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32) if refined else None
    masks, scores, logits = theirs.predict(
        point_coords=prompt.get("points"), point_labels=prompt.get("labels"), box=prompt.get("boxes"),
        mask_input=low, multimask_output=multimask,
    )  # fmt: skip
    batched = {name: value[None] for name, value in prompt.items()}
    answer = ours.predict(Prompts(**batched, masks=None if low is None else low[None]), multimask=multimask)
    assert np.abs(answer.logits[0] - logits).max() <= 1e-4
    assert np.abs(answer.scores[0] - scores).max() <= 1e-4
    assert answer.masks.shape == (1, 3 if multimask else 1, 90, 140)
    assert (answer.masks[0] != masks).mean() < 1e-4  # a logit within 1e-4 of the threshold may fall on either side


@pytest.mark.parametrize("size", ["b", "l", "h"])
def test_names_and_shapes_are_segment_anythings(size):
    with torch.device("meta"):
        theirs = sam_model_registry[f"vit_{size}"]().state_dict()
        ours = encoders.build_sam(f"sam_vit_{size}").state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert list(ours) == list(theirs)


@pytest.mark.slow
def test_a_segment_anything_checkpoint_gives_its_embedding_at_1024_px(randomise, tmp_path):
    original = randomise(sam_model_registry["vit_b"]())
    torch.save(original.state_dict(), tmp_path / "sam_vit_b_01ec64.pth")
    image = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    sam = encoders.load(tmp_path / "sam_vit_b_01ec64.pth")
    assert sam.arch == "sam_vit_b"
    with torch.inference_mode():
        assert (sam.image_encoder(image) - original.image_encoder(image)).abs().max() <= 1e-4
