"""osam's calls, replayed on what we write: `has_mask_input` -1, always a padding point, mask_input 256 x 256 at every size.

The test with osam itself is skipped if it is not installed; docs/export_tools.md says how to run it.
"""

import ast
import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.export.targets.osam import MODEL_FILE
from encoders.export.targets.tool_decoders import FramedDecoder

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)


class Tool:
    """`_encoding.compute_image_embedding_from_image` and `_decoding.generate_mask_from_image_embedding`."""

    def __init__(self, folder, session):
        self.encoder, self.decoder = session(folder / "encoder.onnx"), session(folder / "decoder.onnx")
        height, self.size = self.encoder.get_inputs()[0].shape[2:]
        assert height == self.size

    def resized(self, photo):
        height, width = photo.shape[:2]
        if width > height:
            return round(height * self.size / width), self.size
        return self.size, round(width * self.size / height)

    def mask(self, photo, coords, kinds):
        height, width = self.resized(photo)
        small = np.asarray(Image.fromarray(photo).resize((width, height), resample=Image.Resampling.BILINEAR))
        image = np.pad((small.astype(np.float32) - MEAN) / STD, ((0, self.size - height), (0, self.size - width), (0, 0)))
        (embedding,) = self.encoder.run(None, {"x": image.transpose(2, 0, 1)[None]})
        points = np.concatenate([coords, [[0.0, 0.0]]])[None] * (width / photo.shape[1], height / photo.shape[0])
        given = {
            "image_embeddings": embedding,
            "point_coords": points.astype(np.float32),
            "point_labels": np.append(kinds, -1)[None].astype(np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.array([-1], np.float32),
            "orig_im_size": np.array(photo.shape[:2], np.float32),
        }
        masks, _, _ = self.decoder.run(None, given)
        return masks[0, 0] > 0


@pytest.mark.slow  # writes the model: about 10 s of one core
def test_its_masks_are_ours(written, demo, session, view, prompt, ours, iou):
    mask = Tool(written("osam", demo), session).mask(view.image, prompt.coords, prompt.kinds)
    assert iou(mask, ours(demo, view, prompt)[0]) >= 0.999


def test_minus_one_means_no_mask_as_zero_does(demo):
    decoder = FramedDecoder(demo)
    given = list(decoder.example())
    with torch.no_grad():
        zero = decoder(*given[:4], torch.zeros(1), given[5])
        minus = decoder(*given[:4], torch.full((1,), -1.0), given[5])
        one = decoder(*given[:4], torch.ones(1), given[5])
    assert torch.equal(zero[2], minus[2]) and not torch.allclose(zero[2], one[2])


@pytest.mark.slow  # shares the model with the test above
def test_osam_itself_finds_the_registered_model_and_gives_our_masks(written, demo, photos, ours, iou, monkeypatch):
    osam = pytest.importorskip("osam")
    monkeypatch.syspath_prepend(str(written("osam", demo)))
    monkeypatch.setattr(osam.apis, "registered_model_types", list(osam.apis.registered_model_types))
    importlib.import_module("repvit_sam_osam").register()
    for sample in photos.values():
        box = np.asarray(sample.boxes[0], float)
        prompt = osam.types.Prompt(points=box.reshape(2, 2), point_labels=np.array([2, 3]))
        request = osam.types.GenerateRequest(model="repvit-sam", image=sample.image, prompt=prompt)
        (found,) = osam.apis.generate(request).annotations
        where, mask = found.bounding_box, np.zeros(sample.shape, bool)
        mask[where.ymin : where.ymax + 1, where.xmin : where.xmax + 1] = found.mask
        asked = SimpleNamespace(points=np.zeros((0, 2)), labels=np.zeros(0, int), box=box)
        assert iou(mask, ours(demo, sample, asked)[0]) >= 0.999


def test_the_file_that_registers_the_model_needs_osam_and_the_standard_library_alone():
    tree = ast.parse(MODEL_FILE.read_text())
    found = {name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert found == {"hashlib", "importlib", "os", "sys", "osam"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
