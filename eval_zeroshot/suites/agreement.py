"""Agreement with a reference model, usually the teacher, on photos without annotations: no ground truth is needed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from encoders.prompts import Prompts
from encoders.samples.sample import Sample
from eval_zeroshot.metrics.calibration import ECE_BINS, predicted_iou_and_stability
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.predictors.reference import BOX, POINT, ReferencedPhotos
from eval_zeroshot.predictors.scoring import ask_scored
from eval_zeroshot.prompting.clicks import point_prompts
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.result import Result
from eval_zeroshot.suites.object_iou import Answers, InstanceIou, Objects

BOTH = "agreement"  # stands for the two suites
NAMES = {"agreement_box": BOX, "agreement_point": POINT}
ASKED = {
    BOX: "box prompts, single mask output of both",
    POINT: "one foreground point a prompt, the most confident of three masks of both",
}


class Agreement(InstanceIou):
    """IoU of a model's mask with the reference's for the same prompt; see `protocol`.

    Args:
        name: of `NAMES`, which says whether points or boxes are asked.
        photos: samples with the reference's masks; its name and identity go into protocol and results.
    """

    version = "1"
    primary = "iou"
    unit_of_n = "prompts"
    reasons = ("empty",)

    def __init__(self, name: str, *, photos: ReferencedPhotos) -> None:
        self.name = name
        self.kind = NAMES[name]
        self.title = f"{BOTH} ({name.removeprefix(BOTH)[1:]})"
        self._reference = photos.reference.name
        further = "; oracle: the best of the model's three masks" if self.kind == POINT else ""
        self.protocol = (
            f"agreement with a model, without ground truth. Reference: {photos.reference.in_words()}. {ASKED[self.kind]}; "
            f"{photos.prompts_in_words}; IoU with the reference's mask for the same prompt, mean over prompts, those skipped "
            "whose reference mask is empty; photos whose long side exceeds 1024 px are brought to that; sizes by the area of "
            "the reference's mask. extra: the model's predicted IoU, its calibration error against the reference's mask "
            f"(ece, {ECE_BINS} bins) and stability{further}"
        )

    def counted_ids(self, sample: Sample) -> list[int]:
        return super().counted_ids(self._asked(sample))

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        return super().observe(predictor, self._asked(sample))

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        of_three = self.kind == POINT
        prompts = point_prompts(objects.boxes[:, :2]) if of_three else Prompts(boxes=objects.boxes)
        seen = ask_scored(predictor, prompts, truths=objects.truths, shape=objects.shape, multimask=of_three)
        values = {"iou": seen.iou}
        if of_three:
            values["oracle"] = seen.ious.max(axis=1)
        values |= predicted_iou_and_stability(seen.score, seen.logits, shape=objects.shape)
        return Answers(values=values, masks=seen.masks)

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        found = super().summarise(observations, model=model, dataset=dataset, reference=reference)
        return found.model_copy(update={"reference": self._reference})

    def _asked(self, sample: Sample) -> Sample:
        """The objects of this suite's kind alone, the prompt in place of the box; a point is a box without an extent."""
        chosen = np.flatnonzero(sample.category_ids == self.kind)
        prompts = [sample.meta["prompts"][index] for index in chosen]
        return replace(
            sample,
            boxes=[prompt["box"] if self.kind == BOX else prompt["point"] * 2 for prompt in prompts],
            masks=[sample.masks[int(index)] for index in chosen],
            areas=sample.areas[chosen],
            category_ids=sample.category_ids[chosen],
            annotation_ids=sample.annotation_ids[chosen],
            crowd=sample.crowd[chosen],
        )
