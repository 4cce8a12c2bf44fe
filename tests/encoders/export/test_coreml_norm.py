"""SAM's channel normalisation in the form that fp16 can hold."""

import pytest
import torch
from segment_anything.modeling.common import LayerNorm2d

from encoders.export.formats.coreml_norm import half_safe


def norm_of(channels):
    norm = LayerNorm2d(channels).eval()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(0))
        norm.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    return norm


@pytest.mark.parametrize("size", [1e-4, 1e-2, 1, 1000])
@torch.inference_mode()
def test_it_gives_the_same_values_at_every_size(size):
    norm = norm_of(8)
    features = torch.randn(2, 8, 3, 5, generator=torch.Generator().manual_seed(2)) * size + size
    torch.testing.assert_close(half_safe(torch.nn.Sequential(norm))(features), norm(features), atol=2e-5, rtol=2e-5)


@torch.inference_mode()
def test_large_values_and_equal_ones_stay_finite_in_fp16_where_sams_own_overflows():
    norm = norm_of(8)
    features = torch.randn(1, 8, 3, 5, generator=torch.Generator().manual_seed(3)) * 2000
    features[:, :, 0] = 7
    expected = norm(features)
    found = half_safe(torch.nn.Sequential(norm)).half()(features.half())
    torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=1e-2)
    assert not torch.allclose(norm.half()(features.half()).float(), expected, atol=1e-2, rtol=1e-2, equal_nan=True)


def test_the_model_itself_is_left_as_it_is():
    model = torch.nn.Sequential(norm_of(8))
    half_safe(model)
    assert isinstance(model[0], LayerNorm2d)
