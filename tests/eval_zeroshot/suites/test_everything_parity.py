"""The mask generator against segment-anything's own, with the same weights."""

import numpy as np
import pytest
import segment_anything
import torch
from pycocotools import mask as coco_mask
from segment_anything.modeling import Sam as OfficialSam
from torch import nn

import encoders
from encoders.samples.image import read_image
from eval_zeroshot.suites.everything import MaskGenerator, MaskSettings

IMAGE_SIZE = 128


class SamsEncoder(nn.Module):
    """Our image encoder as segment-anything wants one."""

    def __init__(self, sam):
        super().__init__()
        self.sam, self.img_size = sam, sam.image_size

    def forward(self, image):
        return self.sam.image_encoder(image)


def official(sam):
    """segment-anything's model around our modules: the same weights, its own code for all else."""
    return OfficialSam(
        image_encoder=SamsEncoder(sam), prompt_encoder=sam.prompt_encoder, mask_decoder=sam.mask_decoder
    ).eval()


@pytest.fixture(scope="module")
def demo():
    """The shipped teacher made sure of itself: thresholds made for SAM let none of its masks pass at this size."""
    sam = encoders.load("sam_demo", image_size=IMAGE_SIZE)
    with torch.no_grad():
        sam.mask_decoder.iou_prediction_head.layers[-1].bias += 0.5
        for head in sam.mask_decoder.output_hypernetworks_mlps:  # logits are linear in these: sharper edges
            head.layers[-1].weight *= 12
            head.layers[-1].bias *= 12
    return sam


@pytest.fixture(scope="module")
def photo():
    """(120, 171, 3): one of the shipped photos, made small and not square."""
    from distill.jobs.sample_data import resolve_data

    path = sorted((resolve_data("sample:val").parent / "images").glob("*.jpg"))[1]
    return np.ascontiguousarray(read_image(path)[:360:3, :513:3])


def both(sam, photo, **settings):
    theirs = segment_anything.SamAutomaticMaskGenerator(official(sam), output_mode="coco_rle", **settings)
    ours = MaskGenerator(encoders.Predictor(sam), settings=MaskSettings(**settings))
    return ours.generate(photo), theirs.generate(photo)


def same(ours, theirs):
    """The same records in the same order up to the rounding of float32, without theirs that have no pixel."""
    theirs = [record for record in theirs if record["area"]]
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        assert mine["point_coords"] == [pytest.approx(other["point_coords"][0])]
        assert mine["crop_box"] == other["crop_box"]
        assert mine["predicted_iou"] == pytest.approx(other["predicted_iou"], abs=1e-5)
        assert mine["stability_score"] == pytest.approx(other["stability_score"], abs=2e-3)
        assert mine["area"] == pytest.approx(other["area"], abs=3)  # a pixel whose logit is 0 up to rounding
        assert mine["bbox"] == pytest.approx(other["bbox"], abs=1)
        assert coco_mask.iou([mine["segmentation"]], [other["segmentation"]], [0])[0, 0] > 0.995


@pytest.mark.parametrize(
    "settings",
    [
        {"points_per_side": 13},
        {"points_per_side": 9, "pred_iou_thresh": 0.6, "stability_score_thresh": 0.8, "stability_score_offset": 0.7},
        {"points_per_side": 6, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 0.9},
    ],
)
def test_the_masks_are_segment_anythings(demo, photo, settings):
    ours, theirs = both(demo, photo, **settings)
    assert len(ours) > 2
    same(ours, theirs)


def test_small_holes_and_pieces_go_as_there(demo, photo):
    pytest.importorskip("cv2")
    settings = {"points_per_side": 6, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.5, "min_mask_region_area": 60}
    ours, theirs = both(demo, photo, **settings)
    assert len(ours) > 2
    same(ours, theirs)


def test_random_weights_too(demo, photo):
    torch.manual_seed(3)
    sam = encoders.build_sam("repvit_m0_6", image_size=64).eval()
    settings = {"points_per_side": 5, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 0.95}
    ours, theirs = both(sam, photo, **settings)
    assert len(ours) > 2
    same(ours, theirs)
