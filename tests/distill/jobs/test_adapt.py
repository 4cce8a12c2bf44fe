"""`repvit-sam adapt`: a student and photos without masks go in, an adapted student and its agreement come out."""

import errno
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

import encoders
from distill.jobs import adapt as job
from encoders.errors import InputError


@pytest.fixture
def photos(tmp_path):
    """Two folders of photos of stripes, none square."""
    for name, count in (("mine", 6), ("others", 2)):
        (tmp_path / name).mkdir()
        for number in range(count):
            rng = np.random.default_rng((count, number))
            small = rng.integers(0, 256, (4, 7, 3)).astype(np.uint8)
            Image.fromarray(small).resize((96, 60), Image.Resampling.NEAREST).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_a_fused_student_is_refused(command, undisturbed, tmp_path):
    encoders.save_sam(encoders.fuse(encoders.load(undisturbed)), tmp_path / "fused.safetensors")
    words = ("--student", tmp_path / "fused.safetensors", "--out", tmp_path / "out")
    code, _, error = command("adapt", tmp_path, *words)
    assert code == 2 and "fused" in error and "Traceback" not in error


@pytest.mark.parametrize(("given", "held_out"), [("mine", "mine"), ("", "others"), ("mine", "")])
def test_photos_to_measure_on_must_be_others(command, undisturbed, photos, given, held_out):
    words = ("--student", undisturbed, "--held-out", photos / held_out, "--out", photos / "out")
    code, _, error = command("adapt", photos / given, *words)
    assert code == 2 and "hold out other photos of the kind" in error and not (photos / "out").exists()


def test_a_full_disk_ends_the_copy_of_a_model_with_a_message(monkeypatch, undisturbed, tmp_path):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sam = encoders.load(undisturbed)
    torch.save(encoders.official_state_dict(sam), tmp_path / "old.pth")
    monkeypatch.setattr(job, "run_command", lambda *words: None)
    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr("pathlib.Path.replace", full)
    wanted = job.Adaptation(
        photos=str(tmp_path),
        student=str(tmp_path / "old.pth"),
        arch="repvit_m0_6",
        teacher="sam_demo",
        teacher_arch=None,
        held_out=None,
        out=tmp_path / "out",
    )
    with pytest.raises(InputError, match=r"before\.safetensors.*No space left"):
        job.adapt(wanted)
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_the_commands_are_those_that_a_user_would_type(monkeypatch, undisturbed, photos):
    typed = []
    monkeypatch.setattr(job, "run_command", lambda *words: typed.append(words))
    wanted = job.Adaptation(
        photos="mine",
        student=str(undisturbed),
        arch=None,
        teacher="sam_vit_h.pth",
        teacher_arch="sam_vit_h",
        held_out=None,
        out=photos / "out",
        overrides=("schedule.steps=7",),
    )
    assert job.adapt(wanted) == photos / "out" / "student"
    precompute, distil = (" ".join(words) for words in typed)
    teacher = "--set teacher.model=sam_vit_h.pth --set teacher.image_size=64 --set teacher.arch=sam_vit_h"
    assert teacher in precompute and "--set source.path=mine" in precompute and teacher in distil
    assert f"--set model.arch=repvit_m0_6 --set model.image_size=64 --set model.init={undisturbed}" in distil
    assert distil.endswith("--set schedule.steps=7")


def test_files_that_do_not_tell_their_architecture_become_some_that_do(monkeypatch, tmp_path):
    """`eval --arch` is that of all models, so two foreign files, or one beside a run folder, cannot be given there."""
    typed = []
    monkeypatch.setattr(job, "run_command", lambda *words: typed.append(words))
    torch.save(encoders.official_state_dict(encoders.build_sam("repvit_m0_6")), tmp_path / "student.pt")
    torch.save(encoders.official_state_dict(encoders.build_sam("tiny_vit")), tmp_path / "teacher.pt")
    wanted = job.Adaptation(
        photos="mine",
        student=str(tmp_path / "student.pt"),
        arch="repvit_m0_6",
        teacher=str(tmp_path / "teacher.pt"),
        teacher_arch="tiny_vit",
        held_out=tmp_path / "others",
        out=tmp_path / "out",
    )
    job.adapt(wanted)
    _, distil, measured = typed
    before, teacher = tmp_path / "out" / "before.safetensors", tmp_path / "out" / "teacher.safetensors"
    assert f"model.init={before}" in distil and f"teacher.model={tmp_path / 'teacher.pt'}" in distil
    assert f"before={before}" in measured and str(teacher) in measured and "--arch" not in measured
    assert encoders.load(before).arch == "repvit_m0_6" and encoders.load(teacher).arch == "tiny_vit"


@pytest.mark.slow  # 30 s: two commands start
def test_a_student_is_adapted_and_measured(command, undisturbed, photos):
    settings = ("schedule.steps=4", "schedule.warmup_steps=1", "global_batch=4", "data.num_workers=0", "prompts.min_score=0")
    words = [word for setting in settings for word in ("--set", setting)]
    out = photos / "out"
    given = ("--student", undisturbed, "--held-out", photos / "others", "--out", out, *words)
    code, _, error = command("adapt", photos / "mine", *given)
    assert code == 0, error
    before, after = encoders.load(undisturbed), encoders.load(out / "student")
    assert after.arch == before.arch and after.image_size == 64
    statistics = [name for name in before.state_dict() if name.endswith("running_mean")]
    assert all(np.array_equal(before.state_dict()[name], after.state_dict()[name]) for name in statistics)
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {line["model"] for line in results} == {"before", "adapted"}
