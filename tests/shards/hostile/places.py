"""Hostile folders, COCO files and lists."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.shards.helpers.photos import jpeg, make_photo
from tests.shards.hostile.case import Case, as_nobody, folder_with


def bad(name: str, says: str, *makers: Callable[[Path], object], **more: Any) -> Case:
    return Case(name=name, outcome="quarantined", says=says, build=folder_with(*makers), **more)


def left_out(name: str, says: str, *makers: Callable[[Path], object]) -> Case:
    return Case(name=name, outcome="left out", says=says, build=folder_with(*makers))


def photo(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(jpeg(make_photo(2)))


def link(name: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).symlink_to(target)


def circle_of_folders(folder: Path) -> None:
    (folder / "down").mkdir()
    (folder / "down" / "up").symlink_to("..")


def named_in_bytes(folder: Path) -> None:
    with open(os.fsencode(folder) + b"/b\xff.jpg", "wb") as file:
        file.write(jpeg(make_photo(2)))


def replaced_by_pipe(folder: Path) -> None:
    (folder / "b.jpg").unlink()
    os.mkfifo(folder / "b.jpg")


FOLDERS = [
    bad("a link that leads to itself", "a link that leads in a circle", link("b.jpg", "b.jpg")),
    bad("a link that leads nowhere", "a link that leads nowhere", link("b.jpg", "absent.jpg")),
    bad("a pipe named .jpg", "a pipe, not a file", lambda folder: os.mkfifo(folder / "b.jpg")),
    bad("a link to a device", "a device or socket, not a file", link("b.jpg", "/dev/zero")),
    bad("a file whose reading fails", "cannot be read (Input/output error)", link("b.jpg", "/proc/self/mem")),
    bad(
        "a file that may not be read",
        "cannot be opened (Permission denied)",
        photo("b.jpg"),
        lambda folder: (folder / "b.jpg").chmod(0),
        around=as_nobody,
    ),
    bad(
        "a file that vanished after the listing",
        "does not exist",
        photo("b.jpg"),
        then=lambda folder: (folder / "b.jpg").unlink(),
    ),
    bad("a file that a pipe replaced after the listing", "is a pipe; expected a file", photo("b.jpg"), then=replaced_by_pipe),
    Case(name="a link to a photo", outcome="kept", says="followed", build=folder_with(link("b.jpg", "sa_1.jpg"))),
    Case(
        name="two names that make one key (sa_1.jpg, sa_1.png)",
        outcome="kept",
        says="the second key ends in a hash",
        build=folder_with(photo("sa_1.png")),
    ),
    Case(name="a name that is no UTF-8", outcome="kept", says="shown with escapes", build=folder_with(named_in_bytes)),
    left_out("a folder named .jpg", "its photos are listed", lambda folder: (folder / "b.jpg").mkdir()),
    left_out("links between folders that go in a circle", "links to folders are not followed", circle_of_folders),
    left_out("hidden files", "hidden", photo(".b.jpg")),
    left_out("files of other kinds (b.svg, b.html, b.exe)", "by their suffix", photo("b.svg"), photo("b.html"), photo("b.exe")),
    Case(
        name="a folder that may not be listed",
        outcome="refused",
        says="cannot be listed (Permission denied)",
        around=as_nobody,
        build=folder_with(lambda folder: (folder / "closed").mkdir(mode=0)),
    ),
    Case(
        name="photos and tars in one folder",
        outcome="refused",
        says="name the tars with a glob",
        build=folder_with(lambda folder: (folder / "sa.tar").write_bytes(bytes(10240))),
    ),
]


def coco(*images: dict[str, Any], annotations: Any = (), text: str | None = None) -> Callable[[Path], Path]:
    """The two good photos and what else a json lists."""

    def build(folder: Path) -> Path:
        folder_with()(folder)
        records = [{"id": n, "file_name": f"sa_{n}.jpg"} for n in (1, 4)]
        content = {"images": [*records, *images], "annotations": list(annotations)}
        (folder / "x.json").write_text(json.dumps(content) if text is None else text)
        (folder / "images").symlink_to(".")
        return folder / "x.json"

    return build


def coco_bad(name: str, says: str, *images: dict[str, Any], **more: Any) -> Case:
    return Case(name=name, outcome="quarantined", says=says, build=coco(*images, **more))


def coco_refused(name: str, says: str, *images: dict[str, Any], **more: Any) -> Case:
    return Case(name=name, outcome="refused", says=says, build=coco(*images, **more))


COCO = [
    coco_bad("a file name that climbs out (../b.jpg)", "leads out of the folder", {"id": 9, "file_name": "../b.jpg"}),
    coco_bad("an absolute file name", "leads out of the folder", {"id": 9, "file_name": "/etc/passwd"}),
    coco_bad("a file name with a NUL", "does not exist or cannot be opened", {"id": 9, "file_name": "b\0.jpg"}),
    coco_bad("a file name of 5,000 characters", "File name too long", {"id": 9, "file_name": "b" * 5000 + ".jpg"}),
    coco_bad("a file name with half a surrogate pair", "cannot be opened", {"id": 9, "file_name": "b\ud800.jpg"}),
    coco_bad("a photo that is not there", "does not exist", {"id": 9, "file_name": "b.jpg"}),
    coco_bad("a photo listed twice", "duplicate key 'sa_1'", {"id": 9, "file_name": "sa_1.jpg"}),
    coco_refused("one image id for two photos", "lists image id 4 twice", {"id": 4, "file_name": "b.jpg"}),
    coco_refused("a COCO json nested 100,000 deep", "not valid json", text="[" * 100_000),
    coco_refused("a COCO json cut off", "not valid json", text='{"images": [{"id": 1, '),
    coco_refused("an annotation of no photo in particular", "a record without 'image_id'", annotations=[{"id": 1}]),
    coco_refused("image ids of two types", "not in COCO format", {"id": "x", "file_name": "b.jpg"}),
    coco_refused("an image id that is a list", "not in COCO format", {"id": [1], "file_name": "b.jpg"}),
]
