"""Views by the recipe "jitter": their annotations are those of the pixels shown, and the older recipe keeps its bytes."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from encoders.samples.rle import decode_segmentation, encode_mask
from encoders.samples.rle_crop import Window
from shards.sources.jitter import MIN_PIXELS, MIN_SHARE, jittered_window
from shards.sources.opening import open_source
from shards.sources.views import ViewSource

SHAPE = (120, 200)


@pytest.fixture
def coco(tmp_path):
    """A photo whose red channel is 255 inside object 1, and whose green channel is inside object 2."""
    image = np.zeros((*SHAPE, 3), np.uint8)
    image[20:70, 30:190, 0] = 255
    image[60:110, 5:40, 1] = 255
    (tmp_path / "images").mkdir()
    Image.fromarray(image).save(tmp_path / "images" / "a.png")
    instances = [
        {"id": 1, "point_coords": [[31.0, 21.0]]},
        {"id": 2, "predicted_iou": 0.9, "crop_box": [0, 0, 9, 9]},
    ]
    for channel, instance in enumerate(instances):
        instance |= {"image_id": 1, "segmentation": encode_mask(image[..., channel] > 0)}
    content = {"images": [{"id": 1, "file_name": "a.png", "height": 120, "width": 200}], "annotations": instances}
    (tmp_path / "a.json").write_text(json.dumps(content))
    return open_source(tmp_path / "a.json")


def photos(source):
    return [source.photo(item) for item in source.items()]


def test_the_masks_of_a_view_are_those_of_its_pixels(coco):
    found = photos(ViewSource(coco, views=40, scale=(1.0, 4.0)))
    whole, seen, left_out = found[0], 0, 0
    for photo in found[1:]:
        given = {annotation["id"]: annotation for annotation in photo.annotations}
        for number, channel in ((1, 0), (2, 1)):
            shown, of = photo.image[..., channel] > 0, (whole.image[..., channel] > 0).sum()
            if shown.sum() < max(MIN_PIXELS, MIN_SHARE * of):
                assert number not in given
                left_out += 1
                continue
            annotation = given[number]
            assert np.array_equal(decode_segmentation(annotation["segmentation"], shape=photo.shape), shown)
            rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
            assert annotation["bbox"] == [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert annotation["area"] == shown.sum() and annotation["visible"] == pytest.approx(shown.sum() / of, abs=1e-4)
            assert "crop_box" not in annotation and ("predicted_iou" in annotation) == (number == 2)
            for x, y in annotation.get("point_coords", []):  # on the corner of the object, which a mirror moves
                assert shown[int(y), int(np.ceil(x)) - 1 if photo.meta["view"]["mirror"] else int(x)]
            seen += 1
    assert seen > 20 and left_out > 5
    assert any("point_coords" in annotation for photo in found[1:] for annotation in photo.annotations)


def test_view_0_is_the_whole_photo_and_the_others_say_what_they_are(coco):
    whole, *others = photos(ViewSource(coco, views=5, scale=(1.5, 2.0)))
    original = coco.photo(coco.items()[0])
    assert np.array_equal(whole.image, original.image)
    assert whole.annotations == original.annotations and "view" not in whole.meta
    for photo in others:
        view = dict(photo.meta["view"])
        assert view.pop("recipe") == "jitter1" and view.pop("photo") == list(SHAPE)
        assert np.array_equal(Window(**view).cut(original.image), photo.image)
        assert 1.5 / 1.25**0.5 - 0.05 < max(SHAPE) / max(photo.shape) < 2 * 1.25**0.5 + 0.05


def test_a_window_is_a_function_of_seed_key_and_number(coco):
    drawn = {
        jittered_window(SHAPE, seed=seed, key=key, view=view, scale=(1, 3))
        for seed in (0, 2**40)
        for key in "ab"
        for view in (1, 2)
    }
    assert len(drawn) == 8
    # Stored in caches, so it must be the same in every release
    assert jittered_window((1500, 2250), seed=3, key="sa_1", view=2, scale=(1.0, 2.5)) == PINNED


PINNED = Window(top=198, left=1028, height=917, width=1154, mirror=True)


def test_the_name_tells_the_recipes_apart_and_the_older_one_keeps_its_bytes(coco):
    old = ViewSource(coco, views=3)
    new, wider = (ViewSource(coco, views=3, scale=(1, end)) for end in (2.5, 3))
    assert old.name == "coco:a.json+views3@seed=0"
    assert new.name == "coco:a.json+views3(jitter1,scale=1-2.5)@seed=0"
    assert len({old.identity(), new.identity(), wider.identity()}) == 3
    digest = hashlib.sha256()
    for photo in photos(old):
        digest.update(photo.image.tobytes() + json.dumps([photo.annotations, photo.meta.get("view")]).encode())
    assert digest.hexdigest() == OLD_DIGEST


OLD_DIGEST = "db328c12615ed9c78f5e1ad8bfb555e119a651b084354f6ceed6e4cd01d96a32"


def test_a_photo_without_annotations_has_none_in_its_views(tmp_path, coco, monkeypatch):
    monkeypatch.setattr("shards.sources.jitter.crop_rles", lambda rles, window: [] if not rles else 1 / 0)
    bare = open_source(tmp_path / "a.json", masks=False)
    assert all(photo.annotations == [] for photo in photos(ViewSource(bare, views=3, scale=(1, 2))))


@pytest.mark.parametrize("scale", [(0.5, 1.0), (2.0, 1.5), (1.0, float("inf"))])
def test_a_range_that_shrinks_or_ends_before_its_start_is_refused(coco, scale):
    with pytest.raises(InputError, match="from 1, the whole photo, on"):
        ViewSource(coco, views=2, scale=scale)
