"""Embeddings to bytes and back."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.errors import InputError
from shards.codec.records import CODECS, HEADER, decode_embedding, encode_embedding, get_codec, parse_record


def embedding(*, side=16, seed=0, spread=True):
    """(256, side, side): channels of very different size, as real ones are."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(size=(256, 1, 1)) * 2) if spread else 1
    return (rng.normal(size=(256, side, side)) * sizes).astype(np.float32)


def test_padding_rows_and_columns_are_dropped_and_come_back_as_zero():
    given_ = embedding()
    for codec in CODECS:
        wide = decode_embedding(encode_embedding(given_, shape=(100, 256), codec=codec), image_size=256)
        assert (wide[:, 7:] == 0).all() and (wide[:, 6, :] != 0).any()  # 100 px need 7 rows of 16
        tall = decode_embedding(encode_embedding(given_, shape=(256, 97), codec=codec), image_size=256)
        assert (tall[:, :, 7:] == 0).all() and (tall[:, :, 6] != 0).any()


def test_int8_is_off_by_half_a_step_of_its_own_channel_at_most():
    given_ = embedding()
    given_[:, 7:] = 1000  # padding must not widen the scale
    back = decode_embedding(encode_embedding(given_, shape=(100, 256), codec="int8"), image_size=256)
    kept = given_[:, :7]
    step = np.abs(kept).max(axis=(1, 2), keepdims=True) / 127
    assert (np.abs(back[:, :7] - kept) <= step * 0.5001).all()
    relative = ((back[:, :7] - kept) ** 2).sum() / (kept**2).sum()
    assert relative < 2e-4


def test_fp16_is_off_by_one_part_in_2048_at_most():
    given_ = embedding()
    back = decode_embedding(encode_embedding(given_, shape=(256, 256), codec="fp16"), image_size=256)
    assert (np.abs(back - given_) <= np.abs(given_) / 2048 + 1e-7).all()


def test_a_record_of_a_3_to_2_photo_at_1024_px_has_the_size_that_arithmetic_says():
    given_ = embedding(side=64)
    sizes = {codec: len(encode_embedding(given_, shape=(683, 1024), codec=codec)) for codec in CODECS}
    values = 256 * 43 * 64
    assert sizes == {
        "fp16": HEADER.size + 2 * values,
        "int8": HEADER.size + 4 * 256 + values,
        "int4": HEADER.size + 3 * 4 * 256 + values // 2 + 43 * 64,
    }
    assert sizes["int8"] < 0.70 * 2**20 and sizes["int4"] < 0.35 * 2**20


def test_a_channel_of_zeros_stays_zero():
    given_ = embedding()
    given_[3] = 0
    assert (decode_embedding(encode_embedding(given_, shape=(256, 256), codec="int8"), image_size=256)[3] == 0).all()


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 128), width=st.integers(1, 128), codec=st.sampled_from(sorted(CODECS)), data=st.data())
def test_any_shape_survives_and_any_flipped_byte_is_noticed(height, width, codec, data):
    given_ = embedding(side=8, spread=False)
    record = encode_embedding(given_, shape=(height, width), codec=codec)
    back = decode_embedding(record, image_size=128)
    rows, columns = -(-height // 16), -(-width // 16)
    error, kept = back[:, :rows, :columns] - given_[:, :rows, :columns], given_[:, :rows, :columns]
    assert (error**2).sum() <= {"fp16": 1e-6, "int8": 1e-3, "int4": 0.02}[codec] * (kept**2).sum()
    assert (back[:, rows:] == 0).all() and (back[:, :, columns:] == 0).all()
    position = data.draw(st.integers(0, len(record) - 1))
    damaged = bytearray(record)
    damaged[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InputError):
        parse_record(bytes(damaged))
    with pytest.raises(InputError):
        parse_record(record[:position])


def test_what_cannot_be_stored_is_refused():
    nan, huge = embedding(), embedding()
    nan[200, 3, 3] = np.nan
    huge[0, 0, 0] = 1e6
    with pytest.raises(InputError, match="NaN"):
        encode_embedding(nan, shape=(256, 256), codec="int8")
    with pytest.raises(InputError, match=r"reaches 1e\+06"):
        encode_embedding(huge, shape=(256, 256), codec="fp16")
    encode_embedding(nan, shape=(40, 256), codec="int8")  # the NaN lies on padding


def test_an_unknown_codec_names_its_near_miss():
    with pytest.raises(InputError, match="did you mean 'int8'"):
        get_codec("int-8")


def test_a_record_of_a_later_version_is_refused():
    record = bytearray(encode_embedding(embedding(), shape=(256, 256), codec="int8"))
    record[5] = 2
    with pytest.raises(InputError, match="int8 version 2"):
        parse_record(bytes(record))


def test_records_made_by_hand_are_read_as_they_were_meant():
    int8 = struct.pack("<2f", 0.5, 2.0) + bytes([1, 2, 253, 127, 129, 0])  # 2 channels of 1 x 3
    fp16 = struct.pack("<6e", 1.5, -2, 0.25, 0, 7, 65504)
    expected = {"int8": [[0.5, 1, -1.5], [254, -254, 0]], "fp16": [[1.5, -2, 0.25], [0, 7, 65504]]}
    for codec, payload in (("int8", int8), ("fp16", fp16)):
        header = struct.pack("<4sBB10sHHHI", b"RVSE", 1, 1, codec.encode(), 2, 1, 3, zlib.crc32(payload))
        got = decode_embedding(header + payload, image_size=64)
        assert got.shape == (2, 4, 4) and got[:, 0, :3].tolist() == expected[codec] and (got[:, 1:] == 0).all()
