"""X-AnyLabeling's calls of models of the type `edge_sam`, replayed on what we write.

The tool resizes by OpenCV without antialiasing, where our predictor resizes by PIL with it. So masks are compared exactly with
PyTorch on the tool's own resized photo, and with our predictor on the photo only as far as that allows.
"""

import numpy as np
import pytest
import torch
import yaml

from encoders.predictor import Predictor
from encoders.preprocess import normalize_padded, pad_to_square
from encoders.prompts import Prompts

cv2 = pytest.importorskip("cv2")


class Tool:
    """`EdgeSAMONNX`: the same arrays at each step."""

    def __init__(self, folder, session):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["type"] == "edge_sam" and {"name", "display_name"} <= config.keys()
        self.encoder = session(folder / config["encoder_model_path"])
        self.decoder = session(folder / config["decoder_model_path"])
        self.length = config.get("target_length", 1024)

    def size(self, photo):
        scale = self.length / max(photo.shape[:2])
        return int(photo.shape[0] * scale + 0.5), int(photo.shape[1] * scale + 0.5)

    def resize(self, photo):
        return cv2.resize(photo, self.size(photo)[::-1])

    def mask(self, photo, prompt):
        """The mask that the tool shows, and which of the four it is."""
        pixels = np.expand_dims(np.ascontiguousarray(self.resize(photo).transpose(2, 0, 1)), 0)
        embedding = self.encoder.run(None, {self.encoder.get_inputs()[0].name: pixels})[0]
        height, width = self.size(photo)
        coords = prompt.coords * (width / photo.shape[1], height / photo.shape[0])
        given = {
            "image_embeddings": embedding,
            "point_coords": coords.astype(np.float32)[None],
            "point_labels": prompt.kinds.astype(np.float32)[None],
        }
        scores, masks = self.decoder.run(None, given)
        assert scores.shape == (1, 4)
        best = int(np.argmax(stability(masks[0])))
        return self.upscale(masks[0, best], photo), best

    def upscale(self, logits, photo):
        height, width = self.size(photo)
        frame = cv2.resize(logits, (self.length, self.length))[:height, :width]
        return cv2.resize(frame, photo.shape[1::-1]) > 0


def stability(masks):
    """(4, h, w) logits -> (4,): area above 1 by area above -1."""
    return (masks > 1).sum(axis=(1, 2)) / (masks > -1).sum(axis=(1, 2))


@pytest.fixture(scope="module")
def tool(written, demo, session):
    return Tool(written("x-anylabeling-edge-sam", demo), session)


def pytorch_mask(sam, tool, photo, prompt):
    """What PyTorch makes of the tool's own resized photo."""
    resized = tool.resize(photo)
    frame = pad_to_square(resized, image_size=sam.image_size)[None]
    predictor = Predictor(sam)
    with torch.inference_mode():
        predictor.set_embedding(sam.image_encoder(normalize_padded(frame, [resized.shape[:2]])), shape=photo.shape[:2])
    given = {"points": prompt.points[None], "labels": prompt.labels[None]} if len(prompt.points) else {}
    if prompt.box is not None:
        given["boxes"] = prompt.box[None]
    logits = predictor.predict_tokens(Prompts(**given)).logits[0]
    best = int(np.argmax(stability(logits)))
    return tool.upscale(logits[best], photo), best


@pytest.mark.slow  # writes the model: about 10 s of one core
def test_its_masks_are_those_of_pytorch_on_the_resized_photo(tool, demo, view, prompt, iou):
    mask, best = tool.mask(view.image, prompt)
    expected, index = pytorch_mask(demo, tool, view.image, prompt)
    assert best == index and iou(mask, expected) >= 0.999


@pytest.mark.slow  # shares the model with the test above
def test_its_masks_are_our_predictors_as_far_as_the_resize_allows(tool, demo, view, prompt, ours, iou):
    """OpenCV's kernel without antialiasing moves the masks of sam_demo at 256 px: 0.904 to 0.963 were seen. It is the tool's
    own doing, see the test above."""
    mask, best = tool.mask(view.image, prompt)
    assert iou(mask, ours(demo, view, prompt)[best]) >= 0.85


@pytest.mark.slow  # shares the model with the tests above
def test_photos_of_every_shape_go_in_as_uint8_without_padding(tool):
    (given,) = tool.encoder.get_inputs()
    assert given.type == "tensor(uint8)" and given.shape[:2] == [1, 3]
    for shape in ((256, 9), (31, 256)):
        (embedding,) = tool.encoder.run(None, {given.name: np.zeros((1, 3, *shape), np.uint8)})
        assert embedding.shape == (1, 256, 16, 16)
