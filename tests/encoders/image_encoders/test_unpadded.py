"""Encoders on the photo's own aspect: what is exact, what is near, what is refused."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import encoders
from encoders.errors import InputError
from encoders.image_encoders.padding_row import Frame, _convolved_row, act
from encoders.image_encoders.unpadded import UnpaddedEncoder, rectangle
from encoders.prompts import Prompts

SIZE = 256
WIDE, TALL = (100, 256), (256, 84)  # (height, width) of the resized photo


def framed(shape, *, inside, seed=0):
    """A normalised photo of `shape` at the top left of zeros of `inside`, (1, 3, *inside)."""
    image = torch.zeros(1, 3, *inside)
    image[:, :, : shape[0], : shape[1]] = torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(seed))
    return image


def of_the_photo(embedding, shape):
    return embedding[:, :, : -(-shape[0] // 16), : -(-shape[1] // 16)]


def relative(given, expected):
    return float((given - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def sam(randomise):
    return randomise(encoders.build_sam("repvit_m0_6", image_size=SIZE))


@pytest.fixture(scope="module")
def short(randomise):
    """An encoder of few layers and no squeeze-and-excite: nothing travels more than four positions."""
    encoder = randomise(encoders.build_image_encoder("repvit_m0_6", image_size=SIZE)).eval()
    for stage in encoder.stages:
        stage.blocks = nn.Sequential()
    return encoder


@pytest.mark.parametrize(
    "shape, expected",
    [((171, 256), (192, 256)), ((256, 160), (256, 176)), ((241, 256), (256, 256)), ((256, 256), (256, 256))],
)
def test_a_rectangle_holds_the_photo_and_one_position_of_padding(shape, expected):
    assert rectangle(shape, image_size=256) == expected


@pytest.mark.parametrize("shape", [WIDE, TALL])
@torch.inference_mode()
def test_a_network_of_short_reach_gives_the_padded_embedding_to_rounding(short, shape):
    expected = short(framed(shape, inside=(SIZE, SIZE)))
    given = UnpaddedEncoder(short, image_size=SIZE, margin=4)(framed(shape, inside=rectangle(shape, image_size=SIZE)))
    assert given.shape == expected.shape
    rows, columns = (12, 16) if shape == WIDE else (16, 12)  # the frame's far edge reaches four positions
    far = (given - expected)[:, :, :rows, :columns]
    assert expected.std() > 0.1
    assert far.abs().max() < 1e-4 * expected.abs().max()
    assert (given - expected).abs().max() > 1e-3 * expected.abs().max()


@torch.inference_mode()
def test_zeros_beside_the_photo_alone_would_be_far_off(short):
    expected = of_the_photo(short(framed(WIDE, inside=(SIZE, SIZE))), WIDE)
    cut = of_the_photo(short(framed(WIDE, inside=(112, SIZE))), WIDE)
    given = UnpaddedEncoder(short, image_size=SIZE)(framed(WIDE, inside=rectangle(WIDE, image_size=SIZE)))
    assert relative(of_the_photo(given, WIDE), expected) < 0.01 < 0.1 < relative(cut, expected)


@torch.inference_mode()
def test_squeeze_and_excite_sees_the_mean_of_the_padded_frame():
    torch.manual_seed(0)
    module = encoders.build_image_encoder("repvit_m0_6", image_size=64).stages[0].blocks[0].se.eval()
    rows, padding = torch.randn(2, 40, 5, 16), 3 + torch.randn(2, 40, 1, 16)
    expected = module(torch.cat([rows, padding.expand(-1, -1, 11, -1)], dim=2))
    frame = Frame(axis=2, positions=4, more=0)
    assert torch.allclose(act(module, torch.cat([rows, padding], dim=2), frame), expected[:, :, :6], atol=1e-5)
    assert not torch.allclose(module(torch.cat([rows, padding], dim=2)), expected[:, :, :6], atol=1e-2)


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("groups, stride", [(1, 1), (6, 1), (6, 2), (2, 2)])
@torch.inference_mode()
def test_a_convolution_of_the_padding_is_that_of_rows_all_alike(axis, groups, stride):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, 3, stride=stride, padding=1, groups=groups)
    rows, padding = torch.randn(1, 6, 4, 12), torch.randn(1, 6, 1, 12)
    framed_rows = conv(torch.cat([rows, padding.expand(-1, -1, 8, -1)], dim=2))
    expected = torch.cat([framed_rows[:, :, : 4 // stride], framed_rows[:, :, 8 // stride, None]], dim=2)
    both = torch.cat([rows, padding], dim=2)
    if axis == 3:  # the same photo on its side, and the kernel with it
        conv.weight.copy_(conv.weight.mT.contiguous())
        both, expected = both.mT, expected.mT
    given = act(conv, both, Frame(axis=axis, positions=1, more=0))
    assert given.shape == expected.shape and torch.allclose(given, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [WIDE, TALL])
@torch.inference_mode()
def test_a_fused_encoder_gives_what_the_unfused_one_gives(sam, shape):
    image = framed(shape, inside=rectangle(shape, image_size=SIZE))
    ways = [UnpaddedEncoder(one.image_encoder, image_size=SIZE)(image) for one in (sam, encoders.fuse(sam))]
    assert relative(ways[1], ways[0]) < 1e-4


@torch.inference_mode()
def test_more_margin_comes_nearer_and_a_full_frame_is_equal(sam):
    expected = sam.image_encoder(framed(WIDE, inside=(SIZE, SIZE)))
    image = framed(WIDE, inside=rectangle(WIDE, image_size=SIZE))
    errors = [relative(UnpaddedEncoder(sam.image_encoder, image_size=SIZE, margin=m)(image), expected) for m in (1, 3, 9)]
    assert errors[0] > errors[1] > errors[2] == 0


@pytest.mark.parametrize("size", [512, 768])
def test_a_predictor_without_padding_works_at_other_sizes(randomise, size):
    sam = randomise(encoders.build_sam("repvit_m0_6", image_size=size))
    photo = np.random.default_rng(0).integers(0, 255, (90, 140, 3), np.uint8)
    padded, unpadded = encoders.Predictor(sam), encoders.Predictor(sam, padding=False)
    for predictor in (padded, unpadded):
        predictor.set_image(photo)
    assert unpadded.embedding.shape == (1, 256, size // 16, size // 16)
    photo_rows = (90 * size // 140) // 16
    given, expected = (predictor.embedding[:, :, :photo_rows] for predictor in (unpadded, padded))
    assert 0 < relative(given, expected) < 0.2
    assert unpadded.predict(Prompts(boxes=np.array([[10.0, 20, 60, 70]]))).masks.shape == (1, 3, 90, 140)


def test_images_of_several_aspects_get_what_each_gets_alone(sam):
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in [(60, 140), (140, 80), (62, 140), (90, 90)]]
    together, alone = (encoders.Predictor(sam, padding=False) for _ in range(2))
    together.set_images(photos)
    for number, photo in enumerate(photos):
        alone.set_image(photo)
        assert torch.allclose(together._embeddings[number], alone.embedding[0], atol=1e-4)


def test_a_square_photo_is_encoded_as_ever(sam):
    photo = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    padded, unpadded = encoders.Predictor(sam), encoders.Predictor(sam, padding=False)
    for predictor in (padded, unpadded):
        predictor.set_image(photo)
    assert torch.equal(padded.embedding, unpadded.embedding)


@torch.inference_mode()
def test_an_exported_graph_gives_the_same(sam):
    encoder = UnpaddedEncoder(encoders.fuse(sam).image_encoder, image_size=SIZE).eval()
    image = framed(WIDE, inside=rectangle(WIDE, image_size=SIZE))
    graph = torch.export.export(encoder, (image,)).module()
    other = framed(WIDE, inside=image.shape[-2:], seed=1)
    assert torch.allclose(graph(other), encoder(other), atol=1e-4)


@pytest.mark.parametrize("name, part", [("tiny_vit", "TinyVitEncoder"), ("sam_demo", "TimmFeaturesEncoder")])
def test_an_encoder_that_cannot_is_refused_by_the_name_of_its_part(name, part):
    sam = encoders.build_sam(name, image_size=SIZE)
    with pytest.raises(InputError, match=f"{part} cannot run without padding"):
        encoders.Predictor(sam, padding=False)


def test_wrong_parts_and_images_are_refused(sam):
    for conv in (
        nn.Conv2d(3, 3, 5, padding=2),
        nn.Conv2d(3, 3, 3),
        nn.Conv2d(3, 3, (1, 3), padding=(0, 1)),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
    ):
        with pytest.raises(InputError, match="1 x 1 or 3 x 3"):
            UnpaddedEncoder(nn.Sequential(conv), image_size=SIZE)
    with pytest.raises(InputError, match="margin of 0"):
        UnpaddedEncoder(sam.image_encoder, image_size=SIZE, margin=0)
    encoder = UnpaddedEncoder(sam.image_encoder, image_size=SIZE)
    for sides in [(112, 240), (100, 256), (256, 272)]:
        with pytest.raises(InputError, match="expected one side of 256"):
            encoder(torch.zeros(1, 3, *sides))


def test_the_shared_encoder_keeps_the_mode_of_each_of_its_parts(sam):
    encoder = sam.image_encoder
    encoder.stages[1].train()
    try:
        before = {name: part.training for name, part in encoder.named_modules()}
        unpadded = UnpaddedEncoder(encoder, image_size=SIZE)
        assert {name: part.training for name, part in encoder.named_modules()} == before
        assert not unpadded.training and unpadded.encoder is encoder
    finally:
        encoder.eval()


def test_train_mode_is_refused(sam):
    predictor = encoders.Predictor(sam, padding=False)
    sam.train()
    try:
        with pytest.raises(InputError, match="train mode"):
            predictor.set_image(np.zeros((30, 40, 3), np.uint8))
    finally:
        sam.eval()


def test_a_depthwise_row_is_exported_without_a_tensor_made_of_nothing():
    """coremltools cannot convert `new_zeros(())`."""

    class Row(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=4)

        def forward(self, row):
            return _convolved_row(self.conv, row, axis=2)

    graph = torch.export.export(Row().eval(), (torch.randn(1, 4, 1, 8),)).run_decompositions({}).graph
    made = {str(node.target) for node in graph.nodes if node.op == "call_function"}
    assert made and not {name for name in made if re.search("zeros|full|ones", name)}
