"""The mask stage's forward and backward pass on a pretended GPU."""

import numpy as np
import torch

import encoders
from distill.config.mask import MaskDataConfig, MaskLossConfig
from distill.mask_stage.batch import merge
from distill.mask_stage.data import PromptedPhotos
from distill.mask_stage.model import PromptedSam
from encoders.samples.sample import Sample
from tests.accelerator.training_step import check_step

SIZE = 64


class Blocks:
    """Three photos of one bright block each, off-centre."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 60, (48, 80, 3)).astype(np.uint8)
        mask = np.zeros((48, 80), bool)
        mask[6 + 4 * index : 28 + 4 * index, 40:66] = True
        image[mask] += 150
        return Sample(key=f"block-{index}", image=image, boxes=[[40, 6, 66, 28]], masks=[mask])


def stage():
    torch.manual_seed(0)
    sam = encoders.build_sam("repvit_m0_6", image_size=SIZE)
    return PromptedSam(sam, weights=MaskLossConfig(focal=1.0, bce_object=2.7, refine=0.5, refine_share=0.6)).train()


def some_batch():
    config = MaskDataConfig(sets=[{"kind": "bsds", "folder": "unused"}], prompts_per_photo=4, scale=(0.9, 1.4))
    photos = PromptedPhotos(Blocks(), image_size=SIZE, seed=7, config=config)
    return merge([photos[0, index] for index in range(3)])


def test_a_step_waits_for_nothing_and_its_losses_are_the_cpus():
    check_step(stage(), stage(), some_batch, rel=1e-5)
