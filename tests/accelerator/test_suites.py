"""Every suite that asks a model, and everything mode, on a pretended GPU: the CPU's numbers, and bounded waiting."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import encoders
from encoders.samples.sample import Sample
from eval_zeroshot import evaluate
from eval_zeroshot.datasets.opening import open_dataset
from eval_zeroshot.suites.edges.suite import Edges
from eval_zeroshot.suites.everything.settings import MaskSettings
from eval_zeroshot.suites.everything.suite import Everything
from eval_zeroshot.suites.registry import ready_suites
from tests.accelerator.pretend import on_gpu, pretended_gpu

SAMPLE = Path(__file__).resolve().parents[2] / "distill" / "sample" / "val"
ALL_MASKS = MaskSettings(points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0)
OTHERS = ("edges", "everything", "everything_32", "video")  # the first two with fewer points below
OF_PHOTOS = {name: suite for name, suite in ready_suites().items() if name not in OTHERS}
OF_PHOTOS |= {"edges": Edges(points_per_side=4), "everything": Everything(settings=ALL_MASKS)}
OF_OBJECTS = ("boxes", "masks", "areas", "category_ids", "annotation_ids", "crowd")
# Copies to the host for two objects on one photo: one for each round of prompts
TO_HOST = {"anomaly": 1, "box": 1, "box_edgesam": 4, "box_efficientvit_sam": 1, "box_jitter": 4, "edges": 2, "everything": 3}
TO_HOST |= {"point": 9, "point_edgesam": 4, "point_efficientvit_sam": 5, "point_shift": 4, "saliency": 2}
MOST_OTHERS = 4  # waits: for uploads of the photo, its size, mean and standard deviation, and in `edges` where masks are


@pytest.fixture(scope="module")
def photo():
    """A photo of the shipped sample at half its size with two objects and one annotator's edge; not square."""
    sample = open_dataset(SAMPLE)[0]
    masks = [mask[::2, ::2] for mask in sample.masks[:2]]
    outline = np.zeros(masks[0].shape, bool)
    outline[30, 40:90] = True
    return Sample(
        key=sample.key,
        image=sample.image[::2, ::2].copy(),
        boxes=sample.boxes[:2] / 2,
        masks=masks,
        boundaries=[outline],
        meta={"category": "bottle"},
    )


@pytest.fixture(scope="module")
def sams():
    """One model twice: on the CPU and on the pretended GPU."""
    return encoders.load("sam_demo", image_size=64), on_gpu(encoders.load("sam_demo", image_size=64))


@pytest.mark.parametrize("name", sorted(OF_PHOTOS))
def test_a_suite_gives_the_cpus_numbers(name, photo, sams):
    cpu, gpu = sams
    suite = OF_PHOTOS[name]
    if name == "saliency":  # takes one object a photo
        photo = replace(photo, **{field: getattr(photo, field)[:1] for field in OF_OBJECTS})
    (expected,) = evaluate({"model": encoders.Predictor(cpu)}, suites=[suite], samples=[photo])
    with pretended_gpu() as counts:
        (found,) = evaluate({"model": encoders.Predictor(gpu)}, suites=[suite], samples=[photo])
    assert (found.n, found.skipped) == (expected.n, expected.skipped)
    assert found.value == pytest.approx(expected.value, abs=2e-3)  # the decoders differ by rounding
    assert counts.launched, "nothing ran on the device"
    assert counts.to_host == TO_HOST[name], (name, counts)
    assert counts.waited - counts.to_host <= MOST_OTHERS, (name, counts)
