"""The weights file: its layout byte by byte, and the errors for a damaged one."""

import struct

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.export.mil.blobs import decode, find_blob, sign_extend, unpack_bits

FP16, INT4, UINT6 = 1, 8, 13  # codes of the types in the file


def weights_file(path, *blobs, version=2, sentinel=0xDEADBEEF):
    """Write a file of (type code, data) blobs and return the offsets of their descriptions."""
    content, places = bytearray(struct.pack("<II", len(blobs), version).ljust(64, b"\0")), []
    for number, data in blobs:
        places.append(len(content))
        content += struct.pack("<IIQQQ", sentinel, number, len(data), len(content) + 64, 0).ljust(64, b"\0")
        content += data.ljust(-(-len(data) // 64) * 64, b"\0")
    path.write_bytes(content)
    return places


def test_the_second_tensor_is_found_by_the_offset_of_its_description(tmp_path):
    path = tmp_path / "weight.bin"
    halves = np.asarray([1.5, -2.0, 0.1], "<f2")
    _, second = weights_file(path, (UINT6, bytes(70)), (FP16, halves.tobytes()))
    assert second == 64 + 64 + 128  # header, description, 70 bytes of data padded to a multiple of 64
    np.testing.assert_array_equal(find_blob(path, second, dtype="fp16", elements=3).read(), halves)


def test_six_bit_fields_cross_bytes_from_the_lowest_bit_up(tmp_path):
    values = [1, 2, 63, 32, 5]  # 30 bits: 00 000101 | 100000 11|1111 0000|10 000001, in 4 bytes
    number = sum(value << 6 * place for place, value in enumerate(values))
    path = tmp_path / "weight.bin"
    (place,) = weights_file(path, (UINT6, number.to_bytes(4, "little")))
    assert find_blob(path, place, dtype="uint6", elements=5).read().tolist() == values


def test_two_bit_fields_follow_the_example_in_the_coremltools_documentation():
    packed = np.asarray([0b01101100, 0b00000011], np.uint8)  # i0 = 00, i1 = 11, i2 = 10, i3 = 01, i4 = 11
    assert unpack_bits(packed, bits=2, elements=5).tolist() == [0, 3, 2, 1, 3]


def test_signed_four_bits_keep_their_sign(tmp_path):
    path = tmp_path / "weight.bin"
    (place,) = weights_file(path, (INT4, bytes([0x8F, 0x07])))  # 15, 8, 7 -> -1, -8, 7
    assert find_blob(path, place, dtype="int4", elements=3).read().tolist() == [-1, -8, 7]
    assert sign_extend(np.asarray([31, 16, 15], np.uint8), bits=5).tolist() == [-1, -16, 15]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"version": 1}, "not a weights file of version 2"),
        ({"sentinel": 0xDEADBEEE}, "no tensor at byte 64"),
    ],
)
def test_a_damaged_file_is_an_input_error(tmp_path, damage, says):
    path = tmp_path / "weight.bin"
    (place,) = weights_file(path, (FP16, bytes(8)), **damage)
    with pytest.raises(InputError, match=says):
        find_blob(path, place, dtype="fp16", elements=4)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"offset": 64, "dtype": "fp32", "elements": 4}, "has fp16 at byte 64 where the program declares fp32"),
        ({"offset": 64, "dtype": "fp16", "elements": 5}, "has 8 bytes .* the program needs 10"),
        ({"offset": 96, "dtype": "fp16", "elements": 4}, "no tensor at byte 96"),
        ({"offset": 6400, "dtype": "fp16", "elements": 4}, "no tensor at byte 6400"),
    ],
)
def test_a_file_that_disagrees_with_the_program_is_an_input_error(tmp_path, asked, says):
    path = tmp_path / "weight.bin"
    weights_file(path, (FP16, bytes(8)))
    with pytest.raises(InputError, match=says):
        find_blob(path, **{"offset": asked.pop("offset"), **asked})


def test_a_truncated_or_deleted_file_is_an_input_error(tmp_path):
    path = tmp_path / "weight.bin"
    (place,) = weights_file(path, (FP16, bytes(256)))
    found = find_blob(path, place, dtype="fp16", elements=128)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="256 bytes at byte 128 of 200"):
        find_blob(path, place, dtype="fp16", elements=128)
    with pytest.raises(InputError, match="ends inside a tensor"):
        found.read()
    path.unlink()
    with pytest.raises(InputError, match="which holds weights, is missing"):
        find_blob(path, place, dtype="fp16", elements=128)


@pytest.mark.parametrize(("dtype", "elements", "size"), [("fp16", 3, 6), ("uint6", 5, 4), ("int4", 3, 2), ("bool", 2, 2)])
def test_bytes_that_are_too_few_or_too_many_are_an_input_error(dtype, elements, size):
    assert decode(bytes(size), dtype=dtype, elements=elements).shape == (elements,)
    for wrong in (size - 1, size + 1):
        with pytest.raises(InputError, match=rf"has {wrong} bytes where {elements} x {dtype} need {size}; export the model"):
            decode(bytes(wrong), dtype=dtype, elements=elements)


def test_a_type_that_cannot_be_decoded_is_an_input_error():
    with pytest.raises(InputError, match="constants of type bf16 are not supported"):
        decode(bytes(2), dtype="bf16", elements=1)
