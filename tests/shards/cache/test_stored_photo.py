"""Photos in their stored form, decoded exactly or fast: the same size and facts, nearly the same pixels."""

import io
import json
from typing import get_args

import numpy as np
import pytest
from PIL import Image

import shards
from encoders.errors import InputError
from encoders.samples.image import ORIENTATION, decode_image, decode_shrunk
from encoders.samples.rle import encode_mask
from shards.cache.stored_photo import Decode, StoredPhoto, decode_mark, decode_of, store_item
from shards.sources.views import ViewSource
from tests.shards.helpers import standin

SIZE = 64


def smooth_jpeg(width, height, *, turn=None, mode="RGB"):
    """A JPEG of smooth noise; `turn` is an EXIF orientation."""
    rng = np.random.default_rng(5)
    noise = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    photo = noise.resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    exif = Image.Exif()
    if turn is not None:
        exif[ORIENTATION] = turn
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize(("turn", "shape"), [(None, (90, 150)), (6, (150, 90)), (3, (90, 150)), (7, (150, 90))])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_shrunk_photo_is_upright_and_knows_its_whole_size(turn, shape, mode):
    data = smooth_jpeg(150, 90, turn=turn, mode=mode)
    whole, same = decode_shrunk(data, name="x", long_side=None)
    small, stated = decode_shrunk(data, name="x", long_side=SIZE)
    assert np.array_equal(whole, decode_image(data, name="x"))
    assert whole.shape[:2] == same == stated == shape
    expected = shape if mode == "CMYK" else tuple(side // 2 for side in shape)  # half is 75 x 45, enough for 64 x 38
    assert small.shape[:2] == expected
    if mode != "CMYK":
        reference = np.asarray(Image.fromarray(whole).resize(small.shape[1::-1], Image.Resampling.BOX), np.int16)
        assert np.abs(small - reference).mean() < 2


@pytest.mark.parametrize(("width", "taken"), [(126, 126), (127, 64), (128, 64), (400, 100)])
def test_a_photo_is_shrunk_only_as_far_as_the_size_asked_for_allows(width, taken):
    small, _ = decode_shrunk(smooth_jpeg(width, width), name="x", long_side=SIZE)
    assert small.shape == (taken, taken, 3)


@pytest.fixture
def coco(tmp_path):
    """One photo of 201 x 133 with a mask, as a COCO json."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(smooth_jpeg(201, 133))
    mask = np.zeros((133, 201), bool)
    mask[20:70, 30:190] = True
    instance = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": encode_mask(mask)}
    content = {"images": [{"id": 1, "file_name": "a.jpg", "height": 133, "width": 201}], "annotations": [instance]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    return shards.open_source(tmp_path / "a.json")


@pytest.mark.parametrize(("decode", "difference"), [("near", 0.3), ("fast", 3.0)])
def test_a_photo_decoded_otherwise_has_the_size_and_facts_of_the_exact_one(coco, decode, difference):
    for source in (coco, ViewSource(coco, views=3)):
        for item in source.items():
            exact, other = (store_item(source, item, image_size=SIZE, decode=way) for way in ("exact", decode))
            assert isinstance(exact, StoredPhoto) and isinstance(other, StoredPhoto)
            assert other.facts == exact.facts
            assert other.pixels.shape == exact.pixels.shape
            assert np.abs(other.pixels.astype(int) - exact.pixels).mean() < difference
    assert exact.facts["stored_width"] == SIZE


@pytest.mark.parametrize("decode", get_args(Decode))
def test_a_cache_says_how_its_photos_were_decoded(decode):
    for precision in ("", "+bf16"):
        assert decode_of("sam-antialias-1" + decode_mark(decode) + precision) == decode


def test_a_cache_is_not_continued_with_another_way_of_decoding(tmp_path, photo_folder):
    folder = photo_folder(3)
    standin.run(folder, tmp_path / "out", decode="fast")
    assert shards.Manifest.read(tmp_path / "out").identity.preprocess_version == "sam-antialias-1+fast"
    assert standin.run(folder, tmp_path / "out", decode="fast").shards_made == 0
    with pytest.raises(InputError, match="another way of decoding.*sam-antialias-1\\+fast there, sam-antialias-1 now"):
        standin.run(folder, tmp_path / "out")
