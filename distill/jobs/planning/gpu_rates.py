"""What GPUs can compute at most, and the share of it that is assumed here; nothing of it was measured by this project."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from encoders.errors import InputError, did_you_mean

Arithmetic = Literal["fp32", "tf32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU's peak rates and assumed shares of them.

    Attributes:
        title, source: its name, and the vendor's sheet that the peaks are from.
        peak: TFLOP/s by arithmetic, dense: half of what the sheet states "with sparsity".
        teacher_share: assumed share of the peak that a SAM ViT reaches; for tf32 that of bf16.
        memory_bytes: of the larger variant.
    """

    title: str
    source: str
    peak: Mapping[Arithmetic, float]
    teacher_share: Mapping[Arithmetic, float]
    memory_bytes: float

    def teacher_tflops(self, arithmetic: Arithmetic) -> float:
        """Return the TFLOP/s assumed for a SAM ViT's forward pass."""
        return self.peak[arithmetic] * self.teacher_share[arithmetic]

    def student_tflops(self, arithmetic: Arithmetic) -> float:
        """Return the TFLOP/s assumed for training a convolutional student, whose depthwise convolutions wait for memory."""
        return min(STUDENT_TFLOPS[arithmetic], self.teacher_tflops(arithmetic))


# An assumption for both GPUs: RepViT-M2.3, 0.68 TFLOP a photo and step, trains at 75 photos/s in bf16 (50 to 100).
STUDENT_TFLOPS: Mapping[Arithmetic, float] = {"bf16": 51.0, "tf32": 25.5, "fp32": 25.5}

# Peaks as the vendor's sheets state them, dense; the figures with sparsity are twice those:
# A100: nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf
#   FP32 19.5, TF32 156 (312 with sparsity), BF16 312 (624); the same for 40 and 80 GB.
# H100 SXM5: resources.nvidia.com/en-us-tensor-core/nvidia-tensor-core-gpu-datasheet
#   FP32 67, TF32 989 and BF16 1,979, both with sparsity; the Hopper white paper has 66.9, 494.7 and 989.4 dense.
#   The PCIe card is slower: 51, 756 and 1,513.
# Checked in copies: glennklockwood.com/garden/processors/A100 and /h100, archive-lib.hpctech.co.jp/gpuproduct/nvidia-h100.html.
GPUS = {
    "a100": Gpu(
        title="A100 SXM 80 GB",
        source="NVIDIA A100 Tensor Core GPU datasheet",
        peak={"fp32": 19.5, "tf32": 156.0, "bf16": 312.0},
        teacher_share={"fp32": 0.80, "tf32": 0.48, "bf16": 0.48},  # 8 GPUs, ViT-H: 21 photos/s in fp32, 200 in bf16
        memory_bytes=80e9,
    ),
    "h100": Gpu(
        title="H100 SXM 80 GB",
        source="NVIDIA H100 Tensor Core GPU datasheet",
        peak={"fp32": 67.0, "tf32": 494.5, "bf16": 989.5},
        teacher_share={"fp32": 0.61, "tf32": 0.39, "bf16": 0.39},  # 8 GPUs, ViT-H: 55 photos/s in fp32, 520 in bf16
        memory_bytes=80e9,
    ),
}


def get_gpu(name: str) -> Gpu:
    """Return a GPU of the table. Raises InputError for another name."""
    if name not in GPUS:
        raise InputError(f"--gpu {name}: expected {' or '.join(GPUS)}{did_you_mean(name, GPUS)}")
    return GPUS[name]
