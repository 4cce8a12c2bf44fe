"""The 4 bit codec: its bytes, its error, and what it does at the edges of what can be given to it."""

import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.errors import InputError
from shards.codec.int4 import LEVELS, PREDICTIONS, Int4Codec, _differences, _predict
from shards.codec.records import CODECS, HEADER, decode_embedding, encode_embedding, get_codec, pad_codes, parse_record

SMALLEST, LARGEST = float(LEVELS[8]), float(LEVELS[15])  # level of code 8, and of code 15


def decode(payload, shape):
    coded = Int4Codec().parse(bytearray(payload), shape)
    return Int4Codec().dequantize(torch.from_numpy(coded.codes)[None], torch.from_numpy(coded.scales)[None])[0].numpy()


def relative_mse(coded, raw):
    return float(((coded - raw) ** 2).sum() / (raw.astype(np.float64) ** 2).sum())


def smooth(channels, rows, columns, *, seed=0):
    """Neighbours are alike, as in an embedding: each value is its neighbours' mean of 7 x 7 white ones."""
    noise = np.random.default_rng(seed).normal(size=(channels, rows + 6, columns + 6))
    windows = np.lib.stride_tricks.sliding_window_view(noise, (7, 7), axis=(1, 2))
    return windows.mean(axis=(-1, -2)).astype(np.float32) * 7 + 0.5


def golden_record():
    """Three channels of 2 x 2: code 8 or 15 everywhere, gain 1 but for the last position, whose gain is 2."""
    scales = struct.pack("<9f", 1, 0, 0, 2, 0.5, 10, 0, 0, -3)  # step, r, mean of each channel
    planes = bytes([0x88, 0x88, 0x88, 0x8F])  # channel 0 low: 8 8 8 15; channel 2 high: 8 8 8 8
    planes += bytes([0x0F, 0x08, 0x08, 0x08])  # channel 1 low: 15 8 8 8; nobody high
    payload = scales + planes + bytes([32, 32, 32, 36])
    header = struct.pack("<4sBB10sHHHI", b"RVSE", 1, 1, b"int4", 3, 2, 2, zlib.crc32(payload))
    return header + payload


def test_a_record_made_by_hand_is_read_as_arithmetic_says():
    a, b = SMALLEST, LARGEST
    # Channel 1: step 2, r 0.5, mean 10. d = [[2b, 2a], [2a, 4a]], the last with gain 2.
    top_left, right, below = 2 * b, 2 * a + b, 2 * a + b
    last = 4 * a + 0.5 * right + 0.5 * below - 0.25 * top_left
    expected = [
        [[a, a], [a, 2 * b]],
        [[10 + top_left, 10 + right], [10 + below, 10 + last]],
        [[-3, -3], [-3, -3]],
    ]
    got = decode_embedding(golden_record(), image_size=64)
    np.testing.assert_allclose(got[:, :2, :2], expected, rtol=1e-6)
    assert got.shape == (3, 4, 4) and (got[:, 2:] == 0).all() and (got[:, :, 2:] == 0).all()


def test_what_a_record_made_by_hand_holds_is_coded_back_to_what_it_says():
    """The encoder may choose other steps; on values that a coarse step can hold, it loses almost nothing."""
    raw = decode_embedding(golden_record(), image_size=32)
    back = decode_embedding(encode_embedding(raw, shape=(32, 32), codec="int4"), image_size=32)
    assert relative_mse(back, raw) < 2e-3
    assert (back[2] == -3).all()


def test_smooth_channels_lose_a_fifth_or_less_of_what_4_bits_by_themselves_lose():
    raw = smooth(16, 43, 64)
    back = decode(Int4Codec().encode(raw), raw.shape)
    steps = np.abs(raw).max(axis=(1, 2), keepdims=True) / 7
    plain = np.rint(raw / steps).clip(-7, 7) * steps
    assert relative_mse(back, raw) < relative_mse(plain, raw) / 5
    assert (np.abs(back - raw).mean(axis=(1, 2)) < 0.1).all()  # in every channel, and errors do not grow to the right
    assert np.abs(back - raw)[:, :, -8:].mean() < 1.5 * np.abs(back - raw)[:, :, :8].mean()


def test_the_prediction_chosen_by_correlations_is_nearly_the_best_one():
    values = smooth(64, 24, 31).transpose(1, 2, 0) * np.linspace(0, 1, 64, dtype=np.float32)
    values += np.random.default_rng(2).normal(scale=0.2, size=values.shape).astype(np.float32)
    values = np.ascontiguousarray(values - values.mean(axis=(0, 1)))
    every = [(_differences(values, np.full(64, r, np.float32)) ** 2).sum(axis=0) for r in PREDICTIONS]
    chosen = _predict(values)
    energy = (_differences(values, chosen) ** 2).sum(axis=0)
    assert len(set(chosen.tolist())) >= 3
    assert (energy / np.min(every, axis=0)).max() < 1.05


