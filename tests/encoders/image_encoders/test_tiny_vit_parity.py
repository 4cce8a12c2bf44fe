import warnings

import pytest
import torch

import encoders

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package registers timm models under old names
    pytest.importorskip("mobile_sam")
    from mobile_sam.build_sam import build_sam_vit_t
    from mobile_sam.modeling import TinyViT

PHOTO = torch.Generator().manual_seed(1)


@pytest.fixture(scope="module")
def original(randomise):
    """MobileSAM's whole model with random weights. `eval` comes last: its attention keeps the bias of that moment."""
    return randomise(build_sam_vit_t()).train().eval()


@pytest.fixture(scope="module")
def checkpoint(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("mobile_sam") / "mobile_sam.pt"
    torch.save(original.state_dict(), path)
    return path


def test_mobile_sam_checkpoint_loads_by_its_key_table(original, checkpoint, key_list):
    assert {key: tuple(t.shape) for key, t in original.state_dict().items()} == key_list("mobile_sam")
    sam = encoders.load(checkpoint, arch="tiny_vit")
    decoder = "mask_decoder.transformer.layers.1.mlp.lin1.weight"
    assert torch.equal(sam.state_dict()[decoder], original.state_dict()[decoder])
    assert not sam.training and sam.image_size == 1024


def test_mobile_sam_loads_what_we_write_for_it(checkpoint):
    written = encoders.official_state_dict(encoders.load(checkpoint))
    other = build_sam_vit_t()
    other.load_state_dict(written, strict=True)
    read = torch.load(checkpoint, weights_only=True)
    for key in read.keys() - {k for k in read if "head" in k}:
        assert torch.equal(written[key], read[key]), key


@pytest.mark.slow
def test_embedding_equals_mobile_sam_at_1024_px(original, checkpoint):
    image = torch.randn(1, 3, 1024, 1024, generator=PHOTO)
    sam = encoders.load(checkpoint, arch="tiny_vit")
    with torch.inference_mode():
        theirs = original.image_encoder(image)
        ours = sam.image_encoder(image)
    assert ours.shape == (1, 256, 64, 64)
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() <= 1e-4


@pytest.mark.parametrize("image_size", [256, 320])
def test_embedding_equals_mobile_sam_at_other_sizes(original, image_size, checkpoint):
    """The original's forward names 64 x 64; its layers are taken one by one, built for this size."""
    theirs = TinyViT(
        img_size=image_size, embed_dims=[64, 128, 160, 320], depths=[2, 2, 6, 2], num_heads=[2, 4, 5, 10],
        window_sizes=[7, 7, 14, 7], drop_path_rate=0.0,
    )  # fmt: skip
    theirs.load_state_dict(original.image_encoder.state_dict())
    theirs.eval()
    image = torch.randn(2, 3, image_size, image_size, generator=PHOTO)
    side = image_size // 16
    with torch.inference_mode():
        tokens = theirs.patch_embed(image)
        for layer in theirs.layers:
            tokens = layer(tokens)
        expected = theirs.neck(tokens.view(2, side, side, 320).permute(0, 3, 1, 2))
        ours = encoders.load(checkpoint, arch="tiny_vit", image_size=image_size).image_encoder(image)
    assert (ours - expected).abs().max() <= 1e-4


def test_weights_loaded_after_a_forward_are_used(randomise):
    encoder = randomise(encoders.build_image_encoder("tiny_vit", image_size=64)).eval()
    other = randomise(encoders.build_image_encoder("tiny_vit", image_size=64), seed=5).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        encoder(image)
        encoder.load_state_dict(other.state_dict())
        assert torch.equal(encoder(image), other(image))
