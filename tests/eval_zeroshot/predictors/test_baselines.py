import numpy as np
import pytest
import torch

import encoders
from encoders.errors import InputError
from encoders.prompts import Prompts
from encoders.samples.overlap import mask_iou
from eval_zeroshot import Disc, FillBox, PointIou, box_iou, open_dataset, untrained
from eval_zeroshot.predictors.baselines import fill_box

PHOTO = np.zeros((20, 40, 3), np.uint8)


def set_up(predictor):
    predictor.set_image(PHOTO)
    return predictor


def test_a_filled_box_has_the_pixels_whose_centres_it_covers():
    masks, scores, _ = set_up(FillBox()).predict(Prompts(boxes=np.asarray([[2.4, 1, 6.6, 3], [-5, -5, 50, 50]])))
    assert masks.shape == (2, 3, 20, 40) and scores.shape == (2, 3)
    assert masks[0, 0].sum() == 5 * 2 and masks[0, 0, 1:3, 2:7].all()  # x 2.5 .. 6.5, y 1.5 .. 2.5
    assert masks[1, 2].all()


def test_a_disc_has_its_radius_from_the_long_side():
    click = Prompts(points=np.asarray([[[10.0, 8.0]]]), labels=np.ones((1, 1)))
    masks, _, _ = set_up(Disc(0.1)).predict(click, multimask=False)
    assert masks.shape == (1, 1, 20, 40)
    rows, columns = np.nonzero(masks[0, 0])
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (6, 14, 4, 12)  # 4 px each way
    assert masks.sum() == 49  # lattice points in a circle of radius 4


def test_background_clicks_take_away_and_foreground_clicks_add():
    points, labels = np.asarray([[[10.0, 8.0], [30.0, 8.0], [12.0, 8.0]]]), np.asarray([[1, 1, 0]])
    mask = set_up(Disc(0.1)).predict(Prompts(points=points, labels=labels), multimask=False).masks[0, 0]
    assert mask[8, 7] and mask[8, 30] and not mask[8, 9] and not mask[8, 12]


def test_a_disc_refuses_boxes():
    with pytest.raises(InputError, match="FillBox"):
        set_up(Disc()).predict(Prompts(boxes=np.zeros((1, 4))))


def test_no_image_is_an_input_error():
    with pytest.raises(InputError, match="set_image"):
        FillBox().predict(Prompts(boxes=np.zeros((1, 4))))


@pytest.mark.skipif(not hasattr(encoders, "build_sam"), reason="the model registry is not importable")
def test_an_untrained_model_is_the_same_each_time_and_leaves_the_random_state_alone():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, second = (untrained("repvit_m0_6", image_size=256) for _ in range(2))
    other = untrained("repvit_m0_6", image_size=256, seed=1, decoder_of=first.sam)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not first.sam.training
    weights = [model.sam.state_dict() for model in (first, second, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    differs = {name.split(".")[0] for name in weights[0] if not torch.equal(weights[0][name], weights[2][name])}
    assert differs == {"image_encoder"}


def test_the_known_value_of_filled_boxes_on_real_photos(coco_val):
    box = box_iou.run(FillBox(), open_dataset(coco_val))
    assert (box.n, box.images, box.skipped) == (1672, 188, {"crowd": 20, "empty": 0})
    assert box.value == pytest.approx(0.600, abs=5e-4)


@pytest.mark.slow  # 9 s
def test_known_values_of_discs_and_of_the_masks_own_boxes_on_real_photos(coco_val):
    samples = open_dataset(coco_val)
    disc = PointIou(clicks=()).run(FillBox(), samples)
    assert disc.value == pytest.approx(0.243, abs=5e-4)
    tight = []
    for sample in samples:
        for mask, crowd in zip(sample.masks, sample.crowd, strict=True):
            if not crowd:
                rows, columns = np.nonzero(mask)
                corners = np.asarray([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                tight.append(mask_iou(fill_box(corners, shape=sample.shape), mask))
    # Measured by others on the same objects: the masks' own bounding boxes, which differ from the annotated ones.
    assert np.mean(tight) == pytest.approx(0.606, abs=5e-4)
