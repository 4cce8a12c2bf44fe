"""A synchronous TensorBoard event writer; TensorBoard's own writer thread dies silently on a full disk."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.files import write_errors

RGB = 3  # TensorBoard's number for it


class EventFile:
    """Writes a run's scalars for TensorBoard.

    Args:
        folder: the run folder.
        start_step: TensorBoard discards later steps in earlier files of the folder.

    Raises:
        InputError: here or later, if the file cannot be written.
    """

    def __init__(self, folder: Path, *, start_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # imported here because it is slow
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        self.path = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        with write_errors(self.path):
            self._file = self.path.open("ab", buffering=0)
        self._records = RecordWriter(Whole(self._file))
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._write(Event(wall_time=time.time(), step=start_step + 1, session_log=SessionLog(status=SessionLog.START)))

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """Add one point to each curve; "loss" becomes "train/loss", a name with a slash stays."""
        tags = {name if "/" in name else f"train/{name}": value for name, value in values.items()}
        points = [self._summary.Value(tag=tag, simple_value=value) for tag, value in tags.items()]
        self._write(self._event(wall_time=time.time(), step=step, summary=self._summary(value=points)))

    def picture(self, tag: str, png: bytes, *, width: int, height: int, step: int) -> None:
        """Add a PNG of RGB pixels."""
        image = self._summary.Image(width=width, height=height, colorspace=RGB, encoded_image_string=png)
        value = self._summary.Value(tag=tag, image=image)
        self._write(self._event(wall_time=time.time(), step=step, summary=self._summary(value=[value])))

    def close(self) -> None:
        self._file.close()

    def _write(self, event: Any) -> None:
        with write_errors(self.path):
            self._records.write(event.SerializeToString())


class Whole:
    """A file whose `write` writes everything or raises OSError; that of a plain unbuffered file may write only a part."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
