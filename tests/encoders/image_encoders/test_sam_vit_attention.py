"""SAM's attention and blocks in small: against the formula, against segment-anything, and what is held in memory."""

from functools import partial

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from encoders.image_encoders import sam_vit_attention
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES, SamVitEncoder, SamVitSize
from encoders.image_encoders.sam_vit_attention import attend_folded, attend_masked, join_heads, relative_logits, split_heads
from encoders.image_encoders.token_linear import TokenLinear

TINY = SamVitSize(width=48, depth=4, heads=3, global_blocks=(1, 3))


@pytest.fixture
def pair(randomise, monkeypatch):
    """segment-anything's encoder and ours, of one tiny size, with the same random weights."""
    monkeypatch.setitem(SAM_VIT_SIZES, "tiny", TINY)

    def build(image_size):
        theirs = ImageEncoderViT(
            img_size=image_size, patch_size=16, embed_dim=48, depth=4, num_heads=3, mlp_ratio=4, out_chans=256, qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=14, global_attn_indexes=[1, 3],
        )  # fmt: skip
        randomise(theirs)
        ours = SamVitEncoder("tiny", image_size=image_size)
        ours.load_state_dict(theirs.state_dict())
        return theirs, ours

    return build


def images(count, size):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [128, 448, 512])  # a window larger than the map, whole windows, padded windows
@pytest.mark.parametrize("way", [attend_masked, attend_folded])
def test_a_batch_gives_segment_anythings_embeddings(pair, monkeypatch, size, way):
    monkeypatch.setattr(sam_vit_attention, "attend_masked", way)
    theirs, ours = pair(size)
    assert all(parameter.abs().min() > 0 for parameter in ours.parameters())  # fresh position tables are zero
    image = images(2, size)
    with torch.inference_mode():
        expected = theirs(image)
        assert expected.std() > 0.1
        assert (ours(image) - expected).abs().max() <= 2e-5


def test_gradients_are_segment_anythings(pair):
    theirs, ours = pair(256)
    weights = torch.randn(1, 256, 16, 16, generator=torch.Generator().manual_seed(2))
    for encoder in (theirs, ours):
        encoder.train()
        (encoder(images(1, 256)) * weights).mean().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        gradient = expected[name].grad
        scale = gradient.abs().max()
        assert scale > 0, name
        assert (parameter.grad - gradient).abs().max() <= 1e-4 * scale, name


def test_weights_loaded_after_a_pass_count(pair):
    _, ours = pair(128)
    image = images(1, 128)
    with torch.inference_mode():
        before = ours(image)
        state = ours.state_dict()
        changed = {k: v * 3 if "rel_pos" in k else v for k, v in state.items()}
        ours.load_state_dict(changed)
        assert (ours(image) - before).abs().max() > 1e-3


@pytest.mark.parametrize("way", [attend_masked, attend_folded])
@pytest.mark.parametrize("elements", [1, 40, 450, 10**6])  # a query, some queries, two heads, everything at once
def test_logits_are_the_formulas(monkeypatch, way, elements):
    monkeypatch.setattr(sam_vit_attention, "MASK_ELEMENTS_PER_THREAD", elements)
    rows, columns, dims = 3, 5, 4
    q, k, v = torch.randn(3, 5, rows * columns, dims, generator=torch.Generator().manual_seed(3)).double()
    tables = torch.randn(2, 2 * columns - 1, dims, generator=torch.Generator().manual_seed(4)).double()
    rel_h, rel_w = tables[0][: 2 * rows - 1], tables[1]
    logits = torch.zeros(5, rows * columns, rows * columns).double()
    for i in range(rows * columns):
        for j in range(rows * columns):
            (r, c), (r_key, c_key) = divmod(i, columns), divmod(j, columns)
            place = rel_h[r - r_key + rows - 1] + rel_w[c - c_key + columns - 1]
            logits[:, i, j] = (q[:, i] * k[:, j]).sum(-1) / dims**0.5 + q[:, i] @ place
    out = way(q, k, v, *relative_logits(q, rel_h, rel_w, area=(rows, columns)))
    assert torch.allclose(out, logits.softmax(-1) @ v, atol=1e-12)


def test_windows_are_padded_right_and_below_and_joined_again():
    qkv = torch.arange(2 * 3 * 5 * 12).view(2, 3, 5, 12).float()  # 2 maps of 3 x 5 tokens, 2 heads of 2 dimensions
    padding = -torch.arange(1, 13).float()
    q, k, v = split_heads(qkv, heads=2, area=(2, 4), padding=padding)
    assert q.shape == (2 * 2 * 2 * 2, 8, 2)  # maps, windows down, windows across, heads
    assert torch.equal(k[0], qkv[0, :2, :4, 4:6].reshape(8, 2))  # first window, first head
    corner = v[7].view(2, 4, 2)  # the first map's last window, second head: one token of the map, the rest padding
    assert torch.equal(corner[0, 0], qkv[0, 2, 4, 10:12])
    assert torch.equal(corner.flatten(0, 1)[1:], padding[10:12].expand(7, 2))
    assert torch.equal(join_heads(v, heads=2, area=(2, 4), shape=(3, 5)), qkv[..., 8:])


def test_a_token_linear_layer_is_a_linear_layer(randomise):
    layer = randomise(TokenLinear(20, 12))
    tokens = torch.randn(2, 9, 3, 20, generator=torch.Generator().manual_seed(5))
    for given in (tokens, tokens.transpose(1, 2), tokens[..., :1].expand(-1, -1, -1, 20)):
        assert torch.allclose(layer(given), nn.functional.linear(given, layer.weight, layer.bias), atol=1e-5)
    half = layer.to(torch.bfloat16)
    assert half(tokens.bfloat16()).dtype == torch.bfloat16


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation gave."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return out


def test_no_matrix_of_all_queries_and_keys_is_held(pair, monkeypatch):
    monkeypatch.setattr(sam_vit_attention, "MASK_ELEMENTS_PER_THREAD", 2**17)
    theirs, ours = pair(512)
    image, matrix = images(1, 512), 1024**2  # 32 x 32 tokens attend over each other in a global block
    held = []
    for encoder in (theirs, ours):
        with torch.inference_mode(), Largest() as largest:
            encoder(image)
        held.append(largest.elements)
    assert held[0] >= 3 * matrix
    assert held[1] < matrix
