"""The loop of every evaluation: each sample is read once, and each model asked what was not seen yet."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError

from encoders.errors import InputError
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.plausible import BoxCheck
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.progress import Progress
from eval_zeroshot.results.lines import problem
from eval_zeroshot.results.observations import Observation, ObservationStore
from eval_zeroshot.suites.base import Follows, KeepsFiles, Suite

Stores = Mapping[tuple[str, str], ObservationStore]  # (suite, model) -> its observations


def observe_all(
    predictors: Mapping[str, PredictorLike],
    suites: Sequence[Suite],
    samples: Iterable[Sample],
    stores: Stores,
    *,
    progress: Progress | None = None,
    total: int | None = None,
    dataset: str | None = None,
) -> dict[str, str]:
    """Ask all models about each sample what the stores do not hold yet.

    Args:
        stores: for each suite and model, filled.
        progress: called after each sample, with `total`.
        dataset: name for a note on annotations that are implausible; None gives none.

    Returns:
        Key -> sha256 of the annotations, of all samples in order.

    Raises:
        InputError: two samples have one key, a key is not UTF-8, or an answer cannot be kept.
    """
    found: dict[str, str] = {}
    boxes = BoxCheck()
    for sample in samples:
        boxes.look_at(sample)
        if sample.key in found:
            raise InputError(f"two samples have the key {sample.key}; keys must be unique within a data set")
        if not _is_text(sample.key):
            raise InputError(f"the photo {sample.key!r} has a name that is not UTF-8; rename its file")
        shown = {"image_sha256": sample.image_sha256(), "annotations_sha256": sample.annotations_sha256()}
        found[sample.key] = shown["annotations_sha256"]
        for model, predictor in predictors.items():
            due = [
                suite
                for suite in suites
                if stores[suite.name, model].get(sample.key, ids=suite.counted_ids(sample), **shown) is None
            ]
            if due:
                predictor.set_image(sample.image)
            for suite in due:
                store = stores[suite.name, model]
                try:
                    seen = observe(suite, predictor, sample, store=store)
                except ValidationError as error:
                    where = f"{model}, suite {suite.name}, photo {sample.key}"
                    raise InputError(f"{where}: the answer cannot be kept ({problem(error)})") from error
                store.add(seen.model_copy(update=shown))
        if progress is not None:
            progress(len(found), total)
    if dataset is not None:
        boxes.warn(dataset)
    return found


def observe(suite: Suite, predictor: PredictorLike, sample: Sample, *, store: ObservationStore) -> Observation:
    """Ask about one sample, which the predictor has set; the store has the samples before it, and a folder for files."""
    if isinstance(suite, KeepsFiles):
        return suite.observe_keeping(predictor, sample, folder=store.folder)
    if isinstance(suite, Follows):
        before = store.found.get(suite.predecessor(sample) or "")
        return suite.observe_following(predictor, sample, before=before)
    return suite.observe(predictor, sample)


def _is_text(key: str) -> bool:
    """Whether a file can hold it; a name on Linux is bytes, which need be no UTF-8."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
