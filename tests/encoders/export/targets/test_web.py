"""The page's folder, and the page's own arithmetic against Python's, by node."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.decoder.masks import logits_to_masks
from encoders.errors import InputError
from encoders.export.certifying import contract_image
from encoders.export.opened import ExportedSam, point_prompts
from encoders.export.targets import find_target
from encoders.export.targets.onnxruntime_web import FILES, FOLDER_VARIABLE, VERSION
from encoders.export.targets.web import MODEL, ORT, PAGE, PAGE_FILES, check_pattern
from encoders.geometry import resized_shape
from encoders.predictor import Predictor
from encoders.prompts import Prompts

SIZE = 64
SHAPES = [(45, 70), (187, 97), (64, 40), (30, 64), (9, 400), (64, 64), (5, 3)]  # height, width: both ways, and as it is


@pytest.fixture
def run_js(tmp_path):
    """Run lines of JavaScript beside the page's modules; `print(value)` of the script comes back."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    for name in PAGE_FILES:
        shutil.copy(PAGE / name, tmp_path / name)
    (tmp_path / "package.json").write_text('{"type": "module"}')

    def run(script: str, given: object = None) -> object:
        (tmp_path / "given.json").write_text(json.dumps(given))
        header = (
            'import { readFileSync, writeFileSync } from "node:fs";\n'
            'const given = JSON.parse(readFileSync("given.json", "utf8"));\n'
            'const print = (value) => writeFileSync("found.json", JSON.stringify(value));\n'
        )
        (tmp_path / "script.js").write_text(header + script)
        done = subprocess.run([node, "script.js"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "found.json").read_text())

    return run


def test_the_page_resizes_exactly_as_pil_does(run_js):
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*shape, 3), np.uint8) for shape in SHAPES]
    script = """
import { resampleColumns, resampleRows } from "./resample.js";
import { resizedShape } from "./geometry.js";
print(given.map(({ rgba, width, height }) => {
  const frame = resizedShape({ width, height }, 64);
  const half = new Uint8Array(height * frame.width * 3);
  const cut = Math.ceil(height / 3); // in strips, as the page reads photos
  for (let top = 0; top < height; top += cut) {
    const rows = Math.min(cut, height - top);
    const strip = Uint8ClampedArray.from(rgba.slice(top * width * 4, (top + rows) * width * 4));
    resampleRows(strip, { width, rows }, frame.width, half, top);
  }
  return { ...frame, rgb: Array.from(resampleColumns(half, { width: frame.width, height }, frame.height)) };
}));
"""
    given = [
        {"rgba": np.dstack([i, np.full(i.shape[:2], 255)]).ravel().tolist(), "width": i.shape[1], "height": i.shape[0]}
        for i in images
    ]
    for image, found in zip(images, run_js(script, given), strict=True):
        height, width = resized_shape(image.shape[:2], image_size=SIZE)
        assert (found["height"], found["width"]) == (height, width)
        expected = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(np.asarray(found["rgb"]).reshape(expected.shape), expected)


def test_the_pages_input_is_the_embedding_contracts_bit_for_bit(run_js):
    image = np.random.default_rng(1).integers(0, 256, (SIZE, 23, 3), np.uint8)  # of the frame's height already
    script = """
import { toInput } from "./geometry.js";
print(Array.from(toInput(Uint8Array.from(given), { width: 23, height: 64 }, 64)));
"""
    found = np.asarray(run_js(script, image.ravel().tolist()), np.float32).reshape(1, 3, SIZE, SIZE)
    np.testing.assert_array_equal(found, contract_image(image, image_size=SIZE).numpy())


def test_the_pages_self_check_looks_at_the_pattern_whose_answer_the_writer_keeps(run_js):
    script = """
import { checkInput } from "./runtime.js";
print(Array.from(checkInput(64)));
"""
    found = np.asarray(run_js(script), np.float32).reshape(1, 3, SIZE, SIZE)
    np.testing.assert_array_equal(found, check_pattern(SIZE).numpy())


