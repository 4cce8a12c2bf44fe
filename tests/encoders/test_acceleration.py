"""A teacher in bfloat16, and compiled."""

import pytest
import torch

import encoders
from encoders.acceleration import accelerate, precision_mark


def image(count=2):
    return torch.randn(count, 3, 128, 128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["sam_demo", "sam_vit_b"])
def test_bf16_is_near_fp32_and_gives_float32(name, randomise):
    sam = randomise(encoders.build_sam(name, image_size=128)) if name == "sam_vit_b" else encoders.load(name, image_size=128)
    with torch.inference_mode():
        exact = sam.image_encoder(image())
        assert accelerate(sam, precision="bf16") is sam and precision_mark(sam) == "+bf16"
        rounded = sam.image_encoder(image())
    error = (rounded - exact).pow(2).mean().sqrt() / exact.pow(2).mean().sqrt()
    assert rounded.dtype == torch.float32 and sam.image_encoder.image_size == 128
    assert 1e-4 < error < 0.05


def test_fp32_changes_nothing():
    sam = encoders.load("sam_demo", image_size=128)
    encoder = sam.image_encoder
    assert accelerate(sam).image_encoder is encoder and precision_mark(sam) == ""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_encoder_gives_the_same(precision, randomise):
    """Takes about two minutes; needs a C++ compiler. The second batch has another size, as a shard's last one does."""
    sam = randomise(encoders.build_sam("sam_vit_b", image_size=128))
    with torch.inference_mode():
        exact = [sam.image_encoder(image(count)) for count in (3, 2)]
        accelerate(sam, precision=precision)
        expected = [sam.image_encoder(image(count)) for count in (3, 2)]
        keys = list(sam.state_dict())
        accelerate(sam, compiled=True)
        for count, plain, exactly in zip((3, 2), expected, exact, strict=True):
            # Other kernels round elsewhere: two bf16 results may lie on either side of the exact one.
            tolerance = max(1e-4, 2 * (plain - exactly).abs().max())
            assert (sam.image_encoder(image(count)) - plain).abs().max() <= tolerance
    assert list(sam.state_dict()) == keys
