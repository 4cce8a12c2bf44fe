"""What the shipped suites measure and need, by name; apart from the suites, which are slow to import."""

from dataclasses import dataclass

COCO = "COCO or LVIS annotations and their photos"
DETECTOR = f"{COCO}, and a detector's results (--boxes)"
PHOTOS = "photos without annotations; --reference says whose masks count"


@dataclass(frozen=True)
class About:
    """One line each on what a suite measures and what data it needs."""

    measures: str
    data: str


ABOUT = {
    "box": About("IoU with ground-truth boxes as prompts", COCO),
    "point": About("IoU after 1, 2, 3, 5 and 9 clicks", COCO),
    "box_edgesam": About("the same as EdgeSAM's code measures it: boxes", COCO),
    "point_edgesam": About("the same as EdgeSAM's code measures it: clicks", COCO),
    "box_efficientvit_sam": About("the same as EfficientViT-SAM's code measures it: boxes", COCO),
    "point_efficientvit_sam": About("the same as EfficientViT-SAM's code measures it: clicks", COCO),
    "box_jitter": About("IoU with boxes whose sides are 5, 10 and 20 % off", COCO),
    "point_shift": About("IoU of a click that is 25, 50 and 100 % off the centre", COCO),
    "instance_sam": About("mask AP of a detector's boxes, SAM's protocol", DETECTOR),
    "instance_edgesam": About("mask AP of a detector's boxes, EdgeSAM's protocol", DETECTOR),
    "instance_efficientvit_sam": About("mask AP of a detector's boxes, EfficientViT-SAM's protocol", DETECTOR),
    "instance_repvit_sam": About("mask AP of a detector's boxes, RepViT-SAM's numbers, its protocol inferred", DETECTOR),
    "seginw": About("mean mask AP over the data sets of SegInW", "folder of SegInW, and a folder of results (--boxes)"),
    "edges": About("edge detection: ODS, OIS, AP, R50", "folder of BSDS500"),
    "everything": About("recall of all masks of a photo, 64 x 64 points: AR@1000", COCO),
    "everything_32": About("recall of all masks of a photo, segment-anything's default settings", COCO),
    "saliency": About("mean absolute error of salient objects, boxes of the truth as prompts", "folder of DUTS"),
    "anomaly": About("pixel F1 of defects, boxes of the truth as prompts", "folder of MVTec AD"),
    "video": About("J and F of objects that are followed from the first frame", "folder of DAVIS 2017, or UVO's json"),
    "agreement_box": About("IoU with a reference model's masks of the same boxes", PHOTOS),
    "agreement_point": About("IoU with a reference model's masks of the same points", PHOTOS),
}