@pytest.mark.parametrize("shape", [(45, 70), (211, 97), (13, 400), (1, 90), (64, 64), (30, 20)])
def test_the_pages_masks_are_those_of_python(run_js, shape):
    coarse = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(2))
    logits = torch.nn.functional.interpolate(coarse, (SIZE // 4, SIZE // 4), mode="bicubic") * 4
    script = """
import { logitsToMask } from "./masks.js";
print(given.logits.map((one) => Array.from(logitsToMask(Float32Array.from(one), given.photo, 64))));
"""
    photo = {"width": shape[1], "height": shape[0]}
    found = run_js(script, {"logits": logits.flatten(2)[0].tolist(), "photo": photo})
    expected = logits_to_masks(logits, shape=shape, image_size=SIZE).numpy()[0]
    assert expected.any() and not expected.all()
    # Sums are taken in another order: a pixel on the very edge may fall on the other side.
    assert (np.asarray(found, bool).reshape(expected.shape) != expected).mean() < 1e-4


@pytest.mark.parametrize("box", [None, [5.5, 100, 60, 180.5]])
def test_the_page_gives_the_decoder_the_prompt_that_python_gives_it(run_js, box):
    script = """
import { promptToFrame } from "./geometry.js";
const { coords, labels } = promptToFrame(given, { width: 97, height: 211 }, 64);
print({ coords: Array.from(coords), labels: Array.from(labels) });
"""
    points, labels = [[10.5, 200.0], [90.0, 3.0]], [1, 0]
    found = run_js(script, {"points": points, "labels": labels, "box": box})
    given = {"points": np.asarray([points]), "labels": np.asarray([labels])} | ({"boxes": np.asarray([box])} if box else {})
    framed = {k: torch.from_numpy(v) for k, v in Prompts(**given).to_frame(shape=(211, 97), image_size=SIZE).items()}
    coords, kinds = point_prompts(points=framed["points"], labels=framed["labels"], boxes=framed.get("boxes"), count=1)
    np.testing.assert_array_equal(np.asarray(found["coords"], np.float32), coords.ravel())
    assert found["labels"] == kinds.ravel().tolist()


def test_one_point_shows_the_best_of_three_candidates_and_any_further_mark_the_single_mask(run_js):
    script = """
import { automaticMask } from "./prompts.js";
const scores = [0.99, 0.2, 0.8, 0.5];
print([
  automaticMask({ points: [[1, 2]], box: null }, scores),
  automaticMask({ points: [[1, 2], [3, 4]], box: null }, scores),
  automaticMask({ points: [], box: [1, 2, 3, 4] }, scores),
]);
"""
    assert run_js(script) == [2, 0, 0]


def test_marks_can_be_undone_one_by_one_and_a_later_box_takes_the_place_of_an_earlier_one(run_js):
    script = """
import { Prompts } from "./prompts.js";
const prompts = new Prompts();
const seen = [];
const look = () => seen.push(prompts.current);
prompts.addBox([30, 5], [10.04, 20]); look();
prompts.addPoint(7, 8, 0); look();
prompts.addBox([1, 2], [3, 4]); look();
prompts.undo(); look();
prompts.clear(); look();
prompts.undo(); look();
print(seen);
"""
    first, point = [10.0, 5, 30, 20], {"points": [[7, 8]], "labels": [0]}
    assert run_js(script) == [
        {"points": [], "labels": [], "box": first},
        {**point, "box": first},
        {**point, "box": [1, 2, 3, 4]},
        {**point, "box": first},
        {"points": [], "labels": [], "box": None},
        {"points": [], "labels": [], "box": None},
    ]


def test_a_saved_mask_is_a_greyscale_png(run_js, tmp_path):
    mask = np.random.default_rng(3).random((7, 12)) > 0.5
    script = """
import { maskToPng } from "./png.js";
const blob = await maskToPng(Uint8Array.from(given), { width: 12, height: 7 });
writeFileSync("mask.png", Buffer.from(await blob.arrayBuffer()));
print(blob.type);
"""
    assert run_js(script, mask.astype(int).ravel().tolist()) == "image/png"
    with Image.open(tmp_path / "mask.png") as image:
        image.load()
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), mask * 255)


PRETENDED = """
export const env = { wasm: {} };
export const log = (globalThis.log ??= []);
export class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const run = async (given) => given.image
  ? { image_embeddings: { data: [2, 2] } }
  : { low_res_masks: { data: new Float32Array(64) }, iou_predictions: { data: [1, 1, 1, 1] } };
export const InferenceSession = {
  async create(bytes, { executionProviders: [provider] }) {
    const name = `${provider} ${bytes[0] ? "decoder" : "encoder"}`;
    if (name === globalThis.broken) throw new Error(`${name} is broken`);
    log.push(`open ${name}`);
    return { run, release: async () => { log.push(`release ${name}`); throw new Error("lost device"); } };
  },
};
"""


