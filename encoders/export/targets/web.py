"""A static page that segments a photo by clicks and boxes in the browser, with onnxruntime-web and nothing on a server.

The page is in the folder `web` beside this file. Before and after the model it computes what `encoders.Predictor` computes:
PIL's resize, SAM's padding and torch's bilinear masks, written in JavaScript.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from encoders.export.formats.base import How, no_mask_input
from encoders.export.formats.onnx import (
    DECODER,
    ENCODER,
    MAX_POINTS,
    MAX_PROMPTS,
    OnnxFormat,
    open_session,
    write_encoder,
    write_onnx,
)
from encoders.export.modules.exportable import exportable
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.export.targets.onnxruntime_web import find_onnxruntime_web
from encoders.preprocess import normalize_padded
from encoders.sam import Sam

PAGE = Path(__file__).parent / "web"
PAGE_FILES = (
    "index.html", "style.css", "app.js", "engine.js", "worker.js", "runtime.js", "photo.js", "resample.js", "geometry.js",
    "masks.js", "png.js", "prompts.js", "stage.js", "draw.js", "panel.js",
)  # fmt: skip
MODEL, ORT = "model.json", "ort"
CHECKED = 512  # values of the embedding in the page's self-check
DECODER_INPUTS = ("image_embeddings", "point_coords", "point_labels")
DECODER_OUTPUTS = ("low_res_masks", "iou_predictions")
HEADERS = """\
/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
"""
README = """\
# A photo segmented in the browser

Any static web server can serve the page. Nothing runs on the server, and photos stay on the reader's device:

    python -m http.server --directory .

Then open http://localhost:8000. The page does not start when it is opened as a file, as browsers load no modules from files.

The model is {arch} at {size} px, run by onnxruntime-web {version}: by WebGPU if the browser has it, else by WASM. The page
shows which one runs. `?backend=wasm` or `?backend=webgpu` in the address asks for one of them. WebGPU is used only if it gives
PyTorch's numbers on a test pattern, whose expected values are in `model.json`.

## Threads

WASM runs on one thread unless the server sends these two headers with every file; without them browsers share no memory:

    Cross-Origin-Opener-Policy: same-origin
    Cross-Origin-Embedder-Policy: require-corp

Hosts that read `_headers` (Cloudflare Pages, Netlify) send them already. In nginx use `add_header` for each. To try it here:

    python - <<'END'
    from http.server import SimpleHTTPRequestHandler, test

    class Isolated(SimpleHTTPRequestHandler):
        def end_headers(self):
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

    test(Isolated, port=8000)
    END

## Files

