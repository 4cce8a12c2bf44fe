"""The prompts of a certificate."""

import torch

from encoders.export.certification.questions import Question, filled, points_in, prompts_of, questions


def test_a_certificate_asks_for_boxes_clicks_and_masks_of_the_lengths_that_a_decoder_takes():
    asked = questions(points=(2, 3), masks=True)
    assert [(one.kind, one.points) for one in asked] == [("box", 2), ("click", 2), ("box", 3), ("click", 3), ("mask", 2)]


def test_prompts_have_the_number_of_points_that_was_asked_for():
    boxes = torch.tensor([[10.0, 20, 50, 100], [0, 0, 8, 4]]).numpy()
    given = {
        (kind, points): prompts_of(Question(kind=kind, points=points), boxes, shape=(200, 100), image_size=64).given
        for kind, points in (("box", 2), ("box", 4), ("click", 2), ("click", 4), ("mask", 2))
    }
    assert set(given["box", 2]) == {"boxes"} and set(given["mask", 2]) == {"boxes", "masks"}
    assert given["box", 4]["points"].shape == (2, 2, 2) and given["click", 4]["points"].shape == (2, 3, 2)
    assert "boxes" not in given["click", 2] and given["click", 2]["points"][:, 0].tolist() == [[30, 60], [4, 2]]
    assert given["click", 4]["labels"].tolist() == [[1, 0, 1]] * 2


def test_points_lie_in_their_boxes():
    points, _ = points_in(torch.tensor([[10.0, 20, 50, 100]]).numpy(), count=14)
    assert ((points >= [10, 20]) & (points <= [50, 100])).all() and len({tuple(p) for p in points[0]}) == 14


def test_the_mask_of_an_earlier_round_fills_the_box():
    mask = filled(torch.tensor([[8.0, 16, 32, 24]]).numpy(), image_size=64)
    assert mask.shape == (1, 1, 16, 16) and (mask[0, 0] > 0).sum() == 6 * 2 and (mask[0, 0, 4:6, 2:8] > 0).all()
