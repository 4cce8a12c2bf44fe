"""Hardware-dependent acceleration of a teacher: bfloat16 autocast and compilation."""

from typing import Literal

import torch
from torch import Tensor, nn

from encoders.sam import Sam

Precision = Literal["fp32", "bf16"]
PRECISION_MARK = "+"  # between the version of the preprocessing and a precision that is not fp32


class Bf16Encoder(nn.Module):
    """Runs an image encoder under bfloat16 autocast; weights and the embedding stay in float32.

    Args:
        encoder: (B, 3, S, S) -> (B, 256, S/16, S/16).
        image_size: S in pixels.
    """

    precision: Precision = "bf16"

    def __init__(self, encoder: nn.Module, *, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) float32 -> (B, 256, S/16, S/16) float32."""
        with torch.autocast(image.device.type, dtype=torch.bfloat16):
            embedding: Tensor = self.encoder(image)
        return embedding.float()


def accelerate(sam: Sam, *, precision: Precision = "fp32", compiled: bool = False) -> Sam:
    """Switch a SAM's image encoder to lower precision or a compiled graph; modifies `sam` in place and returns it.

    Both are tested on a CPU only, never on a GPU, for which they are meant.

    Args:
        precision: "bf16" changes embeddings: in root mean square by 0.5 % for ViT-B (random weights) and by 5 % for sam_demo,
            whose activations all become bfloat16 (2 photos, 512 px); a cache remembers it, see `precision_mark`.
        compiled: `torch.compile`; the first batch takes minutes, and on a CPU needs a C++ compiler. Embeddings change by
            rounding, as they do with another device or batch size.
    """
    if precision == "bf16":
        sam.image_encoder = Bf16Encoder(sam.image_encoder, image_size=sam.image_size)
    if compiled:
        sam.image_encoder.compile()
    return sam


def precision_mark(sam: Sam) -> str:
    """Return the suffix of a cache's preprocessing version: empty for fp32, "+bf16" for bf16."""
    precision = getattr(sam.image_encoder, "precision", "fp32")
    return "" if precision == "fp32" else f"{PRECISION_MARK}{precision}"
