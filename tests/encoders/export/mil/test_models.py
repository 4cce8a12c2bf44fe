"""Whole models, saved by the Core ML export and interpreted, against torch."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import encoders
from encoders.errors import InputError
from encoders.export.certification.thresholds import rounding_layers, thresholds_for
from encoders.export.mil import Interpreter, read_package
from encoders.export.modules.pixel_encoder import to_pixels
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.export.untrained import untrained_subject
from encoders.fusion import fuse, fuse_module
from encoders.image_encoders.repvit import build_classifier
from encoders.preprocess import normalize_padded, pad_to_square

pytest.importorskip("coremltools", reason="makes the packages")


def relative_error(got, want):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def prepared(photo, size):
    """Return the photo as the embedding contract prescribes, and as pixels for the exported encoder."""
    height, width = photo.shape[0] * size // max(photo.shape[:2]), photo.shape[1] * size // max(photo.shape[:2])
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), photo.shape[:2], strict=True))
    image = normalize_padded(pad_to_square(photo[rows][:, columns], image_size=size)[None], [(height, width)])
    return image, to_pixels(image).numpy()


def encoder_error(sam, photo, package):
    """Return the relative error of the interpreted encoder against the unfused torch encoder."""
    image, pixels = prepared(photo, sam.image_size)
    with torch.no_grad():
        want = sam.image_encoder(image)
    return relative_error(Interpreter(read_package(package)).predict({"image": pixels})["image_embeddings"], want)


@pytest.fixture(scope="module")
def demo():
    return encoders.load("sam_demo", image_size=64)


@pytest.mark.slow  # 9 s; test_coreml.py does it in half precision
def test_an_encoder_in_float32_agrees_with_torch_to_five_digits(demo, save_model, photo):
    from encoders.export.formats.coreml import convert_encoder

    assert encoder_error(demo, photo, save_model(convert_encoder(fuse(demo), half=False))) < 1e-5


@pytest.mark.slow  # about 10 s
def test_the_decoder_accepts_every_listed_number_of_prompts_and_points(demo, save_model):
    from encoders.export.formats.coreml import convert_decoder
    from encoders.export.formats.coreml_options import CoreMlOptions, Counts

    options = CoreMlOptions(prompts=Counts(values=(1, 2)), points=Counts(values=(2, 3)))
    program = read_package(save_model(convert_decoder(demo, half=False, options=options)))
    assert tuple(sorted(program.inputs[1].shapes)) == ((1, 2, 2), (1, 3, 2), (2, 2, 2), (2, 3, 2))
    interpreter, decoder = Interpreter(program), PromptDecoder(demo)
    embedding = torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.3
    points = torch.tensor([[[10.0, 20.0], [30.0, 50.0], [0.0, 0.0]], [[60.0, 20.0], [40.0, 5.0], [0.0, 0.0]]])
    labels = torch.tensor([[2, 3, -1], [1, 0, -1]], dtype=torch.int32)
    for prompts, count in ((1, 2), (2, 2), (2, 3)):
        asked = points[:prompts, :count], labels[:prompts, :count]
        with torch.no_grad():
            logits, scores = decoder(embedding, *asked)
        names = ("image_embeddings", "point_coords", "point_labels")
        arrays = [one.numpy() for one in (embedding, *asked)]
        found = interpreter.predict(dict(zip(names, arrays, strict=True)))
        assert relative_error(found["low_res_masks"], logits) < 2e-5
        assert relative_error(found["iou_predictions"], scores) < 1e-5
    with pytest.raises(InputError, match="not listed together"):
        interpreter.predict({names[0]: arrays[0], names[1]: points.numpy(), names[2]: labels[:, :2].numpy()})


@pytest.mark.slow  # 15 s to 40 s each
@pytest.mark.parametrize("name", ["repvit_m0_9", "repvit_m2_3", "tiny_vit", "sam_vit_b"])
def test_an_encoder_in_half_precision_is_as_accurate_as_its_rounding_allows(name, save_model, photo):
    from encoders.export.formats.coreml import convert_encoder

    sam = untrained_subject(name, image_size=256)
    if name == "repvit_m2_3":
        halve_batchnorm(sam.image_encoder)
    limit = thresholds_for("fp16", layers=rounding_layers(fuse(sam).image_encoder)).embedding_relative_error
    assert 2e-4 < encoder_error(sam, photo, save_model(convert_encoder(fuse(sam), half=True))) < limit


@pytest.mark.slow  # 10 s to 30 s each
@pytest.mark.parametrize("name", ["repvit_m0_6", "repvit_m0_9", "repvit_m1_0", "repvit_m1_1", "repvit_m1_5", "repvit_m2_3"])
def test_a_classifier_keeps_its_probabilities(name, save_package, randomise, photo):
    import coremltools as ct

    model = randomise(build_classifier(name)).eval()
    halve_batchnorm(model)
    fuse_module(model)
    module = nn.Sequential(model, nn.Softmax(dim=1)).eval()
    pixels = torch.from_numpy(photo[:64, 10:138]).permute(2, 0, 1)[None].contiguous()  # not square
    image = pixels.float() / 255
    scaled = ct.ImageType(name="image", shape=image.shape, scale=1 / 255)
    program = read_package(save_package(module, image, inputs=[scaled], half=True))
    assert Counter(operation.type for operation in program.operations)["linear"] >= 1
    found = Interpreter(program).predict({"image": pixels.numpy()})["out0"]
    with torch.no_grad():
        want = module(image).numpy()
    assert relative_error(found, want) < 0.02 and abs(found.sum() - 1) < 5e-3
    assert relative_error(np.roll(found, 1), want) > 0.05  # the classes do differ


def halve_batchnorm(module):
    """Halve all BatchNorm weights: random residuals of a deep model would grow until a square overflows half precision."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data *= 0.5
