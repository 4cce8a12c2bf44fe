"""CVAT's serverless function for SAM, with encoder.onnx instead of ViT-H: returns the photo's embedding."""

import base64
import io
import json
from typing import Any

import numpy as np
from PIL import Image
from segment import Segmenter  # segment.py, beside this file


def init_context(context: Any) -> None:
    """Load the model, once in each worker."""
    context.logger.info("loading the encoder")
    context.user_data.model = Segmenter()
    context.logger.info("the encoder is loaded")


def handler(context: Any, event: Any) -> Any:
    """{"image": base64 of a photo's file} -> {"blob": base64 of float32 (1, 256, 64, 64), little-endian}."""
    photo = Image.open(io.BytesIO(base64.b64decode(event.body["image"])))
    model = context.user_data.model
    model.set_image(photo)
    blob = np.ascontiguousarray(model.embedding, "<f4").tobytes()
    return context.Response(
        body=json.dumps({"blob": base64.b64encode(blob).decode()}),
        headers={},
        content_type="application/json",
        status_code=200,
    )
