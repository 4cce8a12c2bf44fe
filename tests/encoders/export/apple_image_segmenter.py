"""What Apple's `ImageSegmenter` does with a segmenter bundle and a photo, written down again in numpy.

Source: apple/coreai-models at 86b363d, in swift/Sources: `ModelBundle.swift`, `ModelIONameResolver.swift`,
`ImagePreprocessor.swift`, `ImageSegmentationEngine.swift` and `SegmentationPostprocessor.swift`.
"""

import json
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import from_numpy

FOREGROUND, BACKGROUND, TOP_LEFT, BOTTOM_RIGHT = 1, 0, 2, 3


def model_path(bundle: Path) -> Path:
    """`ModelBundle` and `requireModelURL`."""
    metadata = json.loads((bundle / "metadata.json").read_text())
    assert metadata["metadata_version"] == "0.2"
    assert metadata["kind"] == "segmenter"
    assert isinstance(metadata["name"], str)
    path = bundle / metadata["assets"]["main"]
    assert path.suffix == ".aimodel" and path.exists()
    return path


def first(names, wanted):
    return next(name for name in names if wanted(name.lower()))


class ImageSegmenter:
    """The engine of a model with one function.

    Args:
        run: takes arrays by input name, gives arrays by output name, as an asset's function `main`.
        shapes: input name -> shape, in the function's order; outputs: names.
    """

    def __init__(self, run, *, shapes, outputs):
        self.run = run
        self.image = first(shapes, lambda name: "pixel" in name or "image" in name)
        self.points = first(shapes, lambda name: "point" in name and "label" not in name)
        self.labels = first(shapes, lambda name: "point" in name and "label" in name)
        self.masks = first(outputs, lambda name: "mask" in name)
        self.scores = first(outputs, lambda name: "iou" in name or ("score" in name and "logit" not in name))
        assert not any("input_id" in name or "token" in name or "text" in name for name in shapes)  # else it reads text
        self.size = shapes[self.image][2:]
        _, self.query_count, self.points_per_query, _ = shapes[self.points]
        assert tuple(shapes[self.labels]) == (1, self.query_count, self.points_per_query)

    def segment(self, image, queries):
        """A photo (H, W, 3) uint8 and up to Q lists of (x, y, label) in its pixels -> [(mask (H, W), score)], best first."""
        height, width = image.shape[:2]
        if not queries:
            side = int(self.query_count**0.5)
            assert side * side == self.query_count
            queries = [
                [(width * (column + 0.5) / side, height * (row + 0.5) / side, FOREGROUND)]
                for row in range(side)
                for column in range(side)
            ]
        assert len(queries) <= self.query_count and all(0 < len(q) <= self.points_per_query for q in queries)
        points = np.full((1, self.query_count, self.points_per_query, 2), -1, np.float32)
        labels = np.full((1, self.query_count, self.points_per_query), -1, np.float32)
        for q, query in enumerate(queries):
            for p, (x, y, label) in enumerate(query):
                points[0, q, p] = x * self.size[1] / width, y * self.size[0] / height
                labels[0, q, p] = label
        found = self.run(**{self.image: self.preprocess(image), self.points: points, self.labels: labels})
        masks, scores = found[self.masks], found[self.scores]
        assert masks.ndim == 5
        best = scores[0].argmax(axis=1)[: len(queries)]
        segments = [(upsampled(masks[0, q, k], (height, width)) >= 0.5, float(scores[0, q, k])) for q, k in enumerate(best)]
        return sorted(segments, key=lambda segment: -segment[1])

    def preprocess(self, image):
        """Stretched to the model's size, in [0, 1]; "high-interpolation, matches PIL BICUBIC closely"."""
        stretched = Image.fromarray(image).resize(self.size[::-1], Image.Resampling.BICUBIC)
        return np.asarray(stretched, np.float32).transpose(2, 0, 1)[None] / 255


def upsampled(logits, shape):
    """Sigmoid, then bilinear by pixel centres."""
    shares = 1 / (1 + np.exp(-logits))
    return F.interpolate(from_numpy(shares)[None, None], size=shape, mode="bilinear", align_corners=False)[0, 0].numpy()
