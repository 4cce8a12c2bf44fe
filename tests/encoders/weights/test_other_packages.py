"""Outputs of the packages of others beside ours, with the same random weights; skipped where they are not installed."""

import warnings
from functools import partial

import pytest
import torch
from torch import nn

import encoders
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES, SamVitEncoder, SamVitSize
from encoders.registry import BUILDERS
from encoders.sam import build_mask_decoder, build_prompt_encoder

SIZE = 256
IMAGE = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(8))
POINTS, LABELS = torch.tensor([[[60.0, 35.0], [190.0, 80.0]]]), torch.tensor([[1, 0]])
INDEX = torch.zeros(1, dtype=torch.int64)


@pytest.fixture
def small_vit(monkeypatch):
    """A ViT of two blocks, one windowed and one global, in the registry."""
    monkeypatch.setitem(SAM_VIT_SIZES, "sam_vit_xs", SamVitSize(width=32, depth=2, heads=2, global_blocks=(1,)))
    monkeypatch.setitem(BUILDERS, "sam_vit_xs", partial(SamVitEncoder, "sam_vit_xs"))


def test_sam_hqs_encoder_and_the_decoder_of_the_sam_in_it(small_vit, randomise, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package registers timm models under old names
        pytest.importorskip("segment_anything_hq", reason="pip install segment-anything-hq")
        from segment_anything_hq.modeling import ImageEncoderViT, MaskDecoderHQ, TwoWayTransformer
    encoder = ImageEncoderViT(
        img_size=SIZE, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=4, out_chans=256, qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=14, global_attn_indexes=[1],
    )  # fmt: skip
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    decoder = MaskDecoderHQ(transformer_dim=256, transformer=transformer, vit_dim=32)
    theirs = nn.ModuleDict({"image_encoder": encoder, "prompt_encoder": build_prompt_encoder(SIZE), "mask_decoder": decoder})
    randomise(theirs).eval()
    torch.save(theirs.state_dict(), tmp_path / "sam_hq.pth")
    sam = encoders.load(tmp_path / "sam_hq.pth", image_size=SIZE)
    plain = build_mask_decoder().eval()
    missing, _ = plain.load_state_dict(decoder.state_dict(), strict=False)
    assert not missing
    with torch.inference_mode():
        expected, _ = encoder(IMAGE)
        assert (sam.image_encoder(IMAGE) - expected).abs().max() <= 1e-4
        sparse, dense = theirs["prompt_encoder"](points=(POINTS, LABELS), boxes=None, masks=None)
        masks, scores = plain(
            image_embeddings=expected, image_pe=theirs["prompt_encoder"].get_dense_pe(),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True,
        )  # fmt: skip
        ours, our_scores = sam.decode(expected, image_index=INDEX, points=POINTS, labels=LABELS)
    assert (ours - masks).abs().max() <= 1e-4 and (our_scores - scores).abs().max() <= 1e-4


@pytest.mark.parametrize("hq", [False, True])
def test_transformers_sam(small_vit, randomise, tmp_path, hq):
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    config, model = (
        (transformers.SamHQConfig, transformers.SamHQModel) if hq else (transformers.SamConfig, transformers.SamModel)
    )
    vision = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "global_attn_indexes": [1], "image_size": SIZE,
        "mlp_dim": 128, "window_size": 14,
    }  # fmt: skip
    decoder = {"mask_decoder_config": {"vit_dim": 32}} if hq else {}
    prompts = {"image_size": SIZE, "image_embedding_size": SIZE // 16}
    theirs = model(config(vision_config=vision, prompt_encoder_config=prompts, **decoder)).eval()
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    sam = encoders.load(tmp_path, image_size=SIZE)
    assert sam.arch == "sam_vit_xs"
    with torch.inference_mode():
        found = theirs.get_image_embeddings(IMAGE)
        expected = found[0] if isinstance(found, tuple) else found
        assert expected.std() > 0.1
        assert (sam.image_encoder(IMAGE) - expected).abs().max() <= 1e-4
        if hq:
            return  # its decoder's answers are those of the HQ head too
        answer = theirs(image_embeddings=expected, input_points=POINTS[None], input_labels=LABELS[None])
        ours, scores = sam.decode(expected, image_index=INDEX, points=POINTS, labels=LABELS)
    assert (ours - answer.pred_masks[0]).abs().max() <= 1e-4
    assert (scores - answer.iou_scores[0]).abs().max() <= 1e-4
