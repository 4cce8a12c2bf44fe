"""The photos of observations, found again in the data sets that were evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from encoders.errors import InputError
from encoders.samples.sample import Sample
from eval_zeroshot.results.observations import Observation


class NamedPhotos(Protocol):
    """A data set by number, with the name that results give it; see `open_dataset`."""

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(kw_only=True)
class PhotosByKey:
    """Samples of several data sets by name and key; a photo is looked for where the observations have it first."""

    datasets: Sequence[NamedPhotos] = field(default_factory=tuple)

    def called(self, name: str) -> list[NamedPhotos]:
        """The data sets that results call `name`, or of which it is the first photos."""
        return [each for each in self.datasets if name == each.name or name.startswith(f"{each.name}[")]

    def samples(self, name: str, wanted: Mapping[str, tuple[int, Observation]]) -> dict[str, Sample]:
        """Key -> sample, for keys with the number where each probably lies and what was seen of it.

        Raises:
            InputError: a photo is not in a data set of this name, or with other annotations.
        """
        found: dict[str, Sample] = {}

        def take(sample: Sample) -> None:
            if sample.key in wanted and wanted[sample.key][1].annotations_sha256 in ("", sample.annotations_sha256()):
                found.setdefault(sample.key, sample)

        for photos in self.called(name):
            for place, _ in wanted.values():
                if place < len(photos):
                    take(photos[place])
        for photos in self.called(name):
            for index in range(len(photos)):
                if len(found) == len(wanted):
                    return found
                take(photos[index])
        if left := sorted(set(wanted) - set(found)):
            raise InputError(f"{name} has no photo {left[0]} with the annotations that were evaluated; give --data as in eval")
        return found
