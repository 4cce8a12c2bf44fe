import pytest

import encoders
from encoders.registry import BUILDERS

NAMES = [
    "repvit_m0_6", "repvit_m0_9", "repvit_m1_0", "repvit_m1_1", "repvit_m1_5", "repvit_m2_3",
    "tiny_vit", "sam_vit_b", "sam_vit_l", "sam_vit_h", "sam_demo",
]  # fmt: skip


def test_names():
    assert encoders.list_models() == NAMES


def test_listing_builds_nothing(monkeypatch):
    for name in NAMES:
        monkeypatch.setitem(BUILDERS, name, None)
    assert encoders.list_models() == NAMES


def test_models_come_in_eval_mode():
    sam = encoders.build_sam("repvit_m0_6", image_size=128)
    assert not any(part.training for part in sam.modules())
    assert (sam.arch, sam.image_size, sam.image_encoder.image_size) == ("repvit_m0_6", 128, 128)


@pytest.mark.parametrize(
    ("name", "near"), [("repvit_m23", "repvit_m2_3"), ("sam_vit_huge", "sam_vit_h"), ("tinyvit", "tiny_vit")]
)
def test_an_unknown_name_lists_near_misses(name, near):
    with pytest.raises(encoders.InputError, match=near):
        encoders.build_sam(name)


def test_a_name_like_nothing_lists_all():
    with pytest.raises(encoders.InputError, match="tiny_vit.*sam_vit_h"):
        encoders.build_image_encoder("xyz", image_size=64)


@pytest.mark.parametrize("name", ["repvit_m0_6", "tiny_vit", "sam_vit_b", "sam_demo"])
@pytest.mark.parametrize("image_size", [0, 100, -64])
def test_image_sizes_are_multiples_of_64(name, image_size):
    with pytest.raises(encoders.InputError, match="multiple of 64"):
        encoders.build_sam(name, image_size=image_size)
