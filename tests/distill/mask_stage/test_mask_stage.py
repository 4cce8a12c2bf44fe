"""The mask stage's batches and model, on photos made here."""

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from distill.config.mask import MaskDataConfig, MaskLossConfig
from distill.launching.stopping import signals_wait
from distill.mask_stage.batch import MaskBatch, merge
from distill.mask_stage.data import PromptedPhotos, StepSampler, mask_batches
from distill.mask_stage.model import PromptedSam
from distill.mask_stage.prompt_prior import start_at_the_prompt
from encoders.errors import InputError
from encoders.image_encoders.neck import SamNeck
from encoders.sam import Sam
from encoders.samples.sample import Sample

SIZE = 64


class Blocks:
    """Photos of one bright block on a dark ground, by index."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        image = rng.integers(0, 60, (48, 80, 3)).astype(np.uint8)
        x, y = int(rng.integers(4, 50)), int(rng.integers(4, 20))
        mask = np.zeros((48, 80), bool)
        mask[y : y + 22, x : x + 26] = True
        image[mask] += 150
        return Sample(key=f"block-{index}", image=image, boxes=[[x, y, x + 26, y + 22]], masks=[mask])


class TinyEncoder(nn.Module):
    image_size = SIZE

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 256, 16, stride=16)
        self.norm = nn.BatchNorm2d(256)
        self.neck = SamNeck(256)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.neck(self.norm(self.patch(image)))


def settings(**changes) -> MaskDataConfig:
    values = {"sets": [{"kind": "bsds", "folder": "unused"}], "prompts_per_photo": 5, "scale": (0.9, 1.6), "colour": 0.2}
    return MaskDataConfig(**(values | changes))


def data(**changes) -> PromptedPhotos:
    return PromptedPhotos(Blocks(), image_size=SIZE, seed=7, config=settings(**changes))


def tiny_sam() -> Sam:
    torch.manual_seed(0)
    return Sam(arch="tiny", image_encoder=TinyEncoder(), image_size=SIZE)


def same(first: MaskBatch, second: MaskBatch) -> bool:
    return first.keys == second.keys and torch.equal(first.pixels, second.pixels) and torch.equal(first.target, second.target)


def test_a_position_gives_the_same_photo_and_prompts_every_time():
    assert same(data()[3, 1], data()[3, 1])
    assert not same(data()[3, 1], data()[4, 1])


def test_an_epoch_shows_every_photo_once():
    assert sorted(key for index in range(6) for key in data()[2, index].keys) == sorted(f"block-{i}" for i in range(6))


def test_two_ranks_see_together_what_one_rank_sees():
    def batches(rank: int, world_size: int, batch_size: int, start: int = 0) -> list[MaskBatch]:
        sampler = StepSampler(photos=6, batch_size=batch_size, rank=rank, world_size=world_size, start_step=start)
        stream = mask_batches(data(), sampler=sampler, num_workers=0)
        return [next(stream) for _ in range(4 - start)]

    whole = batches(0, 1, 4)
    for step, parts in enumerate(zip(batches(0, 2, 2), batches(1, 2, 2), strict=True)):
        assert same(whole[step], merge(parts))
    assert same(whole[3], batches(0, 1, 4, start=3)[0])  # resumed from the global step alone


@pytest.mark.slow  # 10 s: a process that imports torch anew
def test_batches_that_are_closed_end_the_processes_that_make_them():
    sampler = StepSampler(photos=6, batch_size=2, rank=0, world_size=1, start_step=0)
    stream = mask_batches(data(), sampler=sampler, num_workers=1)
    with signals_wait():  # as in a run: the processes take no signal
        assert same(next(stream), next(mask_batches(data(), sampler=sampler, num_workers=0)))
    assert len(multiprocessing.active_children()) == 1
    stream.close()
    assert not multiprocessing.active_children()


def test_prompts_lie_on_their_objects():
    batch = data(prompts_per_photo=40)[0, 0]
    coverage = batch.target.repeat_interleave(4, 1).repeat_interleave(4, 2)
    for row in range(40):
        if batch.is_box[row]:
            x0, y0, x1, y1 = batch.boxes[row].round().int().tolist()
            assert coverage[row, y0:y1, x0:x1].mean() > 0.7
        else:
            x, y = batch.points[row, 0].int().tolist()
            assert coverage[row, y, x] > 0


def test_photos_without_objects_are_named_as_unusable():
    with pytest.raises(InputError, match="min_pixels"):
        data(min_pixels=100_000)[0, 0]


def test_losses_are_finite_and_reach_every_part_but_batchnorm_statistics():
    model = PromptedSam(tiny_sam(), weights=MaskLossConfig(focal=1.0, refine=0.5)).train()
    losses = model(merge([data()[0, 0], data()[0, 1]]))
    assert set(losses) == {"mask", "multimask", "iou", "refine"}
    sum(losses.values()).backward()
    for part in ("image_encoder", "prompt_encoder", "mask_decoder"):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in getattr(model.sam, part).parameters())
    assert model.sam.image_encoder.norm.num_batches_tracked == 0


def test_a_weight_of_zero_is_not_computed():
    model = PromptedSam(tiny_sam(), weights=MaskLossConfig(iou=0.0, multimask=0.0))
    assert set(model(data()[0, 0])) == {"mask"}


def test_a_few_steps_on_one_photo_lower_its_loss():
    sam = tiny_sam()
    start_at_the_prompt(sam, seed=0)
    model = PromptedSam(sam, weights=MaskLossConfig()).train()
    batch = data()[0, 0]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    values = []
    for _ in range(6):
        loss = sum(model(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.7 * values[0]


def test_an_untrained_prompt_looks_at_its_own_place():
    """The first cross-attention of a point peaks at the point's own cell, at an off-centre place."""
    sam = Sam(arch="tiny", image_encoder=TinyEncoder(), image_size=256).eval()
    start_at_the_prompt(sam, seed=0)
    point = torch.tensor([[[200.0, 40.0]]])  # column 12, row 2 of 16 x 16
    sparse, _ = sam.prompt_encoder(points=(point, torch.ones(1, 1, dtype=torch.long)), boxes=None, masks=None)
    attention = sam.mask_decoder.transformer.layers[0].cross_attn_token_to_image
    keys = sam.prompt_encoder.get_dense_pe().flatten(2)[0].T
    weights = attention.q_proj(sparse[0, :1]) @ attention.k_proj(keys).T
    assert divmod(int(weights.argmax()), 16) == (2, 12)


