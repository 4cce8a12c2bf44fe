"""Boxes and points as EdgeSAM's evaluation asks them, so that its published mIoU has a column to be held against."""

from abc import abstractmethod
from dataclasses import replace

import numpy as np

from encoders.prompts import Prompts
from encoders.samples.overlap import mask_iou
from eval_zeroshot.metrics.calibration import ECE_BINS, predicted_iou_and_stability
from eval_zeroshot.predictors.protocol import PredictorLike, ask
from eval_zeroshot.prompting.clicks import Click, click_prompts
from eval_zeroshot.prompting.seeds import object_random
from eval_zeroshot.results.reading import PromptKind
from eval_zeroshot.suites.edgesam_frame import (
    FEWEST_ERRORS,
    answer_cells,
    centre_in_frame,
    random_click,
    resampled_truths,
    truth_cells,
)
from eval_zeroshot.suites.object_iou import (
    OF_THREE_TITLES,
    ORACLE_TITLE,
    Answers,
    InstanceIou,
    Objects,
    most_confident_iou,
)

REFINEMENTS = 2  # published: the prompt alone, +1 and +2 points
COMMON = (
    "then +1 and +2 points, each a random cell of the error region at 256 x 256 cells of the 1024 px frame, none where the "
    f"region has under {FEWEST_ERRORS} cells, given with all earlier prompts, the mask never fed back; crowds skipped; mean "
    "over objects (EdgeSAM, evaluation/eval_mIoU.py, --refine-iter 3 --num-multimask-outputs 1)"
)
HERE = (
    "points seeded by photo and object, there by the order of the data set; no point is SAM's padding token, there a token "
    "of zeros; all objects of a photo, there 64 drawn at random where it has more; IoU with the truth as annotated, there "
    "with a truth that two resamplings dilate: resampled_truth has that number for the first prompt; objects without a "
    "pixel skipped and counted. extra besides: most_confident and oracle of three masks for the first prompt; predicted "
    f"IoU, its calibration error (ece, {ECE_BINS} bins) and stability of the first mask"
)


class _EdgeSamRule(InstanceIou):
    """The first mask token for a prompt, then with random points added."""

    version = "1"
    primary = "first"

    @abstractmethod
    def first_prompt(self, objects: Objects) -> tuple[np.ndarray | None, list[list[Click]]]:
        """Boxes (P, 4) or None, and the clicks of each object."""

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        boxes, history = self.first_prompt(objects)
        cells = truth_cells(objects.truths)
        values: dict[str, np.ndarray] = {}
        first = objects.truths[:0]
        for count in range(REFINEMENTS + 1):
            prompts = replace(click_prompts(history) if history[0] else Prompts(), boxes=boxes)
            masks, scores, logits = ask(predictor, prompts, shape=objects.shape, multimask=False)
            ious = mask_iou(masks[:, 0], objects.truths)
            if count == 0:
                first, values["first"] = masks[:, 0], ious
                resampled = np.stack(list(resampled_truths(objects.truths)))
                values["resampled_truth"] = mask_iou(first, resampled)
                three, three_scores, _ = ask(predictor, prompts, shape=objects.shape, multimask=True)
                three_ious = mask_iou(three, objects.truths[:, None])
                values["most_confident"] = most_confident_iou(three_ious, three_scores)
                values["oracle"] = three_ious.max(axis=1)
                values |= predicted_iou_and_stability(scores[:, 0], logits[:, 0], shape=objects.shape)
            else:
                values[f"plus_{count}"] = ious
            if count < REFINEMENTS:
                answers = answer_cells(masks[:, 0], logits[:, 0])
                for number, id_ in enumerate(objects.ids):
                    random = object_random("edgesam", objects.key, int(id_), count, seed=self.seed)
                    click = random_click(cells[number], answers[number], shape=objects.shape, random=random)
                    history[number].append(click)
        return Answers(values=values, masks=first)


class EdgeSamBox(_EdgeSamRule):
    """Ground-truth boxes; see `protocol`."""

    name = "box_edgesam"
    prompt: PromptKind | None = "box"
    title = "box mIoU (edgesam)"
    family = "box"
    further_titles = OF_THREE_TITLES
    protocol = f"stated: ground-truth box, first mask token; {COMMON}; done here: {HERE}"

    def first_prompt(self, objects: Objects) -> tuple[np.ndarray | None, list[list[Click]]]:
        return objects.boxes, [[] for _ in objects.ids]


class EdgeSamPoint(_EdgeSamRule):
    """Centre points; see `protocol`."""

    name = "point_edgesam"
    prompt: PromptKind | None = "point"
    title = "1 click mIoU (edgesam)"
    family = "point"
    further_titles = ORACLE_TITLE
    protocol = (
        "stated: the pixel farthest from the boundary of the object in the 1024 px frame (--point-from mask-center), first "
        f"mask token; {COMMON}; done here: exact distances, there kornia's approximate ones; {HERE}"
    )

    def first_prompt(self, objects: Objects) -> tuple[np.ndarray | None, list[list[Click]]]:
        return None, [[centre_in_frame(truth)] for truth in objects.truths]
