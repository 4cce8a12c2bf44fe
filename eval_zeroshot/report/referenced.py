"""Photos without annotations for the gallery, with what `agreement` compared models with: a reference's kept answers."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from encoders.samples.sample import Sample
from eval_zeroshot.predictors.reference import OwnPhotos, sample_of
from eval_zeroshot.report.observed import first_line, newest_first
from eval_zeroshot.results.observations import Observation, read_observations

ABOUT = ("dataset", "reference", "prompts")  # what the identity of a file of a reference's answers says


class AnsweredPhotos:
    """Samples of photos with one reference's answers; a photo that has none has no object.

    Args:
        photos: as they were given to `eval`.
        name: of the data set in results.
        answers: key of a photo -> the reference's masks, with the prompts that they answer.
    """

    def __init__(self, photos: OwnPhotos, *, name: str, answers: Mapping[str, Observation]) -> None:
        self.name = name
        self._photos, self._answers = photos, answers

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> Sample:
        photo = self._photos[index]
        bare = Sample(key=photo.key, image=photo.image)
        answered = self._answers.get(photo.key)
        if answered is None or answered.image_sha256 != bare.image_sha256():
            return bare
        return sample_of(photo, answered)


def kept_answers(states: Iterable[Path], *, name: str) -> list[dict[str, Observation]]:
    """Of each reference that was asked about the photos of a data set, key -> its masks; of those kept in `.state` folders.

    Raises:
        InputError: a file of answers is damaged; names the line.
    """
    found: dict[str, dict[str, Observation]] = {}
    for path in newest_first(states):
        if b'"prompts":' not in first_line(path):  # a model's own observations, which may be long
            continue
        identity, answers = read_observations(path)
        if identity is not None and set(identity) == set(ABOUT) and identity["dataset"] == name:
            of_one = found.setdefault(repr(sorted(identity.items())), {})
            for answer in answers:
                of_one.setdefault(answer.key, answer)  # a file of each rank is one of several
    return list(found.values())
