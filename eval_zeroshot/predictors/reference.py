"""Photos without annotations as samples for `agreement`: a reference model's masks stand in for what people would mark.

A sample has two objects for each prompted thing: the reference's mask for the point (category `POINT`) and for the box (`BOX`).
`meta["prompts"]` holds what was asked, one for each object: `{"point": [x, y]}` or `{"box": [x0, y0, x1, y1]}`.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

import encoders
from encoders.contract import STRIDE
from encoders.errors import InputError
from encoders.geometry import embedding_shape, mask_box
from encoders.samples.rle import decode_segmentation
from encoders.samples.sample import Sample, image_sha256
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.predictors.reference_masks import FILE_IN_WORDS, GRID_IN_WORDS, Answered, PointsAndBoxes, answer
from eval_zeroshot.results.observations import Observation, ObservationStore

POINT, BOX = 1, 2  # category of an object: what its mask is the answer to
CORNERS = ("x0", "y0", "x1", "y1")  # of a prompt, as they are stored; a point's corners are equal
GREY = (124, 116, 104)  # SAM's mean colour: a photo without content


@dataclass(frozen=True, kw_only=True)
class OwnPhoto:
    """A photo without annotations.

    Attributes:
        key: unique in its data set.
        image: (H, W, 3) uint8 RGB.
        prompts: what to ask about it; None asks a grid.
        embedding: (256, S/16, S/16) float32 of the reference, valid where the photo is, so that it need not encode the photo.
    """

    key: str
    image: np.ndarray
    prompts: PointsAndBoxes | None = None
    embedding: np.ndarray | None = None


class OwnPhotos(Protocol):
    """Photos by number, in a fixed order.

    Attributes:
        given_prompts: whether the photos bring their prompts.
    """

    given_prompts: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> OwnPhoto: ...


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A model whose masks count as the truth, and what results say of it.

    Attributes:
        name: for people; two names of the same weights are the same reference.
        identity: architecture and sha256 of the weights, and whatever else makes its masks others.
        image_size: S in pixels; None where it does not say.
        open: opens the model; called once, when the first photo is asked about.
    """

    name: str
    identity: str
    image_size: int | None
    open: Callable[[], PredictorLike]

    def in_words(self) -> str:
        """For a protocol."""
        return f"{self.identity}{'' if self.image_size is None else f' at {self.image_size} px'}"


