"""SAM's ViT encoders as a plain static graph, for any exporter.

The weights are the encoder's own tensors and the outputs are the same to rounding; what differs is how it is written down.
Tokens of padding go through the linear layers instead of being filled in, linear layers are `nn.Linear`'s, position tables are
gathered once, and attention is matrix products and a softmax. No slice takes everything, as that becomes an `alias`, which some
exporters do not know, and no tensor has more than five axes.

A block that attends over the whole map takes a few rows of queries at a time, a number that depends on the model alone: at
1024 px all of ViT-B's logits at once would be 805 MB, and these are 101 MB.

Source: segment-anything, `modeling/image_encoder.py`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.image_encoders.sam_vit import SamVitBlock, SamVitEncoder
from encoders.image_encoders.sam_vit_attention import SamVitAttention

MAX_LOGITS = 2**25  # of attention held at a time, for an image: 128 MiB of float32


class StaticSamVit(nn.Module):
    """A `SamVitEncoder` without branches, loops over data or in-place writes; in eval mode.

    Args:
        encoder: whose tensors are used, not copied.
    """

    def __init__(self, encoder: SamVitEncoder) -> None:
        super().__init__()
        self.image_size = encoder.image_size
        side = encoder.pos_embed.shape[1]
        self.patch = encoder.patch_embed.proj
        self.pos_embed = encoder.pos_embed
        self.blocks = nn.ModuleList(StaticBlock(block, side=side) for block in encoder.blocks)  # type: ignore[arg-type]
        self.neck = encoder.neck
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16)."""
        tokens = self.patch(image).permute(0, 2, 3, 1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        embedding: Tensor = self.neck(tokens.permute(0, 3, 1, 2))
        return embedding


class StaticBlock(nn.Module):
    """A `SamVitBlock` over a map of `side` x `side` tokens."""

    def __init__(self, block: SamVitBlock, *, side: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attn = StaticAttention(block.attn, side=side)
        self.lin1, self.lin2 = plain_linear(block.mlp.lin1), plain_linear(block.mlp.lin2)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.lin2(F.gelu(self.lin1(self.norm2(tokens))))


class StaticAttention(nn.Module):
    """A `SamVitAttention` over a map of `side` x `side` tokens.

    Args:
        attention: whose tensors are used.
        side: tokens along a side of the map; a window is a square.
    """

    def __init__(self, attention: SamVitAttention, *, side: int) -> None:
        super().__init__()
        self.side = side
        self.area = side if attention.window is None else attention.window[0]
        self.windows = -(-side // self.area)  # along a side
        self.heads = attention.heads
        self.rows = query_rows(self.area, heads=attention.heads)
        self.qkv, self.proj = plain_linear(attention.qkv), plain_linear(attention.proj)
        self.by_row: Tensor
        self.by_column: Tensor
        self.register_buffer("by_row", gathered(attention.rel_pos_h, size=self.area))
        self.register_buffer("by_column", gathered(attention.rel_pos_w, size=self.area))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        inside = self.partition(tokens)
        mapped = self.qkv(inside)  # (M, N, 3C)
        width = inside.shape[-1]
        q, k, v = (self.split_heads(mapped[..., i * width : (i + 1) * width]) for i in range(3))
        out = self.attend(q, k, v).reshape(inside.shape[0], self.heads, self.area**2, -1).transpose(1, 2)
        return self.join(self.proj(out.reshape(inside.shape)), batch=tokens.shape[0])

    def partition(self, tokens: Tensor) -> Tensor:
        """(B, H, W, C) -> (B * windows, N, C) with zeros in the padding of the last windows."""
        batch, width = tokens.shape[0], tokens.shape[-1]
        if self.windows > 1 or self.area != self.side:
            if padding := self.windows * self.area - self.side:
                tokens = F.pad(tokens, (0, 0, 0, padding, 0, padding))
            tokens = tokens.reshape(batch * self.windows, self.area, self.windows, self.area, width).transpose(1, 2)
        return tokens.reshape(batch * self.windows**2, self.area**2, width)

    def join(self, tokens: Tensor, *, batch: int) -> Tensor:
        """The reverse of `partition`."""
        width, whole = tokens.shape[-1], self.windows * self.area
        if self.windows > 1:
            tokens = tokens.reshape(batch * self.windows, self.windows, self.area, self.area, width).transpose(1, 2)
        tokens = tokens.reshape(batch, whole, whole, width)
        return tokens if whole == self.side else tokens[:, : self.side, : self.side]

    def split_heads(self, part: Tensor) -> Tensor:
        """(M, N, C) -> (M * heads, N, C / heads)."""
        count, tokens, width = part.shape
        split = part.reshape(count, tokens, self.heads, width // self.heads).transpose(1, 2)
        return split.reshape(count * self.heads, tokens, width // self.heads)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(M * heads, N, d) each -> (M * heads, N, d)."""
        if self.rows == self.area:
            return self.attend_rows(q, k, v, self.by_row)
        step = self.rows * self.area
        parts = [
            self.attend_rows(q[:, i * step : (i + 1) * step], k, v, self.by_row[i * self.rows : (i + 1) * self.rows])
            for i in range(self.area // self.rows)
        ]
        return torch.cat(parts, dim=1)

    def attend_rows(self, q: Tensor, k: Tensor, v: Tensor, by_row: Tensor) -> Tensor:
        """Some rows of queries, with what `by_row` holds of them, over all keys."""
        count, queries, dim = q.shape
        places = q.reshape(count, queries // self.area, self.area, dim)
        rows = torch.matmul(places, by_row)  # (M, r, c, area)
        columns = torch.matmul(places.transpose(1, 2), self.by_column).transpose(1, 2)
        logits = torch.matmul(q * dim**-0.5, k.transpose(1, 2)).reshape(count, queries, self.area, self.area)
        logits = logits + rows.reshape(count, queries, self.area, 1) + columns.reshape(count, queries, 1, self.area)
        return torch.matmul(torch.softmax(logits.reshape(count, queries, self.area**2), dim=-1), v)


def query_rows(area: int, *, heads: int) -> int:
    """The most rows of queries, among the divisors of `area`, whose logits are at most `MAX_LOGITS`; at least one."""
    fits = [rows for rows in range(1, area + 1) if area % rows == 0 and heads * rows * area**3 <= MAX_LOGITS]
    return max(fits, default=1)


@torch.no_grad()
def gathered(table: Tensor, *, size: int) -> Tensor:
    """A table of relative positions by query and key: (2 * size - 1, d) -> (size, d, size) for (query, d, key)."""
    places = torch.arange(size, device=table.device)
    return table[places[:, None] - places[None, :] + size - 1].transpose(1, 2).contiguous()


def plain_linear(layer: nn.Linear) -> nn.Linear:
    """The layer's own tensors in torch's linear layer."""
    plain = nn.Linear(layer.in_features, layer.out_features, device="meta")
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain
