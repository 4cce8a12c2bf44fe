"""The edge suite from a predictor to its result, resumed and on BSDS500's layout."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from scipy import ndimage

import encoders
from encoders.errors import InputError
from encoders.geometry import resized_shape
from encoders.predictor import Prediction
from encoders.sam import upscale_logits
from eval_zeroshot import evaluate, get_suite, open_dataset
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.suites.edges.counts import Counts
from eval_zeroshot.suites.edges.prediction import region_boundary
from eval_zeroshot.suites.edges.suite import Edges, jackknife_error
from eval_zeroshot.suites.edges.thinning import thin
from eval_zeroshot.summaries import summarise_all

IMAGE_SIZE, SHAPE = 256, (240, 360)


def regions(corner):
    """A block on a ground that is split at column 250, (240, 360) labels."""
    labels = np.ones(SHAPE, np.uint16)
    labels[:, 250:] = 2
    row, column = corner
    labels[row : row + 80, column : column + 120] = 3
    return labels


class KnowsRegions:
    """Answers a click with the region under it, as a decoder would: soft logits of the input frame."""

    identity = "regions"

    def __init__(self, labels):
        self.labels, self.asked, self.images = labels, 0, 0

    def set_image(self, image, /):
        self.images += 1
        self.here = self.labels[int(image[0, 0, 0] > 128)]  # the photo's brightness says which one it is

    def predict(self, prompts, *, multimask=True):
        self.asked += len(prompts.points)
        height, width = resized_shape(SHAPE, image_size=IMAGE_SIZE)
        logits = []
        for x, y in prompts.points[:, 0].astype(int):
            inside = self.here == self.here[y, x]
            signed = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
            frame = torch.full((1, 1, IMAGE_SIZE, IMAGE_SIZE), -9.0)
            small = torch.nn.functional.interpolate(torch.from_numpy(signed)[None, None].float(), (height, width))
            frame[..., :height, :width] = small.clamp(-9, 9)
            logits.append(torch.nn.functional.avg_pool2d(frame, 4)[0])
        three = torch.stack(logits).expand(-1, 3, -1, -1)
        full = upscale_logits(three, shape=SHAPE, image_size=IMAGE_SIZE)
        scores = np.full((len(prompts.points), 3), 0.8, np.float32)
        return Prediction((full > 0).numpy(), scores, three.numpy())


@pytest.fixture
def bsds(tmp_path):
    """Two photos with two annotators each, in the official layout; a dark and a bright one."""
    found = []
    for kind in ("images", "groundTruth"):
        (tmp_path / "BSDS500" / "data" / kind / "test").mkdir(parents=True)
    for name, corner, grey in (("31", (30, 60), 20), ("204", (120, 90), 220)):
        labels = regions(corner)
        found.append(labels)
        cells = np.empty((1, 2), object)
        for index in range(2):
            boundary = thin(region_boundary(labels)).astype(np.uint8)
            cells[0, index] = {"Segmentation": labels, "Boundaries": boundary}
        data = tmp_path / "BSDS500" / "data"
        scipy.io.savemat(data / "groundTruth" / "test" / f"{name}.mat", {"groundTruth": cells})
        Image.new("RGB", SHAPE[::-1], (grey,) * 3).save(data / "images" / "test" / f"{name}.jpg")
    return tmp_path / "BSDS500", found


def test_a_predictor_that_knows_the_regions_finds_their_edges(bsds):
    folder, labels = bsds
    dataset = open_dataset(folder)
    assert (dataset.name, [sample.key for sample in dataset]) == ("BSDS500 test", ["204", "31"])
    (result,) = evaluate({"knows": KnowsRegions(labels)}, suites=[Edges(points_per_side=4)], samples=dataset)
    assert result.value > 0.95
    assert (result.n, result.images, result.dataset) == (2, 2, "BSDS500 test")
    assert {name: estimate.n for name, estimate in result.extra.items()} == {"OIS": 2, "AP": 2, "R50": 2}
    assert result.extra["OIS"].value >= result.value - 1e-9
    assert "4 x 4 foreground points" in result.protocol and "T = 99" in result.protocol


def test_the_same_call_continues_and_maps_that_are_there_are_kept(bsds, tmp_path):
    folder, labels = bsds
    arguments = {"suites": [Edges(points_per_side=4)], "state": tmp_path / "state"}
    dataset = open_dataset(folder)
    whole = evaluate({"m": KnowsRegions(labels)}, samples=dataset, **arguments)
    maps = sorted((tmp_path / "state").glob("*/*.png"))
    assert [path.name for path in maps] == ["204.png", "31.png"]
    with Image.open(maps[0]) as image:
        assert (image.mode, image.size) == ("L", SHAPE[::-1])
    again = KnowsRegions(labels)
    assert evaluate({"m": again}, samples=dataset, **arguments) == whole
    assert (again.images, again.asked) == (0, 0)
    for path in (tmp_path / "state").glob("*.jsonl"):  # as if killed after the maps were written
        path.unlink()
    maps[1].unlink()
    assert evaluate({"m": again}, samples=dataset, **arguments) == whole
    assert again.asked == 16  # the grid of one photo


def test_a_map_of_another_photo_of_that_name_is_made_anew(bsds, tmp_path):
    folder, labels = bsds
    first, second = open_dataset(folder)
    suite = Edges(points_per_side=4)
    model = KnowsRegions(labels)
    for sample, asked in ((first, 16), (first, 16), (replace(second, key=first.key), 32)):
        model.set_image(sample.image)
        observation = suite.observe_keeping(model, sample, folder=tmp_path)
        assert model.asked == asked
    model.set_image(second.image)
    assert observation.values == suite.observe(model, second).values
    (tmp_path / f"{first.key}.png").write_bytes(b"torn")
    assert suite.observe_keeping(model, replace(second, key=first.key), folder=tmp_path) == observation


def test_photos_without_drawn_boundaries_are_refused(make_sample):
    with pytest.raises(InputError, match="photo a has none; give BSDS500: unpack"):
        Edges().observe(KnowsRegions([]), make_sample((1, 1, 9, 4)))


def test_a_real_model_takes_the_same_way(bsds):
    """The demo teacher at a small size on a coarse grid: its map is an edge map, and not an empty one."""
    folder, _ = bsds
    sample = next(iter(open_dataset(folder, limit=1)))
    predictor = encoders.Predictor(encoders.load("sam_demo", image_size=128))
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), dtype=np.uint8))
    edges = Edges(points_per_side=3).edge_map(predictor, sample)
    assert (edges.shape, edges.dtype, edges.min()) == (SHAPE, np.uint8, 0)
    assert edges.max() > 128
    assert 0 < (edges > 0).mean() < 0.5  # lines, not areas


def test_the_error_over_photos_by_hand():
    # F is 0.8 on one photo and 0.5 on the other: leaving out each gives 0.5 and 0.8, whose jackknife error is 0.15
    ten = np.array([10])
    photos = [
        Counts(levels=np.array([0.5]), matched_truth=found, truth=ten, matched_edge=found, edge=ten)
        for found in (np.array([8]), np.array([5]))
    ]
    assert jackknife_error(photos) == pytest.approx(0.15)
    assert jackknife_error(photos[:1]) is None


def test_the_interval_of_ods_is_of_whole_photos():
    """Counts at two levels of two photos: F of the first is 1, of the second 0.5 at best."""
    suite = get_suite("edges")
    levels = [0.2, 0.8]
    perfect = {"matched_truth": [10, 10], "truth": [10, 10], "matched_edge": [10, 10], "edge": [10, 10]}
    half = {"matched_truth": [5, 5], "truth": [10, 10], "matched_edge": [5, 5], "edge": [10, 10]}
    seen = [Observation(key=key, values={"levels": levels} | values) for key, values in (("a", perfect), ("b", half))]
    drawn = suite.resample(seen, weights=np.asarray([[2, 0], [1, 1], [0, 2]]))
    assert drawn["value"].tolist() == pytest.approx([1.0, 0.75, 0.5])
    results = summarise_all(suite, {"m": seen, "worse": [seen[1], seen[1]]}, dataset="d", against="worse")
    assert (results[0].low, results[0].high) == pytest.approx((0.5, 1.0))
    assert results[0].difference.value == pytest.approx(0.25)
    assert (results[0].difference.low, results[0].difference.high) == pytest.approx((0.0, 0.5))
