"""A linear layer over maps of tokens that is fast on any CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenLinear(nn.Linear):
    """`nn.Linear`, its parameters and its numbers, for (B, H, W, C) tokens.

    In float32 on the CPU PyTorch hands a linear layer to MKL, which uses AVX-512 on Intel's processors only. The same product
    as a 1 x 1 convolution over channels-last tokens goes to oneDNN, which uses it everywhere: on an AMD Zen 5 core ViT-B's
    layers run at 180 to 240 GFLOP/s instead of 100. Elsewhere, and in other types, it is a plain linear layer.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, in_features) -> (B, H, W, out_features)."""
        if tokens.device.type != "cpu" or tokens.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
            return super().forward(tokens)
        # Rows of tokens as a batch: with one thread PyTorch leaves a 1 x 1 convolution of fewer than 16 images to MKL, too.
        batch, height, width, channels = tokens.shape
        rows = tokens.reshape(batch * height, 1, width, channels).permute(0, 3, 1, 2)
        mapped = F.conv2d(rows, self.weight[:, :, None, None], self.bias)
        return mapped.permute(0, 2, 3, 1).reshape(batch, height, width, self.out_features)
