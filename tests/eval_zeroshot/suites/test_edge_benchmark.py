"""The benchmark over folders: the official example's results, an independent matching, and data that is not there."""

import json

import numpy as np
import pytest
import scipy.io
from PIL import Image
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from encoders.errors import InputError
from eval_zeroshot.datasets.bsds import read_annotators, truth_files
from eval_zeroshot.suites.edges.benchmark import score_predictions
from eval_zeroshot.suites.edges.prediction import read_prediction
from eval_zeroshot.suites.edges.thinning import thin


@pytest.mark.parametrize(("kind", "official"), [("ucm2", "test_1"), ("png", "test_2"), ("segs", "test_3"), ("segs", "test_4")])
def test_the_official_example_gives_the_official_numbers(shared_data, kind, official):
    """5 photos at 5 levels. The official matcher is random: its own two runs on `segs` differ by 1.5e-4 in OIS."""
    bench = shared_data / "bsds500_bench5"
    report = score_predictions(bench / kind, data=bench, thresholds=5)
    level, recall, precision, ods, _, _, ois, ap = np.loadtxt(bench / official / "eval_bdry.txt")
    scores = report.scores
    assert scores.ods.f == pytest.approx(ods, abs=1e-3)
    assert scores.ods.level == pytest.approx(level, abs=1e-6)
    assert (scores.ods.recall, scores.ods.precision) == (pytest.approx(recall, abs=1e-3), pytest.approx(precision, abs=1e-3))
    assert scores.ois == pytest.approx(ois, abs=1e-3)
    assert scores.ap == pytest.approx(ap, abs=2e-3)
    photos = report.json()["images"]
    assert list(photos) == ["2018", "3063", "5096", "6046", "8068"]
    official_f = np.loadtxt(bench / official / "eval_bdry_img.txt")[:, 4]
    assert [photo["best_f"] for photo in photos.values()] == pytest.approx(official_f, abs=1.5e-3)


def gradient_map(path):
    """A plain edge detector: gradient of the blurred photo, strongest 1 % saturated. (H, W) uint8."""
    grey = np.asarray(Image.open(path).convert("L"), float)
    strength = ndimage.gaussian_gradient_magnitude(grey, 2)
    return (255 * np.clip(strength / np.quantile(strength, 0.99), 0, 1)).astype(np.uint8)


def matched_independently(edge, truth, radius):
    """Matched pixels of `edge`: neighbours by k-d tree, each connected component by scipy's dense assignment."""
    a, b = np.argwhere(edge), np.argwhere(truth)
    near = cKDTree(a).sparse_distance_matrix(cKDTree(b), radius, output_type="coo_matrix")
    size = len(a) + len(b)
    links = scipy.sparse.coo_array((np.ones(near.nnz), (near.row, near.col + len(a))), shape=(size, size))
    _, labels = connected_components(links, directed=False)
    matched = np.zeros(edge.shape, bool)
    for label in np.unique(labels[near.row]):
        rows, columns = np.flatnonzero(labels[: len(a)] == label), np.flatnonzero(labels[len(a) :] == label)
        distance = np.hypot(*(a[rows][:, None] - b[columns][None]).transpose(2, 0, 1))
        costs = np.where(distance <= radius, distance, 200 * radius)  # 100 radii for each of the two left unmatched
        for row, column in zip(*linear_sum_assignment(costs), strict=True):
            if distance[row, column] <= radius:
                matched[tuple(a[rows[row]])] = True
    return matched


def best_f_independently(prediction, annotators):
    radius = 0.0075 * np.hypot(*prediction.shape)
    best = 0.0
    for index in range(len(prediction.levels)):
        edge = thin(prediction.boundary(index))
        found = [matched_independently(edge, truth, radius) for truth in annotators]
        recall = sum(one.sum() for one in found) / sum(truth.sum() for truth in annotators)
        precision = np.any(found, axis=0).sum() / max(1, edge.sum())
        best = max(best, 2 * recall * precision / max(1e-9, recall + precision))
    return best


def compare_best_f(shared_data, folder, *, names, thresholds):
    data = shared_data / "bsds500"
    for name in names:
        Image.fromarray(gradient_map(data / "images" / "test" / f"{name}.jpg")).save(folder / f"{name}.png")
    report = score_predictions(folder, data=data, thresholds=thresholds)
    truths = truth_files(data, split="test")
    for name in names:
        annotators = [annotator["Boundaries"] > 0 for annotator in read_annotators(truths[name])]
        wanted = best_f_independently(read_prediction(folder / f"{name}.png", thresholds=thresholds), annotators)
        found = report.photos[name]
        best = 2 * found.recall * found.precision / np.maximum(1e-9, found.recall + found.precision)
        assert best.max() == pytest.approx(wanted, abs=1e-3)
        assert report.json()["images"][name]["best_f"] >= best.max() - 1e-12  # interpolation only adds


def test_best_f_equals_that_of_an_independent_matching(shared_data, tmp_path):
    compare_best_f(shared_data, tmp_path, names=["100007"], thresholds=3)


