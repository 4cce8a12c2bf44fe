"""X-AnyLabeling's and AnyLabeling's calls of models of the type `segment_anything`, replayed on what we write.

The tool warps the photo into (684, 1024) without antialiasing, where our predictor resizes it to the model's size with it, and
a portrait is seen at 684 / 1024 of its size besides. So masks are compared exactly with PyTorch on the tool's own warped photo,
and with our predictor on the photo only as far as the warp allows.
"""

import warnings
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from encoders.decoder.masks import upscale_logits
from encoders.errors import InputError, InputWarning
from encoders.export.certifying import contract_image
from encoders.export.formats.onnx import DECODER, ENCODER
from encoders.export.targets import find_target
from encoders.export.targets.anylabeling import AnyLabelingTarget
from encoders.export.targets.x_anylabeling import labeling_config
from encoders.geometry import resized_shape
from encoders.predictor import Predictor
from encoders.preprocess import normalize_padded
from encoders.prompts import Prompts

cv2 = pytest.importorskip("cv2")
HEIGHT, WIDTH, SIZE = 684, 1024, 256


class Tool:
    """`SegmentAnythingONNX`: the same arrays at each step."""

    def __init__(self, folder, session, config):
        self.encoder = session(folder / config["encoder_model_path"])
        self.decoder = session(folder / config["decoder_model_path"])

    def warp(self, photo):
        scale = min(WIDTH / photo.shape[1], HEIGHT / photo.shape[0])
        matrix = np.array([[scale, 0, 0], [0, scale, 0], [0, 0, 1]])
        return cv2.warpAffine(photo, matrix[:2], (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR), matrix

    def mask(self, photo, marks):
        warped, matrix = self.warp(photo)
        (embedding,) = self.encoder.run(None, {self.encoder.get_inputs()[0].name: warped.astype(np.float32)})
        points, labels = [], []
        for mark in marks:
            if mark["type"] == "point":
                points.append(mark["data"])
                labels.append(mark["label"])
            else:
                points += [mark["data"][:2], mark["data"][2:]]
                labels += [2, 3]
        coords = np.concatenate([np.array(points), [[0.0, 0.0]]])[None]
        coords = np.concatenate([coords, np.ones((1, coords.shape[1], 1))], axis=2).astype(np.float32) @ matrix.T
        masks, _, _ = self.decoder.run(
            None,
            {
                "image_embeddings": embedding,
                "point_coords": coords[:, :, :2].astype(np.float32),
                "point_labels": np.append(labels, -1)[None].astype(np.float32),
                "mask_input": np.zeros((1, 1, 256, 256), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array((HEIGHT, WIDTH), np.float32),
            },
        )
        back = np.linalg.inv(matrix)[:2]
        height, width = photo.shape[:2]
        return cv2.warpAffine(masks[0][0], back, (width, height), flags=cv2.INTER_LINEAR) > 0


@pytest.fixture(scope="module")
def folder(written, demo):
    return written("x-anylabeling", demo)


@pytest.fixture(scope="module")
def config(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


def test_the_yaml_has_what_the_tool_asks_for(demo):
    config = labeling_config(demo)
    assert config["type"] == "segment_anything"
    assert {"name", "display_name", "input_size", "max_width", "max_height"} <= config.keys()
    assert set(config["name"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert (config["encoder_model_path"], config["decoder_model_path"]) == (ENCODER, DECODER)


@pytest.mark.slow  # writes the model: about 20 s of one core
def test_the_models_pass_onnx_own_check_as_the_tool_does_after_a_download(folder, config):
    onnx = pytest.importorskip("onnx")
    for name in ("encoder_model_path", "decoder_model_path"):
        onnx.checker.check_model(str(folder / config[name]))


def pytorch_mask(sam, tool, photo, prompt):
    """What PyTorch makes of the tool's own warped photo, without the exported graphs, and with padding where it is black."""
    warped, matrix = tool.warp(photo)
    seen = [int(np.flatnonzero(warped.any(axis=(2, axis)))[-1]) + 1 for axis in (1, 0)]
    whole = normalize_padded(torch.from_numpy(warped).permute(2, 0, 1)[None], [seen])
    size = resized_shape((HEIGHT, WIDTH), image_size=sam.image_size)
    image = F.interpolate(whole, size=size, mode="bilinear", antialias=True)
    image = F.pad(image, (0, sam.image_size - size[1], 0, sam.image_size - size[0]))
    predictor = Predictor(sam)
    with torch.inference_mode():
        predictor.set_embedding(sam.image_encoder(image), shape=(HEIGHT, WIDTH))
    given = {"points": prompt.points[None] * matrix[0, 0], "labels": prompt.labels[None]} if len(prompt.points) else {}
    if prompt.box is not None:
        given["boxes"] = prompt.box[None] * matrix[0, 0]
    logits = torch.from_numpy(predictor.predict_tokens(Prompts(**given)).logits)
    frame = upscale_logits(logits, shape=(HEIGHT, WIDTH), image_size=sam.image_size)[0, 0].numpy()
    height, width = photo.shape[:2]
    return cv2.warpAffine(frame, np.linalg.inv(matrix)[:2], (width, height), flags=cv2.INTER_LINEAR) > 0


@pytest.mark.slow  # shares the model with the test above
def test_its_masks_are_those_of_pytorch_on_the_warped_photo(folder, config, session, demo, view, prompt, iou):
    tool = Tool(folder, session, config)
    assert iou(tool.mask(view.image, prompt.marks), pytorch_mask(demo, tool, view.image, prompt)) >= 0.999


@pytest.mark.slow  # shares the model with the tests above
def test_its_masks_are_our_predictors_as_far_as_the_warp_allows(folder, config, session, demo, view, prompt, ours, iou):
    """At 256 px, 0.836 to 0.976 were seen of the landscape, and 0.718 to 0.855 of the portrait, which is seen at 171 px."""
    value = iou(Tool(folder, session, config).mask(view.image, prompt.marks), ours(demo, view, prompt)[0])
    assert value >= (0.8 if view.shape[0] < view.shape[1] else 0.65)


@pytest.mark.slow  # writes the model again, for the zip: about 10 s of one core
def test_the_zip_of_anylabeling_unpacks_to_a_model_that_it_loads_and_calls(written, session, demo, view, prompt, iou, tmp_path):
    with zipfile.ZipFile(written("anylabeling", demo) / "model.zip") as archive:
        archive.extractall(tmp_path / "extract")
    (config_file,) = (tmp_path / "extract").rglob("config.yaml")
    config = yaml.safe_load(config_file.read_text(encoding="utf-8-sig"))
    assert config["type"] == "segment_anything" and {"name", "display_name"} <= config.keys()
    assert {"input_size", "max_width", "max_height"} <= config.keys()
    tool = Tool(config_file.parent, session, config)
    assert tool.encoder.get_inputs()[0].type == "tensor(float)"
    assert not {"backbone_fpn_0", "language_mask", "high_res_feats_0"} & {given.name for given in tool.decoder.get_inputs()}
    assert iou(tool.mask(view.image, prompt.marks), pytorch_mask(demo, tool, view.image, prompt)) >= 0.999


@pytest.mark.slow  # shares the model with the tests above
def test_a_photo_that_ends_in_black_is_noted_as_the_encoder_treats_its_edge_as_padding(folder):
    runtime = find_target("x-anylabeling").open(folder, image_size=SIZE, precision="fp32", threads=1)
    photo = np.full((SIZE, 200, 3), 90, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.encode(contract_image(photo, image_size=SIZE).numpy())
    photo[-3:] = 0
    with pytest.warns(InputWarning, match="ends in black at its right or lower edge.*treats that edge as padding"):
        runtime.encode(contract_image(photo, image_size=SIZE).numpy())


def test_a_damaged_zip_of_anylabeling_is_refused(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="model.zip is missing or is not a zip; export the model again"):
        AnyLabelingTarget().open(tmp_path, image_size=SIZE, precision="fp32")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("config.yaml", "type: segment_anything")
    with pytest.raises(InputError, match="model.zip is damaged"):
        AnyLabelingTarget().open(tmp_path, image_size=SIZE, precision="fp32")
