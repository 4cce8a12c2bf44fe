"""The page in headless Chromium, used as a person uses it, its masks compared with Python's.

Needs chromium, node and npm (which fetches playwright-core and onnxruntime-web). The export takes about 40 s and each test 6 to
12 s, except for the two with emulated WebGPU, which take 1 to 2 min and 45 s; measured on two busy cores.
"""

import io
import json
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import encoders
from distill.jobs.sample_data import resolve_data
from encoders.errors import InputError
from encoders.export.targets import find_target
from encoders.export.targets.onnxruntime_web import find_onnxruntime_web
from encoders.fusion import fuse
from encoders.predictor import Predictor
from encoders.prompts import Prompts
from encoders.samples.image import decode_image, read_image
from encoders.samples.overlap import mask_iou

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).parent / "drive_page.mjs"
PLAYWRIGHT = "playwright-core@1.64.1"
SIZE = 256
PORTRAIT, LANDSCAPE = "000000460229.jpg", "000000041888.jpg"
AGREEMENT = 0.999
WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--ignore-gpu-blocklist"]


@pytest.fixture(scope="module")
def sam() -> encoders.Sam:
    return encoders.load("sam_demo", image_size=SIZE)


@pytest.fixture(scope="module")
def page(sam, tmp_path_factory) -> Path:
    """The page's folder, with the real onnxruntime-web."""
    pytest.importorskip("onnxscript")
    try:
        find_onnxruntime_web()
    except InputError as error:
        pytest.skip(f"onnxruntime-web cannot be found or fetched: {error}")
    out = tmp_path_factory.mktemp("page")
    find_target("web").write(fuse(sam), out, precision="fp32")
    return out


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Run a plan in Chromium by playwright-core; see drive_page.mjs."""
    chromium, node, npm = (shutil.which(name) for name in ("chromium", "node", "npm"))
    if not (chromium and node and npm):
        pytest.skip("chromium, node or npm is not installed")
    folder = tmp_path_factory.mktemp("playwright")
    (folder / "package.json").write_text("{}")
    installed = subprocess.run(
        [npm, "install", PLAYWRIGHT, "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, check=False
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install {PLAYWRIGHT}")

    def browse(url: str, steps: list[dict], **plan: object) -> dict:
        (folder / "plan.json").write_text(json.dumps({"url": url, "chromium": chromium, "steps": steps, **plan}))
        done = subprocess.run(
            [node, str(DRIVER), "plan.json"], cwd=folder, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return browse


class Quiet(SimpleHTTPRequestHandler):
    """As `python -m http.server`, without its log."""

    def log_message(self, *args: object) -> None:
        pass


class Isolated(Quiet):
    """With the headers that README.md asks for."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@pytest.fixture
def serve():
    """Serve a folder on this machine; gives its address."""
    servers = []

    def serve(folder: Path, handler: type = Quiet) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def photos() -> Path:
    return Path(resolve_data("sample:val")).parent / "images"


def agreement(sam: encoders.Sam, image: np.ndarray, step: dict, saved: Path) -> float:
    """IoU of a mask that the page saved with what Python gives to the prompt that the page shows."""
    predictor = Predictor(sam)
    predictor.set_image(image)
    prompt = {name: np.asarray(value, np.float64) for name, value in step["prompt"].items()}
    found = predictor.predict_tokens(Prompts(**prompt))
    expected = found.masks[0, step["chosen"]]
    with Image.open(saved) as opened:
        assert opened.mode == "L"
        mask = np.asarray(opened) > 127
    assert mask.shape == image.shape[:2]
    assert expected.any()
    iou = float(mask_iou(mask, expected))
    print(f"IoU with Python {iou:.6f} for {step['prompt']}")
    return iou


def check_clean(found: dict, url: str) -> None:
    assert found["errors"] == []
    assert found["hosts"] == [url.split("/")[2]]


