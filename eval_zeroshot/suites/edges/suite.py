"""The edge suite: SAM's zero-shot edge detection by any predictor, scored by the BSDS500 benchmark."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from encoders.errors import InputError
from encoders.files import atomic_path
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.bsds import HOW_TO_GET
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.reading import ErrorKind
from eval_zeroshot.results.result import Estimate, Result
from eval_zeroshot.results.statistics import RESAMPLES
from eval_zeroshot.suites.edges.benchmark import BENCHMARK
from eval_zeroshot.suites.edges.counts import Counts, count_matches
from eval_zeroshot.suites.edges.grid_masks import BOX_NMS_IOU, POINTS_PER_SIDE, distinct, grid_masks
from eval_zeroshot.suites.edges.mask_edges import mask_edges
from eval_zeroshot.suites.edges.prediction import THRESHOLDS, EdgePrediction, EdgeStrength, read_prediction
from eval_zeroshot.suites.edges.scores import best_f, edge_scores
from eval_zeroshot.suites.edges.suppression import edge_nms
from eval_zeroshot.suites.photo_suite import PhotoSuite

PHOTO = "photo sha256"  # text chunk of a kept map

class Edges(PhotoSuite):
    """Edges of all masks of a grid of clicks; see `protocol`. Photos need annotators' boundaries, as BSDS500 has them.

    Args:
        points_per_side: of the grid; published numbers use 16.
    """

    name = "edges"
    version = "2"
    resamples = RESAMPLES
    unit_of_n = "photos"
    error: ErrorKind | None = "jackknife"
    made_of_logits = True
    title = "ODS"
    family = "edges"

    def __init__(self, *, points_per_side: int = POINTS_PER_SIDE) -> None:
        self.points_per_side = points_per_side
        self.protocol = (
            f"SAM's zero-shot edges (arXiv:2304.02643, D.2): {points_per_side} x {points_per_side} foreground points, three "
            f"masks each, no quality filter, box NMS at IoU {BOX_NMS_IOU} by predicted IoU, Sobel of the probabilities at the "
            "photo's resolution where a mask's outer boundary lies, pixelwise maximum, brought to [0, 1]; ours, since the "
            "paper leaves it open: the outer boundary is the pixels that touch a mask from outside, edge NMS is Canny's "
            "comparison of a map blurred by 1 px with the direction across from its second derivatives at 2 px, on crests "
            "alone; 8 bits. Then "
            f"{BENCHMARK.format(thresholds=THRESHOLDS)}. extra: OIS, AP, R50; ± is a jackknife over photos"
        )

    def counted_ids(self, sample: Sample) -> list[int]:
        """None: the photo counts, not its objects."""
        return []

    def edge_map(self, predictor: PredictorLike, sample: Sample) -> np.ndarray:
        """(H, W) uint8, 255 the strongest edge, of the photo that the predictor has set."""
        masks = distinct(grid_masks(predictor, shape=sample.shape, per_side=self.points_per_side))
        device = getattr(getattr(predictor, "sam", None), "device", "cpu")
        edges = edge_nms(mask_edges(masks.logits, shape=sample.shape, device=device))
        return np.asarray(np.round(255 * edges), np.uint8)

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        return self.observe_keeping(predictor, sample, folder=None)

    def observe_keeping(self, predictor: PredictorLike, sample: Sample, *, folder: Path | None) -> Observation:
        """Count one photo's edges; its map is kept as KEY.png, and taken from there where one of these pixels is.

        Raises:
            InputError: nobody has drawn the sample's boundaries.
        """
        if not sample.boundaries:
            raise InputError(f"the edges suite needs drawn boundaries, photo {sample.key} has none; give {HOW_TO_GET}")
        prediction: EdgePrediction
        if folder is None:
            prediction = EdgeStrength(self.edge_map(predictor, sample) / 255.0)
        else:
            path, digest = folder / f"{sample.key}.png", sample.image_sha256()
            if not _is_map_of(path, digest):
                folder.mkdir(parents=True, exist_ok=True)
                facts = PngInfo()
                facts.add_text(PHOTO, digest)
                with atomic_path(path) as temporary:
                    Image.fromarray(self.edge_map(predictor, sample)).save(temporary, format="PNG", pnginfo=facts)
            prediction = read_prediction(path)
        counts = count_matches(prediction, sample.boundaries)
        values = {field.name: [float(value) for value in getattr(counts, field.name)] for field in fields(counts)}
        return Observation(key=sample.key, values=values)

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        """ODS with its error over photos; there is no agreement with a reference."""
        photos = _counts(observations)
        count = len(photos)
        scores = edge_scores(photos) if photos else None
        ods = Estimate(value=None if scores is None else scores.ods.f, n=count, standard_error=jackknife_error(photos))
        extra = {} if scores is None else {"OIS": scores.ois, "AP": scores.ap, "R50": scores.r50}
        numbers = {name: Estimate(value=value, n=count) for name, value in extra.items()}
        return self.result(ods, observations, model=model, dataset=dataset, extra=numbers)

    def resample(
        self,
        observations: Sequence[Observation],
        *,
        weights: np.ndarray,
        reference: Sequence[Observation] | None = None,
    ) -> dict[str, np.ndarray]:
        """See `suite.Resamples`: ODS alone, from the counts of the photos drawn."""
        photos = _counts(observations)
        names = [field.name for field in fields(Counts) if field.name != "levels"]
        sums = {name: weights @ np.stack([getattr(counts, name) for counts in photos]) for name in names}  # (B, levels)
        drawn = [
            Counts(levels=photos[0].levels, **{name: sums[name][row] for name in names}) for row in range(len(weights))
        ]
        return {"value": np.asarray([best_f(counts).f for counts in drawn])}


def _is_map_of(path: Path, image_sha256: str) -> bool:
    """Whether a kept map is whole and says that it was made of these pixels."""
    try:
        with Image.open(path) as image:
            image.load()
            return dict(image.info).get(PHOTO) == image_sha256
    except OSError:
        return False


def _counts(observations: Sequence[Observation]) -> list[Counts]:
    return [Counts(**{name: np.asarray(values) for name, values in seen.values.items()}) for seen in observations]


def jackknife_error(photos: Sequence[Counts]) -> float | None:
    """Standard error of ODS over photos, from leaving out each in turn; None for fewer than two."""
    count = len(photos)
    if count < 2:
        return None
    without = [best_f(Counts.total([*photos[:index], *photos[index + 1 :]])).f for index in range(count)]
    return float(np.sqrt((count - 1) * np.var(without)))
