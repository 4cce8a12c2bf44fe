"""An earlier student adapted to a user's own photos, without masks: precompute, distil, measure."""

from dataclasses import dataclass
from pathlib import Path

import encoders
from distill.jobs.own_commands import run_command
from encoders.errors import InputError
from encoders.files import check_output_folder

PRECOMPUTE, DISTIL = "own_photos_precompute", "own_photos_adapt"
BEFORE, AFTER = "before", "adapted"


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What to adapt to which photos.

    Attributes:
        photos: a folder, a tar, or a COCO json; annotations are not read.
        student: a run folder, or a checkpoint file with `arch`.
        teacher: a registry name, a run folder, or a checkpoint file; it sees the photos at the student's size.
        held_out: other photos of the kind, to measure agreement on; None: no measurement.
        out: folder of all that is made.
        overrides: "key=value" for the config of the training.
    """

    photos: str
    student: str
    arch: str | None
    teacher: str
    teacher_arch: str | None
    held_out: Path | None
    out: Path
    overrides: tuple[str, ...] = ()


def adapt(job: Adaptation) -> Path:
    """Run it, or go on where it stopped; return the folder of the adapted student.

    Raises:
        InputError: the student cannot be loaded or is fused, or the photos to measure on are among those to train on.
    """
    student = encoders.load(job.student, arch=job.arch)
    if student.fused:
        raise InputError(f"{job.student} is fused and cannot be trained; give the run or checkpoint that it was made from")
    if job.held_out is not None and _overlap(job.held_out, Path(job.photos)):
        raise InputError(f"--held-out {job.held_out} and {job.photos} lie in one another; hold out other photos of the kind")
    teacher = [f"teacher.model={job.teacher}", f"teacher.image_size={student.image_size}"]
    teacher += [f"teacher.arch={job.teacher_arch}"] if job.teacher_arch else []
    cache, adapted = job.out / "cache", job.out / "student"
    run_command("precompute", "--config", PRECOMPUTE, *_set(f"source.path={job.photos}", f"out={cache}", *teacher))
    start = _telling(job.student, arch=job.arch, image_size=student.image_size, copy=job.out / "before.safetensors")
    model = [f"model.arch={student.arch}", f"model.image_size={student.image_size}", f"model.init={start}"]
    settings = (*model, *teacher, f"data.cache={cache}", f"out={adapted}", *job.overrides)
    run_command("distill", "--config", DISTIL, *_set(*settings))
    if job.held_out is not None:
        reference = _telling(
            job.teacher, arch=job.teacher_arch, image_size=student.image_size, copy=job.out / "teacher.safetensors"
        )
        models = ("-m", f"{BEFORE}={start}", "-m", f"{AFTER}={adapted}", "--reference", reference, "--against", BEFORE)
        data = ("-s", "agreement", "--data", str(job.held_out), "--image-size", str(student.image_size))
        run_command("eval", *models, *data, "--out", str(job.out / "results.jsonl"))
    return adapted


def _overlap(one: Path, other: Path) -> bool:
    """Return whether one is the other, or lies in it: folders of photos are read with the folders in them."""
    one, other = one.resolve(), other.resolve()
    return one == other or (one.is_dir() and other.is_dir() and (other in one.parents or one in other.parents))


def _telling(model: str, *, arch: str | None, image_size: int, copy: Path) -> str:
    """Return the model, or, where its file does not tell its architecture, a copy that does.

    `model.init` takes no architecture, and `eval --arch` is that of all models.
    """
    if arch is None:
        return model
    check_output_folder(copy.parent)
    encoders.save_sam(encoders.load(model, arch=arch, image_size=image_size), copy)
    return str(copy)


def _set(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]
