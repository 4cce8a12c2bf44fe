"""Verification of stored embeddings against the teacher's recomputed ones."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from encoders.geometry import embedding_shape
from encoders.sam import Sam
from shards.cache.identity import CACHE_FILE, CacheIdentity
from shards.cache.manifest import Manifest, ShardEntry
from shards.cache.shard_reader import StoredSample
from shards.cache.stored_photo import StoredPhoto
from shards.codec.records import decode_embedding, encode_embedding
from shards.pipeline.teacher_pass import embed
from shards.verification.findings import Problem, Remedy, VerifyReport
from shards.verification.reading import opened_reader

BATCH_SIZE = 4
# Deviation allowed for another device, batch size or float precision, as a share of the embedding's root mean square.
# Another teacher or preprocessing deviates far more.
TOLERANCE = 0.01


def verify_against_teacher(
    report: VerifyReport,
    identity: CacheIdentity,
    entries: Sequence[ShardEntry],
    *,
    teacher: Sam,
    samples: int,
    seed: int,
) -> None:
    """Compare samples of the intact shards with the teacher's recomputed embeddings and add the result to the report.

    A stored embedding may deviate from the recomputed one by the codec's own error plus TOLERANCE, both in its root mean
    square over the photo and at its worst position.
    """
    damaged = set(report.damaged)
    whole = [entry for entry in entries if entry.name not in damaged]
    with opened_reader(Manifest(report.cache, identity, tuple(whole))) as reader:
        drawn = [reader.read(*place) for place in draw([len(entry.keys) for entry in whole], samples=samples, seed=seed)]
    wrong: list[Problem] = []
    for start in range(0, len(drawn), BATCH_SIZE):
        batch = drawn[start : start + BATCH_SIZE]
        photos = [stored_photo(sample) for sample in batch]
        for sample, photo, embedding in zip(batch, photos, embed(teacher, photos), strict=True):
            if (problem := _compare(report, identity, sample, photo, embedding)) is not None:
                wrong.append(problem)
    report.recomputed = len(drawn)
    if len(wrong) == len(drawn) > 1:
        text = f"none of {len(drawn)} samples is what the teacher gives; made by other code or weights. {wrong[0]}"
        wrong = [Problem(where=CACHE_FILE, problem=text, remedy=Remedy.AGAIN)]
    report.problems += wrong


def draw(counts: Sequence[int], *, samples: int, seed: int) -> list[tuple[int, int]]:
    """Draw `samples` distinct (shard number, sample within it) pairs, sorted; all samples are equally likely."""
    ends = list(accumulate(counts))
    total = ends[-1] if ends else 0
    chosen = np.sort(np.random.default_rng(seed).choice(total, size=min(samples, total), replace=False))
    shards = np.searchsorted(ends, chosen, side="right")
    return [(int(shard), int(place) - ends[shard] + counts[shard]) for shard, place in zip(shards, chosen, strict=True)]


def _compare(
    report: VerifyReport, identity: CacheIdentity, sample: StoredSample, photo: StoredPhoto, embedding: np.ndarray
) -> Problem | None:
    shape = (photo.pixels.shape[0], photo.pixels.shape[1])
    rows, columns = embedding_shape(shape)
    size = identity.image_size
    again = decode_embedding(encode_embedding(embedding, shape=shape, codec=identity.codec), image_size=size)
    kept = embedding[:, :rows, :columns]
    coding, stored = (
        np.abs(values[:, :rows, :columns] - kept) for values in (again, sample.embedding(image_size=size))
    )
    scale = float(np.sqrt(np.mean(kept**2)))
    error, codec_error = (float(np.sqrt(np.mean(d**2))) / scale for d in (stored, coding))
    worst, codec_worst = (float(d.max()) / scale for d in (stored, coding))
    if not error <= report.worst_error:
        report.worst_error, report.codec_error = error, codec_error
    if error <= codec_error + TOLERANCE and worst <= 2 * codec_worst + 10 * TOLERANCE:
        return None
    text = (
        f"its embedding is {error:.3g} (at worst {worst:.3g}) of the teacher's root mean square away from what the"
        f" teacher gives, where codec {identity.codec} explains {codec_error:.3g} ({codec_worst:.3g})"
    )
    return Problem(where=sample.shard, key=sample.key, problem=text)


def stored_photo(sample: StoredSample) -> StoredPhoto:
    """Restore a sample's stored photo, without its embedding. Raises InputError if its pixels or json cannot be read."""
    return StoredPhoto(
        key=sample.key, where=sample.where, jpeg=sample.jpeg, pixels=sample.pixels(), facts=sample.json()
    )