def test_white_noise_loses_what_the_best_16_levels_lose():
    raw = np.random.default_rng(1).normal(size=(256, 15, 13)).astype(np.float32)
    assert relative_mse(decode(Int4Codec().encode(raw), raw.shape), raw) == pytest.approx(0.0095, rel=0.12)  # Max 1960


def test_the_levels_are_the_best_for_a_normal_distribution():
    """Lloyd's two conditions: an edge lies midway between levels, a level is the mean of what falls to it."""
    from scipy.stats import norm

    edges = np.concatenate([[-np.inf], (LEVELS[1:].astype(float) + LEVELS[:-1]) / 2, [np.inf]])
    means = (norm.pdf(edges[:-1]) - norm.pdf(edges[1:])) / np.diff(norm.cdf(edges))
    np.testing.assert_allclose(LEVELS, means, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 5),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    exponent=st.integers(-30, 37),
    offset=st.floats(-3, 3),
    seed=st.integers(0, 99),
)
def test_any_shape_and_magnitude_comes_back(channels, rows, columns, exponent, offset, seed):
    rng = np.random.default_rng(seed)
    raw = ((rng.normal(size=(channels, rows, columns)) + offset) * 10.0**exponent).clip(-3e38, 3e38).astype(np.float32)
    raw[0] = raw[0, 0, 0]  # a constant channel
    payload = Int4Codec().encode(raw)
    assert len(payload) == 12 * channels + (-(-channels // 2) + 1) * rows * columns
    back = decode(payload, raw.shape)
    assert np.isfinite(back).all()
    np.testing.assert_allclose(back[0], raw[0], rtol=1e-5)
    spread = raw - raw.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    error = (back - raw.astype(np.float64)) ** 2
    assert error.sum() <= 0.1 * (spread**2).sum() + 1e-9 * (raw.astype(np.float64) ** 2).sum()


@settings(max_examples=20, deadline=None)
@given(place=st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, 10)), size=st.sampled_from([30, 1e3, 1e6]))
def test_one_extreme_value_does_not_spoil_the_others(place, size):
    raw = smooth(4, 8, 11, seed=5)
    calm = relative_mse(decode(Int4Codec().encode(raw), raw.shape), raw)
    raw[place] = size
    back = decode(Int4Codec().encode(raw), raw.shape)
    others = np.ones(4, bool)
    others[place[0]] = False
    assert relative_mse(back, raw) < 0.05
    assert relative_mse(back[others], raw[others]) < 6 * calm + 0.01


def test_a_batch_padded_for_training_gives_the_same_values_on_the_kept_positions():
    parts = [smooth(256, 3, 8, seed=1), smooth(256, 8, 5, seed=2)]
    coded = [Int4Codec().parse(bytearray(Int4Codec().encode(part)), part.shape) for part in parts]
    codes = torch.stack([torch.from_numpy(pad_codes(c.codes, side=8)) for c in coded])
    scales = torch.stack([torch.from_numpy(c.scales) for c in coded])
    batch = Int4Codec().dequantize(codes, scales).numpy()
    assert np.isfinite(batch).all()
    for row, (part, c) in enumerate(zip(parts, coded, strict=True)):
        alone = Int4Codec().dequantize(torch.from_numpy(c.codes)[None], torch.from_numpy(c.scales)[None])[0].numpy()
        np.testing.assert_allclose(batch[row, :, : part.shape[1], : part.shape[2]], alone, atol=1e-5)


def test_the_same_embedding_gives_the_same_bytes():
    raw = smooth(7, 6, 9)
    assert Int4Codec().encode(raw) == Int4Codec().encode(raw.copy())


def test_a_payload_of_another_size_and_a_nan_are_refused():
    record = golden_record()
    short = record[HEADER.size : -1]
    header = HEADER.pack(b"RVSE", 1, 1, b"int4", 3, 2, 2, zlib.crc32(short))
    with pytest.raises(InputError, match="11 bytes of codes where"):
        parse_record(header + short)
    for value in (np.nan, np.inf, -np.inf):
        raw = smooth(4, 2, 2)
        raw[1, 1, 0] = value
        with pytest.raises(InputError, match="NaN or infinite"):
            encode_embedding(raw, shape=(32, 32), codec="int4")


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_photo_of_one_position_is_stored(codec):
    raw = np.arange(256, dtype=np.float32).reshape(256, 1, 1) / 100
    back = decode_embedding(encode_embedding(raw, shape=(1, 1), codec=codec), image_size=16)
    np.testing.assert_allclose(back, raw, rtol=6e-3)


def test_every_codec_names_a_better_one_or_is_the_last():
    chain, name = ["int4"], "int4"
    while (name := get_codec(name).gate.instead) is not None:
        chain.append(name)
    assert chain == ["int4", "int8", "fp16"]
