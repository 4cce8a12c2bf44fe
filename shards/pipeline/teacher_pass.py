"""Teacher inference on batches of stored photos, without waiting for the device between two batches."""

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from encoders.contract import EMBED_DIM, STRIDE
from encoders.errors import InputError
from encoders.preprocess import normalize_padded, pad_to_square
from encoders.sam import Sam
from shards.cache.stored_photo import StoredPhoto

SLOTS = 3  # batches in host buffers on the way to a GPU and back: one launched, one awaited, one being coded


def embed(teacher: Sam, photos: Sequence[StoredPhoto]) -> np.ndarray:
    """Compute the (B, 256, S/16, S/16) float32 embeddings of stored photos; returned on the CPU.

    Raises:
        InputError: the teacher is in train mode, or its output shape does not match its image size.
    """
    return _embed(teacher, photos, batch=len(photos))


def is_compiled(teacher: Sam) -> bool:
    """Return whether the image encoder is compiled, so that a batch of another size would compile it again."""
    return getattr(teacher.image_encoder, "_compiled_call_impl", None) is not None


class Pass:
    """The teacher's pass over one batch, launched and perhaps not finished.

    Args:
        embeddings: (B, 256, S/16, S/16) float32 on the host; filled when `done` has happened.
        done: an event of the device, None if there is nothing to wait for.
        slot: the host buffers in use.
        seconds: host time of the launch.
    """

    def __init__(
        self, embeddings: np.ndarray, *, seconds: float, done: "torch.cuda.Event | None" = None, slot: "_Slot | None" = None
    ) -> None:
        self.seconds = seconds
        self.slot = slot
        self._embeddings = embeddings
        self._done = done

    def result(self) -> np.ndarray:
        """Wait for the embeddings; they are valid until `TeacherPasses.release`. Adds the waiting time to `seconds`."""
        if self._done is not None:
            started = time.monotonic()
            self._done.synchronize()
            self.seconds += time.monotonic() - started
            self._done = None
        return self._embeddings


class Passes(Protocol):
    """What a maker of shards asks of a teacher; see `TeacherPasses`."""

    @property
    def ahead(self) -> int:
        """Number of passes that may be launched before the oldest one is waited for."""

    def launch(self, photos: Sequence[StoredPhoto]) -> Pass:
        """Start the pass over a batch of photos."""

    def release(self, finished: Pass) -> None:
        """Give back the host buffers of a pass whose result is no longer needed."""


class TeacherPasses:
    """Launches the teacher on batch after batch.

    On a CPU a launch computes the embeddings. On a GPU it copies the photos from pinned memory, starts the pass and the copy
    of its result to pinned memory, and returns; at most SLOTS passes may be unreleased. Short batches are padded to
    `batch_size` if the teacher is compiled.
    """

    def __init__(self, teacher: Sam, *, batch_size: int) -> None:
        self._teacher = teacher
        self._batch_size = batch_size
        self._on_gpu = teacher.device.type == "cuda"
        self._slots: list[_Slot] = []
        self._made = 0

    @property
    def ahead(self) -> int:
        """Number of passes that may be launched before the oldest one is waited for."""
        return 1 if self._on_gpu else 0

    def launch(self, photos: Sequence[StoredPhoto]) -> Pass:
        """Start the pass over at most `batch_size` photos.

        Raises:
            InputError: see `embed`.
        """
        started = time.monotonic()
        batch = self._batch_size if is_compiled(self._teacher) else len(photos)
        if not self._on_gpu:
            embeddings = _embed(self._teacher, photos, batch=batch)
            return Pass(embeddings, seconds=time.monotonic() - started)
        slot = self._take()
        frames, sizes = slot.upload(photos, device=self._teacher.device)
        embeddings_there = _encode(self._teacher, frames[:batch], sizes[:batch])[: len(photos)]
        slot.embeddings[: len(photos)].copy_(embeddings_there, non_blocking=True)
        done = torch.cuda.current_stream(self._teacher.device).record_event()
        array = slot.embeddings[: len(photos)].numpy()
        return Pass(array, done=done, slot=slot, seconds=time.monotonic() - started)

    def release(self, finished: Pass) -> None:
        """Give back the host buffers of a pass whose result is no longer needed."""
        if finished.slot is not None:
            self._slots.append(finished.slot)
            finished.slot = None

    def _take(self) -> "_Slot":
        if self._slots:
            return self._slots.pop()
        if self._made == SLOTS:
            raise RuntimeError(f"{SLOTS} passes are unreleased; release one before the next launch")
        self._made += 1
        return _Slot(batch_size=self._batch_size, image_size=self._teacher.image_size)


class _Slot:
    """Pinned host memory of one batch: pixels (B, S, S, 3) uint8, sizes (B, 2) int64, embeddings (B, 256, S/16, S/16)."""

    def __init__(self, *, batch_size: int, image_size: int) -> None:
        side = image_size // STRIDE
        self.pixels = torch.zeros(batch_size, image_size, image_size, 3, dtype=torch.uint8).pin_memory()
        self.sizes = torch.zeros(batch_size, 2, dtype=torch.int64).pin_memory()
        self.embeddings = torch.zeros(batch_size, EMBED_DIM, side, side).pin_memory()

    def upload(self, photos: Sequence[StoredPhoto], *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Copy photos to the device: (batch_size, 3, S, S) uint8 frames and (batch_size, 2) sizes, 0 x 0 beyond the photos.

        What a frame holds outside its photo is left over from earlier batches and ignored.
        """
        pixels, sizes = self.pixels.numpy(), self.sizes.numpy()
        sizes[:] = 0
        for number, photo in enumerate(photos):
            height, width = photo.pixels.shape[:2]
            pixels[number, :height, :width] = photo.pixels
            sizes[number] = height, width
        frames = self.pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous()
        return frames, self.sizes.to(device, non_blocking=True)


def _embed(teacher: Sam, photos: Sequence[StoredPhoto], *, batch: int) -> np.ndarray:
    """Compute the embeddings of photos, together with empty frames up to `batch`; returned on the CPU, without those."""
    size = teacher.image_size
    frames = torch.stack([pad_to_square(photo.pixels, image_size=size) for photo in photos])
    shapes = [(photo.pixels.shape[0], photo.pixels.shape[1]) for photo in photos]
    if batch > len(photos):
        frames = torch.cat([frames, frames.new_zeros(batch - len(photos), *frames.shape[1:])])
        shapes += [(0, 0)] * (batch - len(photos))
    embeddings = _encode(teacher, frames.to(teacher.device), shapes)
    return np.asarray(embeddings[: len(photos)].cpu().numpy())


def _encode(teacher: Sam, frames: Tensor, shapes: Sequence[tuple[int, int]] | Tensor) -> Tensor:
    """(B, 3, S, S) uint8 frames on the teacher's device -> (B, 256, S/16, S/16) float32 there; checks teacher and shape."""
    if teacher.training:
        raise InputError("the teacher is in train mode, where BatchNorm gives other results; call teacher.eval() first")
    size = teacher.image_size
    with torch.inference_mode():
        embeddings: Tensor = teacher.image_encoder(normalize_padded(frames, shapes)).float()
    expected = (len(frames), EMBED_DIM, size // STRIDE, size // STRIDE)
    if embeddings.shape != expected:
        raise InputError(f"the teacher {teacher.arch} gives {tuple(embeddings.shape)}, expected {expected}")
    return embeddings