@pytest.mark.slow
def test_best_f_equals_that_of_an_independent_matching_on_ten_photos(shared_data, tmp_path):
    """Takes about a minute: dense assignments of up to thousands of pixels, 9 levels."""
    names = list(truth_files(shared_data / "bsds500", split="test"))[:10]
    compare_best_f(shared_data, tmp_path, names=names, thresholds=9)


@pytest.fixture
def bsds(tmp_path):
    """Two 20 x 30 photos' ground truth in the official layout: one annotator draws column 12, the other row 5 too."""
    column, both = np.zeros((2, 20, 30), np.uint8)
    column[:, 12] = both[:, 12] = both[5] = 1
    cells = np.empty((1, 2), object)
    for index, boundary in enumerate((column, both)):
        cells[0, index] = {"Segmentation": np.ones((20, 30), np.uint16), "Boundaries": boundary}
    folder = tmp_path / "BSDS500" / "data" / "groundTruth" / "test"
    folder.mkdir(parents=True)
    for name in ("7", "12"):
        scipy.io.savemat(folder / f"{name}.mat", {"groundTruth": cells})
    return tmp_path / "BSDS500"


def save_edges(folder, name, **strengths):
    """A 20 x 30 PNG with some columns ("c12") and rows ("r3") at a grey value."""
    grey = np.zeros((20, 30), np.uint8)
    for where, value in strengths.items():
        grey[(slice(None), int(where[1:])) if where[0] == "c" else int(where[1:])] = value
    folder.mkdir(exist_ok=True)
    Image.fromarray(grey).save(folder / f"{name}.png")


def test_a_case_by_hand(bsds, tmp_path):
    # radius 0.0075 x 36.06 = 0.27: only equal pixels match. Columns 12 and 25 are drawn, 20 px each.
    save_edges(tmp_path / "p", "7", c12=200, c25=100)
    report = score_predictions(tmp_path / "p", data=bsds)
    counts = report.photos["7"]
    low, high = 38, 77  # levels 0.39 and 0.78: 100 / 255 reaches the first, 200 / 255 the second
    assert [int(counts.edge[level]) for level in (low, high, 78)] == [40, 20, 0]
    # truth: column 12 of both, row 5 of one: 20 + (20 + 30 - 1) px. Found: the column twice, and (5, 25) of the row
    assert [int(value[low]) for value in (counts.truth, counts.matched_truth, counts.matched_edge)] == [69, 41, 21]
    assert [int(value[high]) for value in (counts.truth, counts.matched_truth, counts.matched_edge)] == [69, 40, 20]
    f = 2 * (40 / 69) / (40 / 69 + 1)
    assert report.json()["images"]["7"] == {"best_f": pytest.approx(f), "best_threshold": pytest.approx(0.4)}
    assert report.scores.ois == pytest.approx(f)


def test_only_photos_with_an_edge_map_count_and_others_files_are_left_alone(bsds, tmp_path):
    save_edges(tmp_path / "p", "12", c12=255)
    save_edges(tmp_path / "p", "999", c3=255)
    (tmp_path / "p" / "notes.txt").write_text("mine")
    report = score_predictions(tmp_path / "p", data=bsds)
    assert list(report.photos) == ["12"]
    assert json.loads(json.dumps(report.json()))["n"] == 1


def test_two_processes_count_what_one_does(bsds, tmp_path):
    for name, column in (("7", 12), ("12", 13)):
        save_edges(tmp_path / "p", name, **{f"c{column}": 150})
    seen = []
    two = score_predictions(
        tmp_path / "p", data=bsds, processes=2, progress=lambda done, total: seen.append((done, total))
    )
    assert two.json() == score_predictions(tmp_path / "p", data=bsds).json()
    assert seen == [(1, 2), (2, 2)]


def test_height_and_width_swapped_is_refused_by_name(bsds, tmp_path):
    (tmp_path / "p").mkdir()
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(tmp_path / "p" / "7.png")
    with pytest.raises(InputError, match=r"7\.png: the prediction is \(30, 20\).*\(20, 30\)"):
        score_predictions(tmp_path / "p", data=bsds)


def test_what_is_missing_is_said_with_what_to_do(bsds, tmp_path):
    save_edges(tmp_path / "p", "7", c12=255)
    with pytest.raises(InputError, match=r"nowhere does not exist; expected BSDS500.*BSR_bsds500\.tgz"):
        score_predictions(tmp_path / "p", data=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no groundTruth/val/\*\.mat"):
        score_predictions(tmp_path / "p", data=bsds, split="val")
    with pytest.raises(InputError, match=r"q is no folder; expected edge maps NAME\.png or NAME\.mat, e\.g\. 12\.png"):
        score_predictions(tmp_path / "q", data=bsds)
    (tmp_path / "q").mkdir()
    with pytest.raises(InputError, match="no edge map of a photo of this split; expected NAME.png or NAME.mat of 12, 7"):
        score_predictions(tmp_path / "q", data=bsds)
    scipy.io.savemat(tmp_path / "p" / "7.mat", {"ucm2": np.zeros((41, 61))})
    with pytest.raises(InputError, match=r"both 7\.mat and 7\.png; keep one"):
        score_predictions(tmp_path / "p", data=bsds)
