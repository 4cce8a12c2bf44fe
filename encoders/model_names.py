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
# `encoders.weights.checks.content_digest` of them
SHIPPED_DIGESTS = {"sam_demo": "2f021d7964f1691c62350af8f0b8646251893965b03e2cb2fa0310c39bc5af15"}
