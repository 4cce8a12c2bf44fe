"""A teacher that is an image encoder alone, as timm's, with the decoder of another file."""

import json
from functools import partial

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

import encoders
from distill.config.runs import TeacherConfig
from distill.embedding_task import checked_decoder
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES, SamVitEncoder, SamVitSize
from encoders.registry import BUILDERS
from shards import Manifest


@pytest.fixture
def timm_file(monkeypatch, tmp_path):
    """timm's file of a ViT of one block, which is in the registry."""
    monkeypatch.setitem(SAM_VIT_SIZES, "sam_vit_xs", SamVitSize(width=16, depth=1, heads=2, global_blocks=(0,)))
    monkeypatch.setitem(BUILDERS, "sam_vit_xs", partial(SamVitEncoder, "sam_vit_xs"))
    torch.manual_seed(0)
    model = timm.create_model(
        "samvit_base_patch16", num_classes=0, img_size=64, embed_dim=16, depth=1, num_heads=2, global_attn_indexes=[0]
    )
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def job(timm_file, tiny_cache, tmp_path):
    """Writes a precompute's config."""

    def write(**teacher):
        settings = {
            "source": {"path": str(tiny_cache.parent / "photos")},
            "teacher": {"model": str(timm_file), "image_size": 64, **teacher},
            "out": str(tmp_path / "cache"),
        }
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(settings))
        return tmp_path / "job.yaml"

    return write


def test_precompute_asks_for_a_decoder(job, command):
    code, _, error = command("precompute", "--config", job())
    assert code == 2 and "without prompt encoder and mask decoder" in error and "teacher.decoder" in error


def test_the_cache_is_the_encoders_and_the_students_decoder_the_other_files(job, command, timm_file, tmp_path):
    assert command("precompute", "--config", job(decoder="sam_demo"))[0] == 0
    manifest = Manifest.read(tmp_path / "cache")
    assert manifest.identity.teacher_sha256 == encoders.tensors_sha256(timm_file)
    code, out, _ = command("cache", "stats", tmp_path / "cache", "--samples", "2", "--json")
    assert code == 0 and json.loads(out)["mask_iou"] > 0.9
    assert command("cache", "verify", tmp_path / "cache", "--samples", "2")[0] == 0
    teacher = TeacherConfig(model=str(timm_file), image_size=64, decoder="sam_demo")
    mask_decoder, _ = checked_decoder(teacher, manifest=manifest)
    expected = encoders.load("sam_demo").mask_decoder.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in mask_decoder.items())


def test_a_vit_b_called_medsam_is_told_which_setting_to_give(job, command, monkeypatch, tmp_path):
    monkeypatch.setitem(SAM_VIT_SIZES, "sam_vit_b", SamVitSize(width=48, depth=1, heads=2, global_blocks=(0,)))
    torch.save(encoders.build_sam("sam_vit_b", image_size=64).state_dict(), tmp_path / "medsam_vit_b.pth")
    code, _, error = command("precompute", "--config", job(model=str(tmp_path / "medsam_vit_b.pth")))
    assert code == 2 and "teacher.model:" in error and "say --set teacher.arch=medsam_vit_b for MedSAM" in error
