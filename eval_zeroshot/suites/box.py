"""The box suite: ground-truth boxes."""

from encoders.prompts import Prompts
from encoders.samples.overlap import mask_iou
from eval_zeroshot.metrics.calibration import ECE_BINS, predicted_iou_and_stability
from eval_zeroshot.predictors.protocol import PredictorLike, ask_single_and_three
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
        single, three = ask_single_and_three(predictor, Prompts(boxes=objects.boxes), shape=objects.shape)
        (masks, predicted, logits), (candidates, scores, _) = single, three
        ious = mask_iou(candidates, objects.truths[:, None])
        return Answers(
            values={
                "single": mask_iou(masks[:, 0], objects.truths),
                "most_confident": most_confident_iou(ious, scores),
                "oracle": ious.max(axis=1),
                **predicted_iou_and_stability(predicted[:, 0], logits[:, 0], shape=objects.shape),
            },
            masks=masks[:, 0],
        )
