"""Masks that are compared on a pretended GPU: the numbers of the CPU, by one transfer."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import encoders
from encoders.errors import InputError
from encoders.prompts import Prompts
from encoders.samples.overlap import mask_iou
from encoders.scored import predict_scored
from encoders.transfer import fetched, sent
from eval_zeroshot.predictors.protocol import PROMPT_CHUNK, prompts_per_call
from eval_zeroshot.predictors.scoring import ask_scored, ask_tokens_scored
from tests.accelerator.pretend import CUDA, on_gpu, pretended_gpu

SHAPE = (48, 72)
PROMPTS = Prompts(boxes=np.asarray([[2, 4, 50, 30], [10, 8, 70, 46], [0, 0, 20, 20]], np.float32))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).integers(0, 256, (*SHAPE, 3), np.uint8)


@pytest.fixture(scope="module")
def truths():
    found = np.zeros((3, *SHAPE), bool)
    found[0, 5:20, 3:40] = found[1, 10:40, 20:60] = True  # the third is empty
    return found


@pytest.mark.parametrize("multimask", [None, True, False])
def test_the_numbers_are_those_of_the_masks(image, truths, multimask):
    with pretended_gpu() as counts:
        predictor = encoders.Predictor(on_gpu(encoders.load("sam_demo", image_size=64)))
        predictor.set_image(image)
        masks, scores, logits = (
            predictor.predict_tokens(PROMPTS) if multimask is None else predictor.predict(PROMPTS, multimask=multimask)
        )
        before = replace(counts, to_device=counts.to_device.copy())
        found = predict_scored(predictor, PROMPTS, truths, multimask=multimask)
    assert (counts.to_host - before.to_host, counts.to_device["pageable"]) == (1, before.to_device["pageable"])
    each, kept = np.arange(3), np.zeros(3, int) if multimask is None else scores.argmax(axis=1)
    assert np.array_equal(found.kept, kept) and np.array_equal(found.scores, scores)
    assert np.array_equal(found.ious, mask_iou(masks, truths[:, None])) and np.array_equal(found.iou, found.ious[each, kept])
    assert np.array_equal(found.masks, masks[each, kept]) and np.array_equal(found.logits, logits[each, kept])


class Plain:
    """A predictor that only predicts."""

    def __init__(self, predictor):
        self.set_image, self.predict = predictor.set_image, predictor.predict


@pytest.mark.parametrize("ask", [ask_tokens_scored, partial(ask_scored, multimask=True), partial(ask_scored, multimask=False)])
def test_suites_get_the_same_of_a_predictor_that_does_not_compare(image, truths, ask):
    with pretended_gpu():
        predictor = encoders.Predictor(on_gpu(encoders.load("sam_demo", image_size=64)))
        predictor.set_image(image)
        one, other = (ask(asked, PROMPTS, truths=truths, shape=SHAPE) for asked in (predictor, Plain(predictor)))
    for name in ("ious", "scores", "kept", "masks", "logits", "iou", "score"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-4, err_msg=name)


def test_the_iou_of_the_kept_mask_alone_is_that_among_all(image, truths):
    predictor = encoders.Predictor(encoders.load("sam_demo", image_size=64))
    predictor.set_image(image)
    every, one = (
        ask_scored(predictor, PROMPTS, truths=truths, shape=SHAPE, multimask=True, only_kept=alone) for alone in (False, True)
    )
    assert (every.ious.shape, one.ious.shape) == ((3, 3), (3, 1)) and np.array_equal(one.iou, every.iou)


def test_true_masks_of_another_size_are_refused(image, truths):
    predictor = encoders.Predictor(encoders.load("sam_demo", image_size=64))
    predictor.set_image(image)
    with pytest.raises(InputError, match=r"true masks of \(3, 48, 71\) are given; expected \(3, 48, 72\)"):
        predict_scored(predictor, PROMPTS, truths[:, :, 1:], multimask=True)


def test_tensors_of_all_kinds_come_back_by_one_transfer():
    given = [torch.arange(6).reshape(2, 3) % 2 == 0, torch.randn(4, 2)[:, :1], torch.arange(5)]
    given += [torch.zeros(0, 3), torch.ones(2).half()]
    with pretended_gpu() as counts:
        back = fetched([tensor.to(CUDA) for tensor in given])
        assert counts.to_host == 1
        sent(np.ones(3, np.float32), CUDA)
        assert counts.to_device["pinned"] == 1
    for tensor, array in zip(given, back, strict=True):
        assert array.dtype == tensor.numpy().dtype and np.array_equal(array, tensor.numpy())


def test_a_gpu_is_asked_more_prompts_at_a_time():
    cpu, large = encoders.Predictor(encoders.load("sam_demo", image_size=64)), (1500, 2250)
    with pretended_gpu():
        gpu = encoders.Predictor(on_gpu(encoders.load("sam_demo", image_size=64)))
        assert [prompts_per_call(each, large) for each in (cpu, gpu, object())] == [1, 26, 1]
        assert [prompts_per_call(each, (20, 30)) for each in (cpu, gpu)] == [9320, PROMPT_CHUNK]