def test_clicks_and_boxes_on_a_portrait_give_the_predictors_masks(sam, page, photos, browse, serve, tmp_path):
    url, image = serve(page), read_image(photos / PORTRAIT)
    screenshot = tmp_path / "page.png"
    steps = [
        {"do": ["open", str(photos / PORTRAIT)]},
        {"do": ["click", [0.45, 0.35]], "read": True, "save": str(tmp_path / "0.png")},
        {"do": ["choose", 3], "read": True, "save": str(tmp_path / "1.png")},
        {"do": ["click", [0.4, 0.65], {"button": "right"}], "read": True, "save": str(tmp_path / "2.png")},
        {"do": ["click", [0.9, 0.6], {"shift": True}], "read": True, "save": str(tmp_path / "3.png")},
        {"do": ["drag", [[0.8, 0.5], [0.12, 0.1]]], "read": True, "save": str(tmp_path / "4.png")},
        {"do": ["screenshot", str(screenshot)]},
        {"do": ["button", "undo"], "read": True, "save": str(tmp_path / "5.png")},
        {"do": ["button", "clear"], "read": True},
    ]
    found = browse(url, steps)
    check_clean(found, url)
    done = [step for step in found["steps"] if "file" in step]
    ious = [agreement(sam, image, step, tmp_path / f"{index}.png") for index, step in enumerate(done)]
    print(found["backend"], found["times"])
    assert len(ious) == 6 and min(ious) >= AGREEMENT
    assert [len(step["prompt"].get("labels", [[]])[0]) for step in done] == [1, 1, 2, 3, 3, 3]
    assert done[3]["prompt"]["labels"] == [[1, 0, 0]]
    x0, y0, x1, y1 = done[4]["prompt"]["boxes"][0]
    np.testing.assert_allclose([x0, y0, x1, y1], np.asarray([0.12, 0.1, 0.8, 0.5]) * [383, 640, 383, 640], atol=1.5)
    assert "boxes" not in done[5]["prompt"] and found["steps"][-1]["prompt"] == {}
    assert done[1]["chosen"] == 3 and done[4]["chosen"] == 0
    assert done[0]["file"] == PORTRAIT.replace(".jpg", "-mask.png")
    assert found["backend"] == "WASM · 1 thread" and "isolation headers" in found["note"]
    assert all(value.endswith(" ms") for value in found["times"].values())
    with Image.open(screenshot) as opened:  # a wide part of the photo is tinted
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    assert ((pixels[..., 2] - pixels[..., 0]) > 60).mean() > 0.02


def test_with_the_isolation_headers_wasm_runs_on_several_threads(sam, page, photos, browse, serve, tmp_path):
    url = serve(page, Isolated)
    steps = [
        {"do": ["open", str(photos / LANDSCAPE)]},
        {"do": ["drag", [[0.3, 0.2], [0.7, 0.9]]], "read": True, "save": str(tmp_path / "0.png")},
    ]
    found = browse(url, steps)
    check_clean(found, url)
    print(found["backend"], found["times"])
    assert agreement(sam, read_image(photos / LANDSCAPE), found["steps"][1], tmp_path / "0.png") >= AGREEMENT
    assert found["backend"] == ("WASM · 1 thread" if os.cpu_count() == 1 else f"WASM · {min(8, os.cpu_count())} threads")
    assert "isolation headers" not in found["note"]


