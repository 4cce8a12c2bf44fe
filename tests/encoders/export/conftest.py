"""A format that costs nothing, photos that are cheap, and a model of which every weight has a say."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import encoders
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.export.untrained import untrained_subject
from encoders.samples.sample import Sample

SIZE = 64


def photo(key: str, shape: tuple[int, int], *, seed: int) -> Sample:
    """A photo of soft shapes with one object off the diagonal."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (max(1, shape[0] // 8), max(1, shape[1] // 8), 3), np.uint8)
    image = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[: shape[0], : shape[1]]
    whole = np.zeros((*shape, 3), np.uint8)
    whole[: image.shape[0], : image.shape[1]] = image
    mask = np.zeros(shape, bool)
    mask[shape[0] // 8 : shape[0] // 2, shape[1] // 2 : shape[1] - 3] = True
    box = [shape[1] // 2, shape[0] // 8, shape[1] - 3, shape[0] // 2]
    return Sample(key=key, image=whole, boxes=[box], masks=[mask])


class PlainFormat:
    """Keeps the fused weights as they are and asks PyTorch: the job's own work without an exporter."""

    name = format = "plain"
    extra = "export"
    precisions = ("fp32", "fp16")
    padding = "zeros after normalising"
    points = (2, 3)
    takes_masks = True
    elsewhere = ("Plain on a phone",)

    def __init__(self, damage: str | None = None) -> None:
        self.damage = damage

    def write(self, sam: encoders.Sam, folder: Path, *, precision: str) -> None:
        written = copy.deepcopy(sam)
        if self.damage is not None:
            with torch.no_grad():
                written.get_parameter(self.damage).mul_(1.05)
        encoders.save_sam(written, folder / "model.safetensors")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "PlainRuntime":
        return PlainRuntime(encoders.load(folder / "model.safetensors"))


class PlainRuntime:
    name, how, precision = "PyTorch", "executed", "fp32"

    def __init__(self, sam: encoders.Sam) -> None:
        self.sam, self.decoder = sam, PromptDecoder(sam)

    @torch.inference_mode()
    def encode(self, image):
        return self.sam.image_encoder(torch.from_numpy(image)).numpy()

    @torch.inference_mode()
    def decode(self, embedding, coords, labels, masks=None):
        embedding, coords, labels = (torch.from_numpy(value) for value in (embedding, coords, labels))
        if masks is None:
            return tuple(value.numpy() for value in self.decoder(embedding, coords, labels))
        dense = self.decoder.embed_masks(torch.from_numpy(masks), torch.ones(len(masks)))
        return tuple(v.numpy() for v in self.decoder.decode(embedding + dense, self.decoder.embed_points(coords, labels)))


@pytest.fixture
def plain_format(monkeypatch):
    """`--format plain`; set `damage` to the name of a tensor that it writes 5 % too large."""
    made = PlainFormat()
    for module in ("job", "opened"):
        monkeypatch.setattr(f"encoders.export.{module}.find_maker", lambda *, format, target: made)
    return made


@pytest.fixture(scope="session")
def live_sam() -> encoders.Sam:
    """RepViT-M0.6 with random BatchNorms, sam_demo's decoder, 64 px."""
    return untrained_subject("repvit_m0_6", image_size=SIZE)


@pytest.fixture(scope="session")
def export_photos() -> list[Sample]:
    """A landscape, a portrait, and a photo without objects."""
    bare = photo("bare", (30, 90), seed=2)
    return [
        photo("wide", (60, 110), seed=0),
        photo("tall", (120, 50), seed=1),
        Sample(key="bare", image=bare.image),
    ]
