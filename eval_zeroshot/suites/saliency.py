"""The saliency suite: how far a mask is from what people say stands out in a photo."""

import numpy as np

from encoders.errors import InputError
from encoders.geometry import mask_box
from encoders.prompts import Prompts
from encoders.samples.overlap import mask_iou
from encoders.samples.rle import encode_mask
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.duts import HOW_TO_GET
from eval_zeroshot.predictors.protocol import PredictorLike, ask
from eval_zeroshot.prompting.clicks import centre_point, click_prompts
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.reading import PromptKind
from eval_zeroshot.results.result import Direction
from eval_zeroshot.suites.photo_suite import MeanSuite


class Saliency(MeanSuite):
    """Mean absolute error of the mask for the oracle's box; see `protocol`."""

    name = "saliency"
    version = "1"
    direction: Direction = "lower"
    primary = "box"
    unit_of_n = "photos"
    prompt: PromptKind | None = "box"
    title = "MAE (lower is better)"
    family = "saliency"
    protocol = (
        "stated (RepViT-SAM): the mean absolute error on DUTS, lower is better; not stated: how the models were prompted, so "
        "its numbers (.046 for SAM ViT-H) cannot be compared with these. ours: an oracle's prompt, the box of all that the "
        "truth marks, one a photo; single mask output, taken as a saliency of 0 or 1 at the photo's resolution; the error is "
        "the share of wrong pixels of a photo; mean over photos, those where nothing stands out are skipped. extra: click, "
        "the same error for the most confident of three masks at one click on the truth's pixel farthest from its boundary; "
        "box IoU"
    )

    def counted_ids(self, sample: Sample) -> list[int]:
        """The photo's one mask; none where it is empty.

        Raises:
            InputError: the photo has no or several masks, so what stands out is not given.
        """
        if len(sample.masks) != 1:
            raise InputError(
                f"the saliency suite needs one mask a photo, of all that stands out; {sample.key} has {len(sample.masks)}. "
                f"Give {HOW_TO_GET}"
            )
        return [int(sample.annotation_ids[0])] if sample.masks[0].any() else []

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        ids = self.counted_ids(sample)
        if not ids:
            return Observation(key=sample.key, skipped={"photo where nothing stands out": 1})
        truth = sample.masks[0]
        boxed, _, _ = ask(predictor, Prompts(boxes=mask_box(truth)[None]), shape=sample.shape, multimask=False)
        three, scores, _ = ask(predictor, click_prompts([[centre_point(truth)]]), shape=sample.shape, multimask=True)
        mask, clicked = boxed[0, 0], three[0, int(scores[0].argmax())]
        return Observation(
            key=sample.key,
            ids=ids,
            areas=[float(truth.sum())],
            values={
                "box": [mean_absolute_error(mask, truth)],
                "click": [mean_absolute_error(clicked, truth)],
                "box_iou": [float(mask_iou(mask, truth))],
            },
            masks=[encode_mask(mask)],
        )


def mean_absolute_error(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Mean over pixels of |prediction - truth|.

    Args:
        prediction: (H, W), bool or values from 0 to 1.
        truth: (H, W) bool.

    Raises:
        ValueError: they are of different sizes.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"maps of {prediction.shape} and {truth.shape} (height, width) cannot be compared")
    return float(np.abs(prediction.astype(np.float64) - truth).mean())