@pytest.mark.parametrize(
    ("broken", "expected", "reason"),
    [
        (None, ["open encoder", "open decoder", "release encoder", "release decoder"], "gives other numbers"),
        ("webgpu decoder", ["open encoder", "release encoder"], "webgpu decoder is broken"),
    ],
)
def test_sessions_of_a_webgpu_that_is_not_used_are_released_before_wasm_opens_its_own(
    run_js, tmp_path, broken, expected, reason
):
    (tmp_path / "ort").mkdir()
    for name in ("ort.webgpu.min.js", "ort.wasm.min.js"):
        (tmp_path / "ort" / name).write_text(PRETENDED)
    script = """
globalThis.self = globalThis;
globalThis.broken = given;
globalThis.fetch = async (url) => new Response(Uint8Array.of(url.href.endsWith("decoder.onnx") ? 1 : 0));
Object.defineProperty(globalThis, "navigator", { value: { gpu: { requestAdapter: async () => ({ info: {} }) } } });
const { Runtime } = await import("./runtime.js");
const model = {
  image_size: 16,
  encoder: { path: "encoder.onnx", bytes: 1 },
  decoder: { path: "decoder.onnx", bytes: 1 },
  check: { every: 1, values: [1, 1] },
};
const { backend, note } = await Runtime.open({ model, backend: "auto", onProgress() {} });
print({ backend, note, log: globalThis.log });
"""
    found = run_js(script, broken)
    assert found["backend"] == "WASM" and reason in found["note"]
    assert found["log"] == [*(line.replace(" ", " webgpu ") for line in expected), "open wasm encoder", "open wasm decoder"]


@pytest.fixture(scope="module")
def page(live_sam, tmp_path_factory):
    """The written folder, with a pretended onnxruntime-web: about 5 s."""
    pytest.importorskip("onnxscript")
    package = tmp_path_factory.mktemp("package")
    (package / "dist").mkdir()
    (package / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": VERSION}))
    for name in FILES:
        (package / name).write_bytes(b"pretended")
    out = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(package))
        find_target("web").write(live_sam, out, precision="fp32")
    return out


@pytest.mark.slow  # 15 s: an export of its own
def test_the_folder_holds_page_models_and_runtime(page, live_sam):
    found = {path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()}
    runtime = {f"{ORT}/{name}" for name in FILES.values()} | {f"{ORT}/LICENSE.txt"}
    assert found == {*PAGE_FILES, *runtime, "encoder.onnx", "decoder.onnx", MODEL, "_headers", "README.md"}
    facts = json.loads((page / MODEL).read_text())
    assert (facts["name"], facts["image_size"], facts["onnxruntime_web"]) == ("repvit_m0_6", SIZE, VERSION)
    for part in ("encoder", "decoder"):
        assert facts[part]["bytes"] == (page / facts[part]["path"]).stat().st_size
    embedding = live_sam.image_encoder(check_pattern(SIZE)).detach().flatten().numpy()
    np.testing.assert_allclose(facts["check"]["values"], embedding[:: facts["check"]["every"]], atol=1e-3)
    assert "python -m http.server" in (page / "README.md").read_text()


@pytest.mark.slow  # 15 s: an export of its own
def test_the_pages_models_give_what_pytorch_gives(page, live_sam, export_photos):
    pytest.importorskip("onnxruntime")
    runtime = find_target("web").open(page, image_size=SIZE, precision="fp32", threads=1)
    assert runtime.how == "executed" and runtime.name.startswith("ONNX Runtime") and "not in a browser" in runtime.name
    exported, model = Predictor(ExportedSam(runtime, arch=live_sam.arch, image_size=SIZE)), Predictor(live_sam)
    tall = export_photos[1]
    for predictor in (exported, model):
        predictor.set_image(tall.image)
    prompts = [
        {"boxes": tall.boxes},
        {"points": np.asarray([[[12.0, 90.0]], [[40.0, 20.0]]]), "labels": np.asarray([[1], [0]])},
        {"points": np.asarray([[[12.0, 90.0], [40.0, 20.0]]]), "labels": np.asarray([[1, 0]]), "boxes": tall.boxes[:1]},
    ]
    for prompt in prompts:
        found, expected = exported.predict_tokens(Prompts(**prompt)), model.predict_tokens(Prompts(**prompt))
        np.testing.assert_allclose(found.logits, expected.logits, atol=2e-3)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    with pytest.raises(InputError, match="takes no masks of an earlier round"):
        exported.predict(Prompts(boxes=tall.boxes[:1], masks=expected.logits[:, :1]))


def test_the_page_names_no_file_that_is_not_written_and_no_other_host():
    assert {path.name for path in PAGE.iterdir()} == set(PAGE_FILES)
    written = {*PAGE_FILES, MODEL, *(f"{ORT}/{name}" for name in FILES.values())}
    named = set()
    for name in PAGE_FILES:
        text = (PAGE / name).read_text()
        named |= set(re.findall(r'from "\./([^"]+)"', text)) | set(re.findall(r'(?:href|src)="([^":#]+)"', text))
        named |= set(re.findall(r'new URL\("([^"]+)"', text))
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
    assert len(named) >= 14  # every script but app.js's own readers, the sheet and model.json
    assert named <= written


def test_without_onnxruntime_web_nothing_is_written(live_sam, tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="npm pack onnxruntime-web@"):
        find_target("web").write(live_sam, tmp_path / "out", precision="fp32")
    assert not list((tmp_path / "out").iterdir())
