"""All hostile inputs; run as a module it prints docs/hostile_inputs.md."""

from tests.shards.hostile import annotations, photos, places, tars
from tests.shards.hostile.case import table

GROUPS = {
    "Photos": photos.CASES,
    "Annotations of a photo in a tar": annotations.CASES,
    "Tars": tars.CASES,
    "Folders": places.FOLDERS,
    "COCO files": places.COCO,
}

if __name__ == "__main__":
    print(table(GROUPS), end="")
