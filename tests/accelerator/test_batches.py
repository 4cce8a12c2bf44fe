"""A training batch on its way to a pretended GPU."""

import numpy as np
import pytest
import torch

from shards.codec.records import CODECS, decode_embedding, encode_embedding, pad_codes, parse_record
from shards.loading.batch import Batch
from tests.accelerator.pretend import CUDA, pretended_gpu

SIZE, SHAPES = 128, [(128, 57), (41, 128), (128, 128)]  # height, width


def made_batch(codec: str) -> Batch:
    """Three photos of random pixels with smooth random embeddings."""
    rng = np.random.default_rng(1)
    pixels = torch.zeros(len(SHAPES), SIZE, SIZE, 3, dtype=torch.uint8)
    coded = []
    for frame, (height, width) in zip(pixels, SHAPES, strict=True):
        frame[:height, :width] = torch.from_numpy(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        embedding = rng.standard_normal((256, SIZE // 16, SIZE // 16)).cumsum(axis=2).astype(np.float32)
        coded.append(parse_record(encode_embedding(embedding, shape=(height, width), codec=codec)))
    return Batch(
        keys=["a", "b", "c"],
        pixels=pixels.permute(0, 3, 1, 2),
        sizes=torch.tensor(SHAPES),
        codec=codec,
        codes=torch.from_numpy(np.stack([pad_codes(one.codes, side=SIZE // 16) for one in coded])),
        scales=torch.from_numpy(np.stack([one.scales for one in coded])),
    )


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_pinned_batch_arrives_without_waiting_and_equal_to_the_cpus(codec):
    batch = made_batch(codec)
    expected = batch.to_device("cpu")
    with pretended_gpu() as counts:
        made_batch(codec).to_device(CUDA)  # the first batch also copies constants to the device
        first = counts.waited
        pinned = batch.pin_memory()
        launched = counts.launched
        found = pinned.to_device(CUDA)
        assert counts.waited == first, counts
        assert counts.launched - launched <= 45, counts.kernels  # however many photos
        for name in ("image", "teacher", "valid"):
            assert getattr(found, name).device == CUDA
            assert torch.equal(getattr(found, name).cpu(), getattr(expected, name)), name


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_what_a_device_decodes_is_what_a_record_holds(codec):
    record = encode_embedding(np.random.default_rng(0).standard_normal((256, 8, 8)), shape=(41, 128), codec=codec)
    coded = parse_record(record)
    with pretended_gpu():
        codes = torch.from_numpy(pad_codes(coded.codes, side=8))[None].to(CUDA)
        found = CODECS[codec].dequantize(codes, torch.from_numpy(coded.scales)[None].to(CUDA)).cpu()[0]
    assert np.array_equal(found[:, :3].numpy(), decode_embedding(record, image_size=128)[:, :3])
