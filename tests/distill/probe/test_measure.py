"""The measurement itself: hand-computed overlaps, a student that is the teacher, prompts, and one transfer."""

import copy
import random
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import encoders
import shards
from distill.probe.measure import Measure, _iou, _pixels
from distill.probe.photos import choose, read_batches
from distill.probe.pictures import picture
from distill.probe.prompts import prompts_of
from encoders.errors import InputError
from encoders.samples.rle import encode_mask
from shards.loading.held_out import HeldOut, HeldOutShare, photo_of
from tests.accelerator.pretend import CUDA, on_gpu, pretended_gpu


def batches_of(cache, *, photos=6, prompts=5):
    manifest = shards.Manifest.read(cache)
    places = choose(manifest, held_out=None, photos=photos, seed=0, whole_shards=False)
    return read_batches(manifest, places, store=None, prompts=prompts)


@pytest.fixture(scope="module")
def untrained(teacher):
    """A student with random weights and its teacher's decoder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = encoders.build_sam("repvit_m0_6", image_size=128)
    for part in ("prompt_encoder", "mask_decoder"):
        getattr(student, part).load_state_dict(getattr(teacher, part).state_dict())
    return student


def test_overlaps_are_those_counted_by_hand_in_the_photo_alone():
    visible = torch.zeros(1, 16, 24, dtype=torch.bool)
    visible[:, :12, :20] = True  # the photo is 12 x 20 pixels
    mine, theirs = torch.full((1, 4, 6), -9.0), torch.full((1, 4, 6), -9.0)
    mine[0, 0:2, 1:6], theirs[0, 1:4, 1:5] = 9.0, 9.0  # cells of 4 x 4 pixels: rows 0-7, columns 4-19; rows 4-11, columns 4-19
    first, second = _pixels(mine, visible)[0], _pixels(theirs, visible)[0]
    assert first.any(dim=0).nonzero()[:, 0].tolist() == list(range(4, 20)) == second.any(dim=0).nonzero()[:, 0].tolist()
    assert first.any(dim=1).nonzero()[:, 0].tolist() == list(range(8))
    # Interpolation rounds each corner inside the photo off by a pixel: (7, 4) of one, (4, 4) and (4, 19) of the other.
    assert (int(first.sum()), int(second.sum())) == (8 * 16 - 1, 8 * 16 - 2)
    assert float(_iou(mine, theirs, visible)) == pytest.approx((4 * 16 - 3) / (127 + 126 - 61))
    assert float(_iou(-mine.abs(), -mine.abs(), visible)) == 1.0


def test_a_student_that_is_the_teacher_agrees_but_for_the_codec(photo_cache, teacher):
    measure = Measure(teacher, batches_of(photo_cache), device=torch.device("cpu"))
    found = measure(teacher)
    assert found["iou"] > 0.95 and found["cosine"] > 0.999 and found["mse"] < 1e-3
    assert abs(found["box_score_gap"]) < 0.01 and abs(found["point_score_gap"]) < 0.01
    assert measure.photos == 6
    counted = {kind: sum(sizes.values()) for kind, sizes in measure.prompts.items()}
    assert counted["box"] > 15 and counted["point"] > 15
    sizes = {size: n for size, n in measure.prompts["box"].items() if n}
    weighted = sum(found[f"box_iou_{size}"] * count for size, count in sizes.items()) / counted["box"]
    assert found["box_iou"] == pytest.approx(weighted) and len(sizes) >= 2
    whole = found["box_iou"] * counted["box"] + found["point_iou"] * counted["point"]
    assert found["iou"] == pytest.approx(whole / sum(counted.values()))


def test_an_untrained_student_does_not_and_nothing_random_is_drawn(photo_cache, teacher, untrained):
    measure = Measure(teacher, batches_of(photo_cache), device=torch.device("cpu"))
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    found = measure(untrained)
    assert found["iou"] < 0.5 and found["cosine"] < 0.5 and found["mse"] > 0.1
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert measure(untrained) == found


def test_photos_without_annotations_get_a_grid_and_the_boxes_of_the_teachers_masks_there(bare_cache, teacher):
    batches = batches_of(bare_cache, photos=9, prompts=4)
    assert [len(batch.points) for batch in batches] == [12] and batches[0].drawn.all()
    height, width = batches[0].photos.shapes[0]
    assert batches[0].points[:4, 0].numpy() == pytest.approx(
        np.array([[x * width, y * height] for y in (0.25, 0.75) for x in (0.25, 0.75)]), rel=0.01
    )
    measure = Measure(teacher, batches, device=torch.device("cpu"))
    boxes, masks = measure.groups[0].batch.boxes, measure.groups[0].references["point"].logits > 0
    for box, mask in zip(boxes.tolist(), masks, strict=True):
        if box[2] > box[0]:
            x0, y0, x1, y1 = (int(edge) // 4 for edge in box)
            inside = mask[y0:y1, x0:x1]
            assert inside.any(dim=1)[[0, -1]].all() and inside.any(dim=0)[[0, -1]].all()
    assert measure(teacher)["box_iou"] > 0.95


def test_objects_of_all_sizes_are_asked_for_where_there_are_more_than_prompts():
    mask = np.zeros((100, 200), bool)
    annotations = []
    for number, side in enumerate((1, 20, 4, 12, 30, 8, 40)):
        mask[:] = False
        mask[10 : 10 + side, 50 : 50 + side] = True
        crowd = {"iscrowd": int(side == 40), "segmentation": encode_mask(mask)}
        annotations.append({"id": number, "area": float(side**2), **crowd})
    record = {"height": 100, "width": 200, "annotations": annotations}
    found = prompts_of(record, image_size=400, most=3)  # of 4, 8, 12, 20, 30: one pixel is less than a cell
    assert (found.boxes[:, 2] - found.boxes[:, 0]).tolist() == [8, 24, 60] and not found.drawn
    assert found.boxes[0].tolist() == [100, 20, 108, 28]
    assert (found.points[0] == pytest.approx([103, 23], abs=1)) and found.points[1] == pytest.approx([111, 31], abs=1)
    assert prompts_of({"height": 100, "width": 200, "annotations": []}, image_size=400, most=9).drawn


def test_photos_are_whole_ones_of_the_held_out_with_few_shards_if_each_is_fetched(photo_cache):
    manifest = shards.Manifest.read(photo_cache)
    held = HeldOut(manifest, HeldOutShare(0.4, 0))
    places = choose(manifest, held_out=held, photos=99, seed=0, whole_shards=False)
    keys = [manifest.entries[shard].keys[sample] for shard, sample in places]
    assert len(held) == 2 * len(keys) > 2 and all(key.endswith("-v0") for key in keys)
    assert len({photo_of(key) for key in keys}) == len(keys)
    assert choose(manifest, held_out=held, photos=2, seed=0, whole_shards=False) == places[:2]
    assert len({shard for shard, _ in choose(manifest, held_out=None, photos=3, seed=0, whole_shards=True)}) == 1


def test_a_damaged_photo_is_named_with_what_to_do(photo_cache, tmp_path):
    damaged = shutil.copytree(photo_cache, tmp_path / "cache")
    manifest = shards.Manifest.read(damaged)
    content = bytearray((damaged / manifest.entries[0].name).read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = bytes(3000)
    (damaged / manifest.entries[0].name).write_bytes(content)
    places = [(0, sample) for sample in range(len(manifest.entries[0].keys))]
    with pytest.raises(InputError, match="sample .*; the probe cannot be made: repair the cache .*cache verify"):
        read_batches(manifest, places, store=None, prompts=3)


def test_a_teacher_without_masks_is_refused(photo_cache, teacher):
    class Blank(nn.Module):
        def decode(self, embeddings, *, image_index, multimask=True, **prompts):
            count = 3 if multimask else 1
            return torch.full((len(image_index), count, 32, 32), -1.0), torch.zeros(len(image_index), count)

    with pytest.raises(InputError, match="the teacher finds no mask on any photo of the probe"):
        Measure(Blank(), batches_of(photo_cache), device=torch.device("cpu"))


def test_on_a_gpu_it_waits_once_and_finds_what_the_cpu_finds(photo_cache, teacher, untrained):
    expected = Measure(teacher, batches_of(photo_cache, photos=5), device=torch.device("cpu"))(untrained)
    with pretended_gpu() as counts:
        there = [on_gpu(copy.deepcopy(sam)) for sam in (teacher, untrained)]
        measure = Measure(there[0], batches_of(photo_cache, photos=5), device=CUDA)
        measure(there[1])  # constants are copied at the first
        waited = counts.waited
        found = measure(there[1])
        assert counts.waited - waited == 1, counts
    assert found.keys() == expected.keys()
    assert list(found.values()) == pytest.approx(list(expected.values()), abs=2e-3)


def test_the_picture_has_a_row_for_each_photo(photo_cache, teacher, untrained):
    measure = Measure(teacher, batches_of(photo_cache), device=torch.device("cpu"))
    image = picture(measure, student=untrained, photos=5)
    assert image.width == 3 * 264 + 8 and 16 + 5 * 100 < image.height <= 16 + 5 * 264
