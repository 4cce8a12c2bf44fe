import pytest
import torch

from encoders.image_encoders.timm_features import TimmFeaturesEncoder


@pytest.mark.parametrize("image_size", [64, 192, 320])
def test_any_multiple_of_64_gives_an_embedding_at_stride_16(image_size):
    encoder = TimmFeaturesEncoder("tf_efficientnet_lite0", image_size=image_size).eval()
    with torch.inference_mode():
        embedding = encoder(torch.randn(1, 3, image_size, image_size))
    assert embedding.shape == (1, 256, image_size // 16, image_size // 16)
    assert embedding.isfinite().all()


def test_other_backbones_get_a_neck_of_their_own():
    encoder = TimmFeaturesEncoder("resnet18", image_size=128).eval()
    with torch.inference_mode():
        assert encoder(torch.randn(2, 3, 128, 128)).shape == (2, 256, 8, 8)


def test_every_stage_is_seen(randomise):
    """The finest and the coarsest stage both move the embedding."""
    encoder = randomise(TimmFeaturesEncoder("tf_efficientnet_lite0", image_size=128)).eval()
    with torch.inference_mode():
        features = encoder.backbone(torch.randn(1, 3, 128, 128))
        whole = encoder.merge(features)
        for index in range(len(features)):
            without = [f if i != index else torch.zeros_like(f) for i, f in enumerate(features)]
            assert (encoder.merge(without) - whole).abs().max() > 1e-3
