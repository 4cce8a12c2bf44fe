"""The photos of observations, found again in the data sets that were evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from encoders.errors import InputError
from encoders.sample import Sample


class Photos(Protocol):
    """A data set by number, with the name that results give it; see `open_dataset`."""

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(kw_only=True)
class PhotosByKey:
    """Samples of several data sets by name and key; a photo is looked for where the observations have it first."""

    datasets: Sequence[Photos] = field(default_factory=tuple)

    def dataset(self, name: str) -> Photos | None:
        """The data set that results call `name`, or of which it is the first photos."""
        fitting = (each for each in self.datasets if name == each.name or name.startswith(f"{each.name}["))
        return next(fitting, None)

    def samples(self, name: str, wanted: Mapping[str, int]) -> dict[str, Sample]:
        """Key -> sample, for keys with the number where each probably lies.

        Raises:
            InputError: a photo is not in the data set.
        """
        photos = self.dataset(name)
        if photos is None:
            return {}
        found = {}
        for key, place in wanted.items():
            if place < len(photos) and (sample := photos[place]).key == key:
                found[key] = sample
        left = set(wanted) - set(found)
        for index in range(len(photos) if left else 0):
            sample = photos[index]
            if sample.key in left:
                found[sample.key] = sample
                left.remove(sample.key)
            if not left:
                break
        if left:
            raise InputError(f"{name} has no photo {sorted(left)[0]}; give --data as it was given to eval")
        return found
