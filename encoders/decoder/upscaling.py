"""The mask decoder's upscaling and hypernetworks as matrix products, computed for the requested mask tokens only.

Both transposed convolutions have kernel = stride = 2: a place becomes 2 x 2 places, each by a product of its own, and no two
places meet. So a list of places stays a list, channels last, and only the finished logits are put in order.
Source: segment-anything, `modeling/mask_decoder.py` (`predict_masks`).
"""

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder
from torch import Tensor, nn

BLOCK_PLACES = 2048  # places upscaled at a time: what they become stays in a core's cache


def mask_logits(decoder: MaskDecoder, *, image: Tensor, mask_tokens: Tensor, tokens: slice) -> Tensor:
    """Compute the logits of the requested mask tokens.

    Args:
        image: (B, N, C) from the transformer, a square's places in row-major order.
        mask_tokens: (B, 4, C) from the transformer.
        tokens: which of them.

    Returns:
        (B, M, 4 * rows, 4 * rows).
    """
    first, norm, activation, second, last_activation = decoder.output_upscaling
    networks = list(decoder.output_hypernetworks_mlps)[tokens]
    chosen = mask_tokens[:, tokens].unbind(1)
    weights = torch.stack([network(token) for network, token in zip(networks, chosen, strict=True)], dim=1)
    spread, spread_again = _Spread(first), _Spread(second)
    count, places, _ = image.shape
    found = image.new_empty(count, weights.shape[1], places * 16)
    for index in range(count):
        for start in range(0, places, BLOCK_PLACES):
            block = spread(image[index, start : start + BLOCK_PLACES])
            block = F.layer_norm(block, norm.weight.shape, norm.weight, norm.bias, norm.eps)
            block = last_activation(spread_again(activation(block)))
            for token, weight in enumerate(weights[index]):  # one by one: the same bits whichever others are asked for
                found[index, token, start * 16 : start * 16 + len(block)] = block @ weight
    side = int(places**0.5)
    # A place's 16 logits are (y, x) of the first convolution, then (y, x) of the second.
    square = found.unflatten(2, (side, side, 2, 2, 2, 2)).permute(0, 1, 2, 4, 6, 3, 5, 7)
    return square.flatten(5, 7).flatten(2, 4)


class _Spread:
    """A transposed convolution of kernel and stride 2: (L, C) -> (4 L, D), a place's 2 x 2 in row-major order."""

    def __init__(self, convolution: nn.ConvTranspose2d) -> None:
        self.channels = convolution.out_channels
        self.weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
        assert convolution.bias is not None
        self.bias = convolution.bias.expand(4, -1).flatten()

    def __call__(self, places: Tensor) -> Tensor:
        return torch.addmm(self.bias, places, self.weight).view(-1, self.channels)