class ReferencedPhotos:
    """Samples of photos without annotations, see the head of this file. The reference's answers are kept in a file.

    Args:
        photos: the photos.
        reference: whose masks they get.
        name: of the data set in results.
        state: folder for the reference's answers, so that the same call continues there; None keeps nothing.
        part: name of this process's own file, where several share the photos.
    """

    def __init__(
        self, photos: OwnPhotos, *, reference: Reference, name: str, state: Path | None = None, part: str | None = None
    ) -> None:
        self.reference = reference
        self.name = name
        self._photos, self._state, self._part = photos, state, part
        self._store: ObservationStore | None = None
        self._asker: _Asker | None = None

    @property
    def prompts_in_words(self) -> str:
        """Where the prompts come from."""
        return FILE_IN_WORDS if self._photos.given_prompts else GRID_IN_WORDS

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> Sample:
        photo = self._photos[index]
        return sample_of(photo, self._answered(photo))

    def _answered(self, photo: OwnPhoto) -> Observation:
        """The reference's masks for a photo's points, then for its boxes; from the file where they are there."""
        store = self._store = self._store or self._open_store()
        digest, asked = image_sha256(photo.image), _prompts_sha256(photo.prompts)
        seen = store.found.get(photo.key)
        if seen is not None and (seen.image_sha256, seen.annotations_sha256) == (digest, asked):
            return seen
        self._asker = self._asker or _Asker(self.reference.open())
        found = self._asker.answer(photo)
        points, boxes = found.prompts.points, found.prompts.boxes
        corners = np.concatenate([np.hstack([points, points]), boxes]).reshape(-1, 4)
        seen = Observation(
            key=photo.key,
            image_sha256=digest,
            annotations_sha256=asked,
            ids=list(range(len(corners))),
            values={name: corners[:, place].tolist() for place, name in enumerate(CORNERS)},
            masks=[*found.of_points, *found.of_boxes],
        )
        store.add(seen)
        return seen

    def close(self) -> None:
        """Let other processes write the file of the reference's answers."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _open_store(self) -> ObservationStore:
        about = {"dataset": self.name, "reference": self.reference.in_words(), "prompts": self.prompts_in_words}
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
        parts = (re.sub(r"[^\w\-]+", "_", part) for part in (self.name, "reference", self.reference.name))
        path = None if self._state is None else self._state / f"{'.'.join(parts)}.{digest}.jsonl"
        return ObservationStore(path, identity=about, part=self._part)


def sample_of(photo: OwnPhoto, answered: Observation) -> Sample:
    """A photo with a reference's answers, as the head of this file has it.

    Raises:
        InputError: the answers do not fit together or the photo, as they were changed in their file.
    """
    shape = (int(photo.image.shape[0]), int(photo.image.shape[1]))
    try:
        if {len(answered.values.get(name, [])) for name in CORNERS} != {len(answered.masks)} or len(answered.masks) % 2:
            raise InputError("not one mask for each point and box")
        masks = [decode_segmentation(rle, shape=shape) for rle in answered.masks]
    except InputError as error:
        raise InputError(
            f"what was kept of the reference's answers about photo {photo.key} was changed: {error}; delete its line in the "
            ".state folder and run eval again"
        ) from error
    corners = np.asarray([answered.values[name] for name in CORNERS], np.float64).T.reshape(-1, 4)
    kinds = [POINT] * (len(masks) // 2) + [BOX] * (len(masks) // 2)
    prompts: list[dict[str, list[float]]] = [
        {"point": its[:2].tolist()} if kind == POINT else {"box": its.tolist()}
        for kind, its in zip(kinds, corners, strict=True)
    ]
    return Sample(
        key=photo.key,
        image=photo.image,
        boxes=[mask_box(mask) if mask.any() else np.zeros(4, np.float32) for mask in masks],
        masks=masks,
        category_ids=kinds,
        meta={"prompts": prompts},
    )


class _Asker:
    """A reference that is open; of photos with a stored embedding only its decoder runs."""

    def __init__(self, predictor: PredictorLike) -> None:
        self._predictor = predictor
        self._padding: dict[tuple[int, int], Tensor] = {}

    def answer(self, photo: OwnPhoto) -> Answered:
        """Set the photo and ask."""
        shape = (int(photo.image.shape[0]), int(photo.image.shape[1]))
        if photo.embedding is None:
            self._predictor.set_image(photo.image)
        else:
            if not isinstance(self._predictor, encoders.Predictor):
                raise InputError("stored embeddings need a model of ours as --reference: the teacher that made them")
            self._predictor.set_embedding(self._padded(self._predictor, photo.embedding, shape), shape=shape)
        return answer(self._predictor, shape=shape, prompts=photo.prompts)

    def _padded(self, predictor: encoders.Predictor, embedding: np.ndarray, shape: tuple[int, int]) -> Tensor:
        """(1, 256, S/16, S/16): the stored positions, and around them what the model makes of a grey photo's padding.

        A cache does not store padding, which the decoder sees. With sam_demo at 256 px on 12 photos, masks for points agree by
        0.956 with those of the whole embedding if padding is zero, and by 0.984 with a grey photo's; for boxes 0.984 and 0.991.
        """
        rows, columns = embedding_shape(shape)
        if (rows, columns) not in self._padding:
            grey = np.broadcast_to(np.asarray(GREY, np.uint8), (*shape, 3))
            predictor.set_image(np.ascontiguousarray(grey))
            self._padding[rows, columns] = predictor.embedding.clone()
        if embedding.shape[-1] != predictor.image_size // STRIDE:
            raise InputError(f"stored embeddings are {embedding.shape}, the reference's image size is {predictor.image_size}")
        whole = self._padding[rows, columns].clone()
        whole[0, :, :rows, :columns] = torch.from_numpy(embedding)[:, :rows, :columns]
        return whole


def _prompts_sha256(prompts: PointsAndBoxes | None) -> str:
    """Tells given prompts from others; empty for the grid, which a store's identity names."""
    if prompts is None:
        return ""
    values: Any = [prompts.points.tolist(), prompts.boxes.tolist()]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
