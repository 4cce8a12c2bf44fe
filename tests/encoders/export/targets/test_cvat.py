"""CVAT's function called as nuclio calls it, and the page's call of the decoder, replayed on what we write."""

import base64
import importlib.util
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from segment_anything.utils.onnx import SamOnnxModel

import encoders
from encoders.errors import InputError, InputWarning
from encoders.export.targets.cvat import CvatTarget
from encoders.export.targets.cvat_decoder import CvatDecoder, ends, span


class Page:
    """`modelData` and the worker's `decoder.run`: clicks scaled to 1024, and a padding point in the earlier versions only."""

    def __init__(self, folder, session):
        self.decoder = session(folder / "decoder.onnx")

    def mask(self, blob, photo_shape, prompt, *, padding, shape=(1, 256, 64, 64)):
        embedding = np.frombuffer(base64.b64decode(blob), "<f4").reshape(shape)
        scale = 1024 / max(photo_shape)
        coords, kinds = prompt.points * scale, prompt.labels
        if padding:
            coords, kinds = np.concatenate([coords, [[0, 0]]]), np.append(kinds, -1)
        given = {
            "image_embeddings": embedding,
            "point_coords": coords[None].astype(np.float32),
            "point_labels": kinds[None].astype(np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(photo_shape, np.float32),
        }
        names = ["xtl", "ytl", "xbr", "ybr", "masks", "low_res_masks"]
        left, top, right, bottom, cut, low = self.decoder.run(names, given)
        assert cut.dtype == np.uint8 and low.shape == (1, 1, 256, 256)
        whole = np.zeros(photo_shape, bool)
        whole[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = cut[0, 0] > 0
        return whole


def call_function(folder, photo):
    """The answer of `main.py`, imported as nuclio does, with its own folder on the path."""
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("nuclio_main", folder / "main.py")
        main = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(main)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("segment", None)
    context = SimpleNamespace(
        logger=SimpleNamespace(info=lambda message: None), user_data=SimpleNamespace(), Response=lambda **given: given
    )
    main.init_context(context)
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    event = SimpleNamespace(body={"image": base64.b64encode(buffer.getvalue()).decode()})
    answer = main.handler(context, event)
    assert answer["status_code"] == 200 and answer["content_type"] == "application/json"
    return json.loads(answer["body"])["blob"]


def test_another_size_than_1024_is_refused(demo, tmp_path):
    with pytest.raises(InputError, match="takes embeddings of 1024 px only, and this model works at 256 px"):
        CvatTarget().write(demo, tmp_path, precision="fp32")
    assert not list(tmp_path.iterdir())


def test_the_function_is_called_as_cvats_page_expects():
    from encoders.export.targets.cvat import HERE

    config = yaml.safe_load((HERE / "cvat_function.yaml").read_text())
    assert config["metadata"]["name"] == "pth-facebookresearch-sam-vit-h"
    assert config["metadata"]["annotations"]["type"] == "interactor"
    assert config["spec"]["handler"] == "main:handler"


def test_the_mask_is_cut_out_where_it_lies():
    seen = torch.tensor([False, False, True, False, True, False])
    assert [int(end) for end in ends(seen)] == [2, 4] and span(*ends(seen)).tolist() == [2, 3, 4]
    assert [int(end) for end in ends(torch.zeros(5, dtype=torch.bool))] == [0, 0]


@pytest.mark.parametrize("labels", [[1, -1], [1, 1, -1], [1, 0, 1, -1]])
def test_the_choice_of_the_mask_is_segment_anythings(demo, labels, as_segment_anything):
    decoder = CvatDecoder(demo)
    embedding, *_, mask, has_mask, _ = decoder.example()
    generator = torch.Generator().manual_seed(len(labels))
    embedding = torch.randn(embedding.shape, generator=generator)
    coords = torch.rand((1, len(labels), 2), generator=generator) * 200
    coords[:, -1] = 0
    shape = torch.tensor([150.0, 220.0])
    kinds = torch.tensor([labels]).float()
    _, scores, logits = SamOnnxModel(as_segment_anything(demo), return_single_mask=True)(
        embedding, coords, kinds, torch.zeros(1, 1, 64, 64), has_mask, shape
    )
    with torch.no_grad():
        found = decoder(embedding, coords, kinds, mask, has_mask, shape)
    assert torch.allclose(found[1], scores, atol=1e-5) and torch.allclose(found[2], logits, atol=1e-3)


def test_writing_notes_that_the_page_decodes_with_vit_hs_decoder(demo_1024, monkeypatch, tmp_path):
    for name in ("write_encoder", "write_cvat_decoder"):
        monkeypatch.setattr(f"encoders.export.targets.cvat.{name}", lambda *args, **options: None)
    with pytest.warns(InputWarning, match=r"decoder of SAM ViT-H.*stage 1"):
        CvatTarget().write(demo_1024, tmp_path, precision="fp32")
    assert "**Which decoder.**" in (tmp_path / "README.md").read_text()


@pytest.mark.slow  # writes sam_demo at 1024 px: about half a minute
@pytest.mark.filterwarnings("ignore::encoders.errors.InputWarning")
@pytest.mark.parametrize("padding", [True, False])
def test_function_and_page_together_give_our_masks(written, demo_1024, photos, session, ours, iou, padding):
    folder = written("cvat", demo_1024)
    page = Page(folder, session)
    for sample in photos.values():
        blob = call_function(folder, sample.image)
        prompt = points_on(sample)
        found = page.mask(blob, sample.shape, prompt, padding=padding)
        # the page scales both axes by 1024 / 640 where SAM scales rows by 685 / 428: a third of a pixel
        assert iou(found, ours(demo_1024, sample, prompt)[0]) >= 0.995


def points_on(sample: encoders.Sample):
    """Two points on the largest object and one off it."""
    mask = sample.masks[int(np.argmax(sample.areas))]
    inside, outside = np.argwhere(mask), np.argwhere(~mask)
    points = np.asarray([inside[len(inside) // 2], inside[len(inside) // 3], outside[len(outside) // 5]])[:, ::-1].astype(float)
    return SimpleNamespace(points=points, labels=np.asarray([1, 1, 0]), box=None)