def turned(path: Path) -> bytes:
    """A photo as a phone held upright stores it: pixels on their side, and EXIF data that turn them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    with Image.open(path) as image:
        image.save(stream, "JPEG", exif=exif, quality=95)
    return stream.getvalue()


def transparent(path: Path) -> bytes:
    """A PNG that is partly transparent."""
    stream = io.BytesIO()
    with Image.open(path) as image:
        alpha = Image.new("L", image.size, 255)
        alpha.paste(0, (0, 0, image.width // 3, image.height))
        image.putalpha(alpha)
        image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(("make", "ending"), [(turned, "jpg"), (transparent, "png")])
def test_photos_that_lie_on_their_side_or_are_see_through_are_seen_as_python_sees_them(
    sam, page, photos, browse, serve, tmp_path, make, ending
):
    data = make(photos / LANDSCAPE)
    file = tmp_path / f"photo.{ending}"
    file.write_bytes(data)
    image = decode_image(data, name="photo")
    url = serve(page)
    steps = [
        {"do": ["open", str(file)]},
        {"do": ["drag", [[0.15, 0.3], [0.8, 0.75]]], "read": True, "save": str(tmp_path / "0.png")},
        {"do": ["click", [0.5, 0.5]], "read": True, "save": str(tmp_path / "1.png")},
    ]
    found = browse(url, steps)
    check_clean(found, url)
    for index in (0, 1):
        assert agreement(sam, image, found["steps"][1 + index], tmp_path / f"{index}.png") >= AGREEMENT


def test_the_page_works_by_keyboard_alone(sam, page, photos, browse, serve, tmp_path):
    url, image = serve(page), read_image(photos / PORTRAIT)
    steps = [
        {"do": ["open", str(photos / PORTRAIT)]},
        {"do": ["focus", "overlay"]},
        {"do": ["press", [*["ArrowUp"] * 9, "Enter"]], "read": True},
        {"do": ["press", [*["ArrowDown"] * 14, "Shift+Enter"]], "read": True},
        {"do": ["press", ["b", *["ArrowUp"] * 9, *["ArrowLeft"] * 5, "b"]], "read": True},
        {"do": ["press", ["4"]], "read": True, "save": str(tmp_path / "0.png")},
        {"do": ["press", ["Control+z", "u"]], "read": True},
        {"do": ["press", ["Escape"]], "read": True},
    ]
    found = browse(url, steps, scheme="dark")
    check_clean(found, url)
    include, exclude, box, chosen, undone, cleared = (step["prompt"] for step in found["steps"][2:])
    step = 640 * 0.02
    assert include == {"points": [[[191.5, pytest.approx(320 - 9 * step, abs=0.06)]]], "labels": [[1]]}
    assert exclude["labels"] == [[1, 0]] and exclude["points"][0][1][1] == pytest.approx(320 + 5 * step, abs=0.06)
    assert box["boxes"][0] == pytest.approx([191.5 - 5 * step, 320 - 4 * step, 191.5, 320 + 5 * step], abs=0.06)
    assert (found["steps"][4]["chosen"], found["steps"][5]["chosen"], chosen) == (0, 3, box)
    assert agreement(sam, image, found["steps"][5], tmp_path / "0.png") >= AGREEMENT
    assert (undone, cleared) == (include, {})


def test_on_a_phone_a_tap_marks_and_nothing_sticks_out(sam, page, photos, browse, serve, tmp_path):
    url, image = serve(page), read_image(photos / PORTRAIT)
    steps = [
        {"do": ["open", str(photos / PORTRAIT)]},
        {"do": ["tap", [0.45, 0.35]], "read": True},
        {"do": ["check", "exclude"]},
        {"do": ["tap", [0.4, 0.65]], "read": True, "save": str(tmp_path / "0.png")},
    ]
    found = browse(url, steps, viewport={"width": 390, "height": 844}, scale=2, touch=True)
    check_clean(found, url)
    assert found["steps"][3]["prompt"]["labels"] == [[1, 0]]
    assert agreement(sam, image, found["steps"][3], tmp_path / "0.png") >= AGREEMENT
    assert found["overflow"] == 0


def test_a_file_that_is_no_photo_and_a_backend_that_is_not_there_are_said_on_the_page(page, browse, serve, tmp_path):
    url = serve(page)
    (tmp_path / "notes.txt").write_text("no photo")
    found = browse(url, [{"do": ["offer", str(tmp_path / "notes.txt")]}])
    assert found["status"].startswith("notes.txt cannot be opened as a photo in this browser")
    found = browse(f"{url}?backend=webgpu", [])
    assert found["status"].startswith("WebGPU was asked for: ")


def test_a_file_that_is_no_photo_leaves_the_photo_and_its_mask_as_they_are(sam, page, photos, browse, serve, tmp_path):
    url, image = serve(page), read_image(photos / PORTRAIT)
    (tmp_path / "notes.txt").write_text("no photo")
    steps = [
        {"do": ["open", str(photos / PORTRAIT)]},
        {"do": ["click", [0.45, 0.35]], "read": True, "save": str(tmp_path / "0.png")},
        {"do": ["offer", str(tmp_path / "notes.txt")], "read": True, "save": str(tmp_path / "1.png")},
        {"do": ["click", [0.4, 0.65], {"button": "right"}], "read": True, "save": str(tmp_path / "2.png")},
    ]
    found = browse(url, steps)
    check_clean(found, url)
    before, bad, after = found["steps"][1:]
    assert bad["status"].startswith("notes.txt cannot be opened") and bad["prompt"] == before["prompt"]
    assert bad["file"] == before["file"] == PORTRAIT.replace(".jpg", "-mask.png")
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()
    assert after["prompt"]["labels"] == [[1, 0]] and after["status"].startswith("Mask of")
    assert agreement(sam, image, after, tmp_path / "2.png") >= AGREEMENT


def test_a_file_that_fails_slowly_does_not_cancel_a_photo_opened_after_it(sam, page, photos, browse, serve, tmp_path):
    url, image = serve(page), read_image(photos / PORTRAIT)
    (tmp_path / "slow.jpg").write_text("no photo")
    steps = [
        {"do": ["open", str(photos / LANDSCAPE)]},
        {"do": ["hand", str(tmp_path / "slow.jpg")]},
        {"do": ["hand", str(photos / PORTRAIT)]},
        {"do": ["tried", "slow.jpg"]},
        {"do": ["click", [0.45, 0.35]], "read": True, "save": str(tmp_path / "0.png")},
    ]
    found = browse(url, steps, slow="slow.jpg", timeout=60_000)
    check_clean(found, url)
    (done,) = found["steps"][4:]
    assert done["status"].startswith("Mask of") and done["file"] == PORTRAIT.replace(".jpg", "-mask.png")
    assert agreement(sam, image, done, tmp_path / "0.png") >= AGREEMENT


def test_webgpu_gives_the_predictors_masks_too(sam, page, photos, browse, serve, tmp_path):
    """By Chromium's emulation, which is slow: 50 s. The page would not choose it by itself."""
    steps = [
        {"do": ["open", str(photos / PORTRAIT)]},
        {"do": ["drag", [[0.12, 0.1], [0.8, 0.5]]], "read": True, "save": str(tmp_path / "0.png")},
        {"do": ["click", [0.45, 0.35]], "read": True, "save": str(tmp_path / "1.png")},
    ]
    url = f"{serve(page)}?backend=webgpu"
    if browse(url, [], flags=WEBGPU)["status"].startswith("WebGPU was asked for"):
        pytest.skip("this Chromium emulates no WebGPU")
    found = browse(url, steps, flags=WEBGPU)
    check_clean(found, url)
    print(found["backend"], found["note"], found["times"])
    assert found["backend"] == "WebGPU" and "Self-check" in found["note"]
    for index in (0, 1):
        saved = tmp_path / f"{index}.png"
        assert agreement(sam, read_image(photos / PORTRAIT), found["steps"][1 + index], saved) >= AGREEMENT


def test_a_device_with_other_numbers_than_pytorchs_is_not_used(page, browse, serve, tmp_path):
    """The expected values are changed here, which looks the same as a device that computes other values. 30 s."""
    damaged = tmp_path / "page"
    shutil.copytree(page, damaged)
    facts = json.loads((damaged / "model.json").read_text())
    facts["check"]["values"] = [1.05 * value for value in facts["check"]["values"]]
    (damaged / "model.json").write_text(json.dumps(facts))
    url = f"{serve(damaged)}?backend=webgpu"
    status = browse(url, [], flags=WEBGPU)["status"]
    if "no graphics device" in status or "no WebGPU" in status:
        pytest.skip("this Chromium emulates no WebGPU")
    assert "gives other numbers than PyTorch (off by 0.048)" in status
