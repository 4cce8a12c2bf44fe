"""Names of the registry's models and of the shipped weights; imports no model code."""

from pathlib import Path

MODEL_NAMES = (
    "repvit_m0_6",
    "repvit_m0_9",
    "repvit_m1_0",
    "repvit_m1_1",
    "repvit_m1_5",
    "repvit_m2_3",
    "tiny_vit",
    "sam_vit_b",
    "sam_vit_l",
    "sam_vit_h",
    "sam_demo",
)
SHIPPED_WEIGHTS = {"sam_demo": Path(__file__).parent / "assets" / "sam_demo.safetensors"}
MEDSAM = "medsam_vit_b"
# Names of checkpoints that `arch` takes beside the models' own -> the model that they fill
CHECKPOINT_NAMES = {
    "samvit_base_patch16": "sam_vit_b",
    "samvit_large_patch16": "sam_vit_l",
    "samvit_huge_patch16": "sam_vit_h",
    "samvit_base_patch16.sa1b": "sam_vit_b",
    "samvit_large_patch16.sa1b": "sam_vit_l",
    "samvit_huge_patch16.sa1b": "sam_vit_h",
    MEDSAM: "sam_vit_b",
}
