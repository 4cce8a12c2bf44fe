"""A check, before a cache is begun, that the chosen codec is accurate enough for the teacher's embeddings."""

from itertools import islice

from encoders.errors import InputError
from encoders.sam import Sam
from shards.cache.stored_photo import StoredPhoto, store_item
from shards.codec.base import Gate
from shards.codec.fidelity import EmbeddingPair, Fidelity, measure_fidelity, stored_boxes
from shards.codec.records import decode_embedding, encode_embedding, get_codec
from shards.pipeline.teacher_pass import embed
from shards.sources.base import Source

PHOTOS, PROMPTS = 2, 16  # number of usable photos measured, and most prompts on each
DOUBT = 2.0  # refuse only if the mean mask IoU is below the gate by more than this many standard errors
TRIED = 64  # source items searched for usable photos


def check_codec(source: Source, *, teacher: Sam, codec: str) -> None:
    """Measure the codec on the source's first usable photos; nothing is written.

    Every process and every call uses the same photos and prompts, so all get the same result. Few prompts cannot
    distinguish 0.969 from 0.971, so a codec is refused only if its mask IoU is below the gate by more than DOUBT standard
    errors. Use `cache stats` on a finished cache to measure it on any number of records.

    Raises:
        InputError: the codec misses its gate; gives the figures and what to use instead.
    """
    stored = (store_item(source, item, image_size=teacher.image_size) for item in source.items()[:TRIED])
    photos = list(islice((photo for photo in stored if isinstance(photo, StoredPhoto)), PHOTOS))
    comparisons = []
    for photo, raw in zip(photos, embed(teacher, photos) if photos else (), strict=True):
        shape = (photo.pixels.shape[0], photo.pixels.shape[1])
        try:
            record = encode_embedding(raw, shape=shape, codec=codec)
        except InputError:
            continue  # precompute reports and counts it
        coded = decode_embedding(record, image_size=teacher.image_size)
        boxes = stored_boxes(photo.facts, image_size=teacher.image_size)[:PROMPTS]
        comparisons.append(EmbeddingPair(raw=raw, coded=coded, shape=shape, boxes=boxes))
    if not comparisons:
        return
    fidelity = measure_fidelity(comparisons, teacher=teacher)
    gate = get_codec(codec).gate
    if missed := missed_gate(fidelity, gate, doubt=DOUBT):
        instead = f"use codec {gate.instead}" if gate.instead else "no codec here is more exact: look at the teacher"
        raise InputError(
            f"codec {codec} loses too much of this teacher's embeddings: {missed} on {fidelity.prompts} prompts on"
            f" {fidelity.samples} photos; {instead}, or turn the check off (codec_gate: false)"
        )


def missed_gate(fidelity: Fidelity, gate: Gate, *, doubt: float = 0.0) -> str | None:
    """Describe the figures that miss a codec's gate, with their limits; None if the gate is met.

    Args:
        doubt: number of standard errors by which the mask IoU may be below the gate.
    """
    missed = []
    if fidelity.mask_iou + doubt * fidelity.mask_iou_error < gate.mask_iou:
        figure = f"{fidelity.mask_iou:.4f} ± {fidelity.mask_iou_error:.4f}"
        missed.append(f"mask_iou {figure}, its gate is at least {gate.mask_iou}")
    if fidelity.relative_mse > gate.relative_mse:
        missed.append(f"relative_mse {fidelity.relative_mse:.2e}, its gate is at most {gate.relative_mse:.0e}")
    return " and ".join(missed) or None
