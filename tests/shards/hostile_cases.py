"""All hostile inputs; run as a module it prints docs/hostile_inputs.md."""

import hostile_annotations
import hostile_photos
import hostile_places
import hostile_tars
from hostile_case import table

GROUPS = {
    "Photos": hostile_photos.CASES,
    "Annotations of a photo in a tar": hostile_annotations.CASES,
    "Tars": hostile_tars.CASES,
    "Folders": hostile_places.FOLDERS,
    "COCO files": hostile_places.COCO,
}

if __name__ == "__main__":
    print(table(GROUPS), end="")
