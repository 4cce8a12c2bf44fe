"""Tools by name: `--for TOOL` writes a model, a configuration and a readme that work when they are dropped into the tool.

A target is a `Format` whose `write` writes the tool's own files, and whose `open` makes the tool's own calls, so that the
certificate measures what a user of the tool will get. `open` executes models alone, never code that lies in the folder.
"""

import importlib

from encoders.errors import InputError, did_you_mean
from encoders.export.formats.base import Format

TARGETS = {
    "segment-anything": "encoders.export.targets.segment_anything:SegmentAnythingTarget",
    "x-anylabeling": "encoders.export.targets.x_anylabeling:XAnyLabelingTarget",
    "x-anylabeling-edge-sam": "encoders.export.targets.x_anylabeling_edge_sam:XAnyLabelingEdgeSamTarget",
    "anylabeling": "encoders.export.targets.anylabeling:AnyLabelingTarget",
    "osam": "encoders.export.targets.osam:OsamTarget",
    "transformers.js": "encoders.export.targets.transformers_js:TransformersJsTarget",
    "cvat": "encoders.export.targets.cvat:CvatTarget",
    "python": "encoders.export.targets.python:PythonTarget",
    "web": "encoders.export.targets.web:WebTarget",
    "apple-segmenter": "encoders.export.targets.apple_segmenter:AppleSegmenterTarget",
}


def find_target(name: str) -> Format:
    """Return the target of this name.

    Raises:
        InputError: there is no such target.
    """
    if name not in TARGETS:
        raise InputError(f"unknown tool {name!r}; expected one of {', '.join(TARGETS)}{did_you_mean(name, TARGETS)}")
    module, _, attribute = TARGETS[name].partition(":")
    made: Format = getattr(importlib.import_module(module), attribute)()
    return made