`{encoder}` takes image [1,3,{size},{size}] float32, normalised and zero-padded as SAM does, and returns image_embeddings
[1,256,{side},{side}]. `{decoder}` takes these, point_coords [P,N,2] in pixels of the resized photo and point_labels [P,N]
float32 (1 include, 0 exclude, 2 and 3 a box's corners, -1 for the point (0, 0) that must end a prompt without a box), and
returns low_res_masks [P,4,{mask},{mask}], the single mask first, and iou_predictions [P,4].

The page needs a browser with module workers, OffscreenCanvas and CompressionStream: Chrome 97, Firefox 114, Safari 16.4, or
newer.
"""


class WebTarget(OnnxFormat):
    """Page, encoder, decoder and onnxruntime-web in one folder."""

    name = "web"
    elsewhere = ("onnxruntime-web in a browser",)

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`.

        Raises:
            InputError: onnxruntime-web cannot be found or fetched; the message says what to do.
        """
        runtime = find_onnxruntime_web()  # first, because this may fail
        write_encoder(
            exportable(sam.image_encoder), folder / ENCODER, image=torch.zeros(1, 3, sam.image_size, sam.image_size)
        )
        write_page_decoder(sam, folder / DECODER)
        runtime.write(folder / ORT)
        for name in PAGE_FILES:
            (folder / name).write_bytes((PAGE / name).read_bytes())
        facts = {
            "name": sam.arch,
            "image_size": sam.image_size,
            "encoder": {"path": ENCODER, "bytes": (folder / ENCODER).stat().st_size},
            "decoder": {"path": DECODER, "bytes": (folder / DECODER).stat().st_size},
            "onnxruntime_web": runtime.version,
            "check": self_check(sam.image_encoder, image_size=sam.image_size),
        }
        (folder / MODEL).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        (folder / "_headers").write_text(HEADERS, encoding="utf-8")
        size = sam.image_size
        readme = README.format(
            arch=sam.arch, size=size, side=size // 16, mask=size // 4, encoder=ENCODER, decoder=DECODER, version=runtime.version
        )
        (folder / "README.md").write_text(readme, encoding="utf-8")

    def open(  # type: ignore[override]
        self, folder: Path, *, image_size: int, precision: str, threads: int | None = None
    ) -> "PageModel":
        """See `Format.open`. The page's two model files are run by ONNX Runtime in Python."""
        return PageModel(folder / ENCODER, folder / DECODER, threads=threads)


class PageModel:
    """The page's encoder and decoder, run by ONNX Runtime in Python; the page itself needs a browser.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: a file is missing or is not a model.
    """

    how: How = "executed"
    precision = "fp32"

    def __init__(self, encoder: Path, decoder: Path, *, threads: int | None = None) -> None:
        self._encoder = open_session(encoder, threads=threads)
        self._decoder = open_session(decoder, threads=threads)
        import onnxruntime

        self.name = f"ONNX Runtime {onnxruntime.__version__} on the page's model files, not in a browser"

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`."""
        (embedding,) = self._encoder.run(None, {"image": image})
        return np.asarray(embedding, np.float32)

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`; the page never passes masks."""
        no_mask_input(masks)
        given = (embedding, np.asarray(coords, np.float32), np.asarray(labels, np.float32))
        logits, scores = self._decoder.run(list(DECODER_OUTPUTS), dict(zip(DECODER_INPUTS, given, strict=True)))
        return logits, scores


def write_page_decoder(sam: Sam, path: Path) -> None:
    """Write `PromptDecoder` as ONNX: the part of segment-anything's contract that the page needs, without full-size masks."""
    side = sam.image_size // 16
    prompts = torch.export.Dim("prompts", min=1, max=MAX_PROMPTS)
    points = torch.export.Dim("points", min=1, max=MAX_POINTS)
    example = (
        torch.zeros(1, 256, side, side),
        torch.tensor([[[10.0, 20.0], [30.0, 50.0], [0.0, 0.0]]]).repeat(2, 1, 1),
        torch.tensor([[2.0, 3.0, -1.0]]).repeat(2, 1),
    )
    shapes: Any = ({}, {0: prompts, 1: points}, {0: prompts, 1: points})
    write_onnx(
        PromptDecoder(sam), path, example=example, inputs=DECODER_INPUTS, outputs=DECODER_OUTPUTS, dynamic_shapes=shapes
    )


def check_pattern(image_size: int) -> torch.Tensor:
    """Return the slanted test pattern that `runtime.js` makes too, (1, 3, S, S) float32, normalised."""
    rows, columns, colours = np.ogrid[:image_size, :image_size, :3]
    pixels = ((3 * columns + 5 * rows + 50 * colours) % 256).astype(np.uint8)
    return normalize_padded(torch.from_numpy(pixels).permute(2, 0, 1)[None], [(image_size, image_size)])


def self_check(encoder: nn.Module, *, image_size: int) -> dict[str, int | list[float]]:
    """Return every `every`-th value of PyTorch's embedding of `check_pattern`, in the form of `model.json`."""
    with torch.inference_mode():
        embedding = encoder(check_pattern(image_size)).flatten()
    every = max(1, len(embedding) // CHECKED)
    return {"every": every, "values": [float(f"{value:.6g}") for value in embedding[::every].tolist()]}