def test_an_untrained_decoder_knows_the_inside_of_a_box():
    """The gates of x > x0, x < x1, y > y0 and y < y1, read from the first image-to-token attention, off-centre."""
    torch.manual_seed(0)
    sam = Sam(arch="tiny", image_encoder=TinyEncoder(), image_size=256).eval()
    start_at_the_prompt(sam, seed=0)
    attention = sam.mask_decoder.transformer.layers[0].cross_attn_image_to_token
    written: list[torch.Tensor] = []
    attention.v_proj.register_forward_hook(lambda _, args, out: written.append(attended(attention, out)))
    places: dict[str, torch.Tensor] = {}
    attention.q_proj.register_forward_hook(lambda _, args, out: places.update(q=out))
    attention.k_proj.register_forward_hook(lambda _, args, out: places.update(k=out))

    def attended(module, values):
        query, key, value = (module._separate_heads(x, 8) for x in (places["q"], places["k"], values))
        return (query @ key.transpose(-1, -2) / 4).softmax(-1) @ value

    embedding = 0.1 * torch.randn(1, 256, 16, 16)
    sam.decode_all(embedding, image_index=torch.tensor([0]), boxes=torch.tensor([[64.0, 112.0, 176.0, 144.0]]))
    gates = written[0][0, :4, :, 0].sum(dim=0).reshape(16, 16)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[7:9, 4:11] = True
    assert gates[inside].min() > gates[~inside].max()


def test_a_share_of_the_prompts_gets_the_second_round():
    sam = tiny_sam()
    batch = merge([replace(data(prompts_per_photo=4, box_share=1.0)[0, 0], seeds=torch.tensor([100, 700, 1400, 1600]))])
    decoded: list[int] = []
    decode = sam.decode_all

    def counting(*args, **kwargs):
        decoded.append(len(kwargs["image_index"]))
        return decode(*args, **kwargs)

    sam.decode_all = counting
    PromptedSam(sam, weights=MaskLossConfig(refine=1.0, refine_share=0.5))(batch)
    PromptedSam(sam, weights=MaskLossConfig(refine=1.0))(batch)
    assert decoded == [4, 2, 4, 4]
