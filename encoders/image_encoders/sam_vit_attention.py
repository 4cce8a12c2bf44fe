"""SAM's attention with decomposed relative positions, by fused kernels that hold no N x N matrix.

The logit of a query at (r, c) for a key at (r', c') is q.k / sqrt(d) + q.Rh[r - r'] + q.Rw[c - c']. For one query the last two
terms are two vectors, one over the rows and one over the columns of its window, and there are two ways to hand them to a
fused kernel: added up as an attention mask, in chunks, or as further dimensions of the query, which meet the one-hot row and
column of the key. ViT-B's global block (12 heads, 4096 tokens, 64 dimensions, one thread of an AMD Zen 5): mask 0.67 s (in
chunks of all heads 1.0 s), further dimensions 1.64 s (PyTorch's CPU kernel wants values as wide as keys, so three times the
work on values), no relative positions at all 0.57 s. On a GPU, where PyTorch's kernels take narrower values, the further
dimensions save reading a mask; that way is untested on a GPU.

Source: segment-anything, `image_encoder.py` (`Attention`, `add_decomposed_rel_pos`, `window_partition`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.image_encoders.token_linear import TokenLinear

MASK_ELEMENTS_PER_THREAD = 2**21  # of float32: 8 MiB, 512 queries of a global block at 1024 px; larger leaves the cache
KERNEL_MULTIPLE = 8  # fused kernels on a GPU want head dimensions in multiples of it


class SamVitAttention(nn.Module):
    """Multi-head attention inside windows of tokens, or over the whole map.

    Args:
        width: C, channels of a token.
        heads: attention heads.
        area: rows and columns of what a token attends over: a window, or the whole map.
        windowed: whether `area` is a window; the map is then padded right and below to whole windows. The padding takes
            part as keys and values, as segment-anything's does: its tokens are zero, so their keys and values are the bias.
    """

    def __init__(self, width: int, *, heads: int, area: tuple[int, int], windowed: bool) -> None:
        super().__init__()
        self.heads = heads
        self.window = area if windowed else None
        self.qkv = TokenLinear(width, 3 * width)
        self.proj = TokenLinear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * area[0] - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * area[1] - 1, width // heads))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        shape = (tokens.shape[1], tokens.shape[2])
        area = self.window or shape
        q, k, v = split_heads(self.qkv(tokens), heads=self.heads, area=area, padding=self.qkv.bias)
        by_row, by_column = relative_logits(q, self.rel_pos_h, self.rel_pos_w, area=area)
        attend = attend_masked if q.device.type == "cpu" else attend_folded
        return self.proj(join_heads(attend(q, k, v, by_row, by_column), heads=self.heads, area=area, shape=shape))


def split_heads(qkv: Tensor, *, heads: int, area: tuple[int, int], padding: Tensor) -> Tensor:
    """(B, H, W, 3C) -> (3, B * windows * heads, h * w, C / heads) for windows of h x w = `area`, the last ones padded.

    Args:
        padding: (3C,) what a token of padding holds.
    """
    batch, height, width, channels = qkv.shape
    down, across = -(-height // area[0]), -(-width // area[1])
    if (down * area[0], across * area[1]) != (height, width):
        padded = padding.to(qkv.dtype).expand(batch, down * area[0], across * area[1], channels).clone()
        padded[:, :height, :width] = qkv
        qkv = padded
    parts = qkv.view(batch, down, area[0], across, area[1], 3, heads, -1).permute(5, 0, 1, 3, 6, 2, 4, 7)
    return parts.reshape(3, batch * down * across * heads, area[0] * area[1], -1)


def join_heads(out: Tensor, *, heads: int, area: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """The reverse of `split_heads` for one of q, k, v: (B * windows * heads, h * w, d) -> (B, H, W, heads * d)."""
    down, across = -(-shape[0] // area[0]), -(-shape[1] // area[1])
    parts = out.view(-1, down, across, heads, *area, out.shape[-1]).permute(0, 1, 4, 2, 5, 3, 6)
    whole = parts.reshape(parts.shape[0], down * area[0], across * area[1], -1)
    return whole[:, : shape[0], : shape[1]]


def relative_logits(q: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, *, area: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the relative-position logits of each query for the keys of each row and of each column.

    The tables are gathered anew in every call: 1 MiB each, under a millisecond, and never stale.

    Args:
        q: (M, h * w, d), not scaled.
        rel_pos_h, rel_pos_w: (2h - 1, d) and (2w - 1, d), entry i for a query i - (h - 1) rows below its key.

    Returns:
        (M, h * w, h) and (M, h * w, w).
    """
    by_place = q.view(-1, *area, q.shape[-1])
    by_row = torch.einsum("mrcd,rkd->mrck", by_place, rel_pos_h[_differences(area[0], device=q.device)])
    by_column = torch.einsum("mrcd,ckd->mrck", by_place, rel_pos_w[_differences(area[1], device=q.device)])
    return by_row.flatten(1, 2), by_column.flatten(1, 2)


def attend_masked(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Attention with the relative logits as a mask, made for a few heads and queries at a time.

    Args:
        q, k, v: (M, N, d).
        by_row, by_column: of `relative_logits`.

    Returns:
        (M, N, d).
    """
    count, tokens, _ = q.shape
    budget = max(MASK_ELEMENTS_PER_THREAD * torch.get_num_threads(), tokens)
    heads, queries = max(1, budget // tokens**2), min(tokens, budget // tokens)
    parts = zip(*(tensor.split(heads) for tensor in (q, k, v, by_row, by_column)), strict=True)
    return torch.cat([_attend_heads(*part, queries=queries) for part in parts])


def attend_folded(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """`attend_masked` with the relative logits as further dimensions of the queries; takes and gives the same."""
    height, width = by_row.shape[-1], by_column.shape[-1]
    rows = torch.eye(height, dtype=k.dtype, device=k.device)[:, None].expand(-1, width, -1)
    columns = torch.eye(width, dtype=k.dtype, device=k.device)[None].expand(height, -1, -1)
    places = torch.cat([rows, columns], dim=-1).flatten(0, 1).expand(len(k), -1, -1)
    queries = torch.cat([q * q.shape[-1] ** -0.5, by_row, by_column], dim=-1)
    keys = torch.cat([k, places], dim=-1)
    extra = -keys.shape[-1] % KERNEL_MULTIPLE
    queries, keys = F.pad(queries, (0, extra)), F.pad(keys, (0, extra))
    return F.scaled_dot_product_attention(queries[None], keys[None], v[None], scale=1.0)[0]


def _attend_heads(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor, *, queries: int) -> Tensor:
    """Some heads of `attend_masked`, so many queries at a time."""
    parts = zip(*(tensor.split(queries, dim=1) for tensor in (q, by_row, by_column)), strict=True)
    chunks = [
        F.scaled_dot_product_attention(
            some[None], k[None], v[None], attn_mask=(rows[..., :, None] + columns[..., None, :]).flatten(2)[None]
        )
        for some, rows, columns in parts
    ]
    return torch.cat(chunks, dim=2)[0]


def _differences(size: int, *, device: torch.device) -> Tensor:
    """(size, size) int64: position of the query minus that of the key, counted from 0."""
    places = torch.arange(size, device=device)
    return places[:, None] - places[None, :] + size - 1
