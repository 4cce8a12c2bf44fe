"""segment-anything's use of its ONNX decoder, as in `notebooks/onnx_model_example.ipynb`, and its `SamOnnxModel` in PyTorch."""

import numpy as np
import pytest
import torch
from segment_anything.utils.onnx import SamOnnxModel
from segment_anything.utils.transforms import ResizeLongestSide

from encoders.contract import PIXEL_MEAN, PIXEL_STD
from encoders.prompts import Prompts

pytestmark = pytest.mark.slow  # writes the model: about 10 s of one core


class Notebook:
    """The example's arrays at each step; `Sam.preprocess` in numpy."""

    def __init__(self, folder, session, size):
        self.encoder, self.decoder = session(folder / "encoder.onnx"), session(folder / "decoder.onnx")
        self.transform = ResizeLongestSide(size)

    def feed(self, photo, prompt):
        small = self.transform.apply_image(photo)
        size = self.transform.target_length
        image = np.zeros((1, 3, size, size), np.float32)
        image[0, :, : small.shape[0], : small.shape[1]] = ((small - np.array(PIXEL_MEAN)) / PIXEL_STD).transpose(2, 0, 1)
        (embedding,) = self.encoder.run(None, {"image": image})
        coords, kinds = prompt.coords[None], prompt.kinds[None]
        if prompt.box is None:
            coords, kinds = np.concatenate([coords, np.zeros((1, 1, 2))], axis=1), np.append(kinds, [[-1]], axis=1)
        return {
            "image_embeddings": embedding,
            "point_coords": self.transform.apply_coords(coords, photo.shape[:2]).astype(np.float32),
            "point_labels": kinds.astype(np.float32),
            "mask_input": np.zeros((1, 1, size // 4, size // 4), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(photo.shape[:2], np.float32),
        }


@pytest.fixture(scope="module")
def notebook(written, demo, session):
    return Notebook(written("segment-anything", demo), session, demo.image_size)


def test_all_four_masks_are_ours_the_single_one_first(notebook, demo, view, prompt, ours, iou):
    masks, scores, low = notebook.decoder.run(None, notebook.feed(view.image, prompt))
    assert scores.shape == (1, 4) and low.shape == (1, 4, 64, 64)
    expected = ours(demo, view, prompt)
    assert iou(masks[0, 0] > 0, expected[0]) >= 0.999
    assert all(np.mean((found > 0) == wanted) >= 0.999 for found, wanted in zip(masks[0], expected, strict=True))


def test_the_decoder_gives_what_segment_anythings_own_onnx_model_gives_in_pytorch(
    notebook, demo, view, prompt, as_segment_anything
):
    """In PyTorch, as its exported file is wrong at photo sizes other than the one it was exported at."""
    feed = notebook.feed(view.image, prompt)
    original = SamOnnxModel(as_segment_anything(demo), return_single_mask=False)
    expected = original(*(torch.from_numpy(feed[name]) for name in names(notebook.decoder)))
    found = notebook.decoder.run(None, feed)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == tuple(other.shape)
        assert np.abs(one - other.numpy()).max() < 1e-3


def names(decoder):
    return [given.name for given in decoder.get_inputs()]


def test_the_mask_of_an_earlier_round_counts(notebook, demo, photos, ours):
    from encoders.predictor import Predictor

    sample = photos["tall"]
    predictor = Predictor(demo)
    predictor.set_image(sample.image)
    box = np.asarray(sample.boxes[:1], float)
    first = predictor.predict(Prompts(boxes=box), multimask=False)
    expected = predictor.predict(Prompts(boxes=box, masks=first.logits), multimask=False).logits[0, 0]

    class Box:
        coords, kinds = box.reshape(2, 2), np.array([2, 3])

    Box.box = box[0]
    feed = notebook.feed(sample.image, Box)
    feed |= {"mask_input": first.logits, "has_mask_input": np.ones(1, np.float32)}
    assert np.abs(notebook.decoder.run(None, feed)[2][0, 0] - expected).max() < 1e-2
