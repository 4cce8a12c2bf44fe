"""The box suite: ground-truth boxes."""

from encoders.prompts import Prompts
from eval_zeroshot.metrics.calibration import ECE_BINS, predicted_iou_and_stability
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.predictors.scoring import ask_tokens_scored
from eval_zeroshot.results.reading import PromptKind
from eval_zeroshot.suites.object_iou import OF_THREE_TITLES, Answers, InstanceIou, Objects, most_confident_iou


class BoxIou(InstanceIou):
    """Ground-truth boxes; see `protocol`."""

    name = "box"
    version = "2"
    primary = "single"
    prompt: PromptKind | None = "box"
    title = "box mIoU"
    family = "box"
    further_titles = OF_THREE_TITLES
    protocol = (
        "ground-truth box as annotated, one prompt an object; single mask output (SAM's mask token 0); IoU at the photo's "
        "resolution; mean over objects, crowds skipped. extra: most_confident and oracle of the three masks; predicted "
        f"IoU, its calibration error (ece, {ECE_BINS} bins) and stability of the single mask"
    )

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        seen = ask_tokens_scored(predictor, Prompts(boxes=objects.boxes), truths=objects.truths, shape=objects.shape)
        three, scores = seen.ious[:, 1:], seen.scores[:, 1:]
        return Answers(
            values={
                "single": seen.ious[:, 0],
                "most_confident": most_confident_iou(three, scores),
                "oracle": three.max(axis=1),
                **predicted_iou_and_stability(seen.score, seen.logits, shape=objects.shape),
            },
            masks=seen.masks,
        )
