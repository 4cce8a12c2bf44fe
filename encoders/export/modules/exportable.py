"""Exportable variants of image encoders: same weights and outputs, without operations that graphs do not support."""

from torch import nn

from encoders.export.modules.sam_vit import StaticSamVit
from encoders.image_encoders.sam_vit import SamVitEncoder


def exportable(encoder: nn.Module) -> nn.Module:
    """Return an equivalent encoder in eval mode that `torch.export` captures as a plain static graph.

    SAM's ViT encoders are written anew around their own tensors. Convolutional encoders and TinyViT are returned as they are.
    """
    return StaticSamVit(encoder) if isinstance(encoder, SamVitEncoder) else encoder
