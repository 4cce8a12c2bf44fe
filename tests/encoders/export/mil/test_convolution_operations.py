"""Convolution, pooling, padding, resizing and other operations against torch or by hand; inputs are not square."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from encoders.errors import InputError
from encoders.export.mil.ops.resizing import sample_points


def torched(*arrays):
    return [torch.from_numpy(one) for one in arrays]


def test_padding_may_differ_before_and_after_each_axis(compute, numbers):
    x, weight, bias = numbers(2, 4, 7, 9), numbers(6, 2, 3, 2, seed=1), numbers(6, seed=2)
    # rows: 0 before, 2 after; columns: 3 before, 1 after
    want = F.conv2d(F.pad(torch.from_numpy(x), (3, 1, 0, 2)), *torched(weight, bias), stride=(2, 1), dilation=(1, 2), groups=2)
    got = compute(
        "conv", gives=want.shape, x=x, weight=weight, bias=bias, pad_type="custom", pad=[0, 2, 3, 1], strides=[2, 1],
        dilations=[1, 2], groups=2,
    )  # fmt: skip
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(("pad_type", "first"), [("same", 0), ("same_lower", 1)])
def test_same_pads_more_at_the_end_and_same_lower_at_the_start(compute, pad_type, first):
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)  # kernel 2, stride 1: one element of padding
    got = compute("conv", gives=(1, 1, 5), x=x, weight=np.ones((1, 1, 2), np.float32), pad_type=pad_type)
    assert got[0, 0].tolist() == ([3, 5, 7, 9, 5] if first == 0 else [1, 3, 5, 7, 9])


def test_same_padding_with_a_stride_rounds_the_output_size_up(compute, numbers):
    x, weight = numbers(1, 1, 8, 7), numbers(1, 1, 3, 3, seed=1)
    # rows: ceil(8 / 3) = 3 -> 2 * 3 + 3 - 8 = 1 after; columns: ceil(7 / 3) = 3 -> 2 -> 1 and 1
    want = F.conv2d(F.pad(torch.from_numpy(x), (1, 1, 0, 1)), torch.from_numpy(weight), stride=3)
    got = compute("conv", gives=(1, 1, 3, 3), x=x, weight=weight, pad_type="same", strides=[3, 3])
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("extra", [0, 1])
def test_padding_crops_a_transposed_convolution(compute, numbers, extra):
    x, weight, bias = numbers(1, 4, 5, 3), numbers(4, 3, 3, 2, seed=1), numbers(6, seed=2)
    want = F.conv_transpose2d(
        *torched(x, weight, bias), stride=(2, 3), padding=(1, 0), output_padding=(extra, 0), groups=2, dilation=(1, 2)
    )
    got = compute(
        "conv_transpose", gives=want.shape, x=x, weight=weight, bias=bias, pad_type="custom", pad=[1, 1 - extra, 0, 0],
        strides=[2, 3], dilations=[1, 2], groups=2,
    )  # fmt: skip
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_transposed_convolution_may_be_longer_than_its_input_reaches(compute):
    x, weight = np.ones((1, 1, 2), np.float32), np.ones((1, 1, 1), np.float32)
    got = compute("conv_transpose", gives=(1, 1, 4), x=x, weight=weight, bias=np.asarray([0.5], np.float32), strides=[2],
                  output_shape=[1, 1, 4])  # fmt: skip
    assert got[0, 0].tolist() == [1.5, 0.5, 1.5, 0.5]


def test_same_padding_of_a_transposed_convolution_is_refused(compute, numbers):
    with pytest.raises(InputError, match="conv_transpose.*'same'"):
        compute("conv_transpose", gives=(1, 1, 4), x=numbers(1, 1, 2), weight=numbers(1, 1, 2), pad_type="same", strides=[2])


def test_pooling_with_padding_agrees_with_torch(compute, numbers):
    x = numbers(1, 2, 5, 8)
    common = {"x": x, "kernel_sizes": [3, 2], "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1]}
    image = torch.from_numpy(x)
    for kind, flag, want in (
        ("max_pool", {}, F.max_pool2d(image, (3, 2), 2, (1, 1))),
        ("avg_pool", {}, F.avg_pool2d(image, (3, 2), 2, (1, 1))),
        (
            "avg_pool",
            {"exclude_padding_from_average": True},
            F.avg_pool2d(image, (3, 2), 2, (1, 1), count_include_pad=False),
        ),
    ):
        np.testing.assert_allclose(compute(kind, gives=want.shape, **common, **flag), want, atol=1e-6)


def test_padding_applies_to_the_last_axes(compute):
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    got = compute("pad", gives=(1, 3, 5), x=x, pad=[0, 1, 2, 0], mode="constant", constant_val=np.float32(9))
    assert got.tolist() == [[[9, 9, 0, 1, 2], [9, 9, 3, 4, 5], [9, 9, 9, 9, 9]]]
    got = compute("pad", gives=(1, 2, 6), x=x, pad=[1, 2], mode="reflect")
    assert got.tolist() == [[[1, 0, 1, 2, 1, 0], [4, 3, 4, 5, 4, 3]]]
    got = compute("pad", gives=(1, 2, 6), x=x, pad=[1, 2], mode="replicate")
    assert got.tolist() == [[[0, 0, 1, 2, 2, 2], [3, 3, 4, 5, 5, 5]]]


@pytest.mark.parametrize("factors", [(2.0, 3.0), (0.5, 0.75)])
@pytest.mark.parametrize("align", [True, False])
def test_bilinear_upsampling_agrees_with_torch(compute, numbers, factors, align):
    x = numbers(1, 2, 6, 8)
    size = (int(6 * factors[0]), int(8 * factors[1]))
    want = F.interpolate(torch.from_numpy(x), size=size, mode="bilinear", align_corners=align)
    got = compute("upsample_bilinear", gives=want.shape, x=x, scale_factor_height=factors[0], scale_factor_width=factors[1],
                  align_corners=align)  # fmt: skip
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "five", "six"),  # the table in the notes of coremltools' resize_bilinear, for an input of two elements
    [
        ("UNALIGN_CORNERS", [0, 0.1, 0.5, 0.9, 1], [0, 0, 0.33, 0.67, 1, 1]),
        ("STRICT_ALIGN_CORNERS", [0, 0.25, 0.5, 0.75, 1], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ("DEFAULT", [0, 0.4, 0.8, 1, 1], [0, 0.33, 0.67, 1, 1, 1]),
        ("OFFSET_CORNERS", [0.1, 0.3, 0.5, 0.7, 0.9], [0.08, 0.25, 0.42, 0.58, 0.75, 0.92]),
    ],
)
def test_sampling_modes_follow_the_table_in_the_documentation(compute, mode, five, six):
    assert sample_points(2, 5, mode=mode).tolist() == pytest.approx(five, abs=0.005)
    got = compute("resize_bilinear", gives=(1, 1, 1, 6), x=np.asarray([[[[0, 1]]]], np.float32), target_size_height=1,
                  target_size_width=6, sampling_mode=mode)  # fmt: skip
    assert got[0, 0, 0].tolist() == pytest.approx(six, abs=0.005)


def test_nearest_rounds_the_index_down(compute):
    x = np.asarray([[[[1, 2, 3]]]], np.float32)
    got = compute("upsample_nearest_neighbor", gives=(1, 1, 2, 6), x=x, scale_factor_height=2, scale_factor_width=2)
    assert got[0, 0].tolist() == [[1, 1, 2, 2, 3, 3]] * 2
    got = compute("resize_nearest_neighbor", gives=(1, 1, 1, 4), x=x, target_size_height=1, target_size_width=4)
    assert got[0, 0, 0].tolist() == [1, 1, 2, 3]


def test_pixel_shuffle_and_unshuffle_agree_with_torch(compute, numbers):
    x = numbers(1, 8, 2, 6)
    want = F.pixel_shuffle(torch.from_numpy(x), 2)
    np.testing.assert_array_equal(compute("pixel_shuffle", gives=want.shape, x=x, upscale_factor=2), want)
    np.testing.assert_array_equal(compute("pixel_unshuffle", gives=x.shape, x=want.numpy(), downscale_factor=2), x)


def test_batch_and_instance_normalisation_agree_with_torch(compute, numbers):
    x = numbers(2, 3, 4, 5)
    mean, variance, gamma, beta = numbers(3, seed=1), np.abs(numbers(3, seed=2)), numbers(3, seed=3), numbers(3, seed=4)
    image = torch.from_numpy(x)
    want = F.batch_norm(image, *torched(mean, variance, gamma, beta), eps=0.1)
    got = compute(
        "batch_norm", gives=x.shape, x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=np.float32(0.1)
    )
    np.testing.assert_allclose(got, want, atol=1e-5)
    want = F.instance_norm(image, weight=torch.from_numpy(gamma), bias=torch.from_numpy(beta), eps=0.1)
    got = compute("instance_norm", gives=x.shape, x=x, gamma=gamma, beta=beta, epsilon=np.float32(0.1))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_attention_scales_by_its_width_and_applies_a_mask(compute, numbers):
    query, key, value = numbers(1, 2, 3, 4), numbers(1, 2, 5, 4, seed=1), numbers(1, 2, 5, 6, seed=2)
    mask = np.ones((3, 5), bool)
    mask[1, 3:] = False
    scores = query @ key.swapaxes(-1, -2) / 2
    scores[..., ~mask] = -np.inf
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    want = shares / shares.sum(-1, keepdims=True) @ value
    got = compute("scaled_dot_product_attention", gives=want.shape, query=query, key=key, value=value, attn_mask=mask)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_einsum_and_gather_nd_agree_with_numpy(compute, numbers):
    x, y = numbers(2, 3, 4, 5), numbers(2, 5, 4, 6, seed=1)
    want = np.einsum("nchw,nwhu->nchu", x, y)
    got = compute("einsum", gives=want.shape, values=[x, y], equation="nchw,nwhu->nchu")
    np.testing.assert_allclose(got, want, atol=1e-5)
    table, indices = numbers(3, 4, 2), np.asarray([[2, 1], [0, 3]], np.int32)
    got = compute("gather_nd", gives=(2, 2), x=table, indices=indices)
    np.testing.assert_array_equal(got, table[[2, 0], [1, 3]])


def test_gathering_one_index_from_a_vector_gives_a_scalar(compute):
    sizes = np.asarray([7, 8, 9], np.int32)
    assert compute("gather", declared="int32", gives=(), x=sizes, indices=np.int32(1), axis=0) == 8


def test_an_index_out_of_range_is_an_input_error(compute, numbers):
    with pytest.raises(InputError, match="gather.*out of range for an axis of 3 elements"):
        compute("gather", gives=(1, 4), x=numbers(3, 4), indices=np.asarray([3], np.int32), axis=0)
