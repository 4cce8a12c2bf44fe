// onnxruntime-web with the model's two files: by WebGPU if there is one that computes what PyTorch computes, else by WASM.

import { toInput } from "./geometry.js";

const WEBGPU = { main: "ort.webgpu.min.js", loader: "ort-wasm-simd-threaded.asyncify" };
const WASM = { main: "ort.wasm.min.js", loader: "ort-wasm-simd-threaded" };
const TOLERANCE = 0.01; // of the self-check; fp32 on a sound device gives about 1e-5

/** Threads of WASM: more than one needs shared memory, which only cross-origin isolated pages have. */
export function wasmThreads() {
  if (!self.crossOriginIsolated) return 1;
  return Math.min(8, navigator.hardwareConcurrency || 1);
}

async function fetchBytes(name, onBytes) {
  const response = await fetch(new URL(name, import.meta.url), { cache: "no-cache" });
  if (!response.ok) throw new Error(`${name} cannot be loaded (${response.status} ${response.statusText})`);
  const parts = [];
  const reader = response.body.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    parts.push(read.value);
    onBytes(read.value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Why WebGPU cannot or should not be used; null if it can. */
async function withoutWebGpu({ forced }) {
  if (!navigator.gpu) return "this browser has no WebGPU";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (!adapter) return "no graphics device is available for it";
  const software = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter;
  return software && !forced ? "this browser only emulates it, which is slower" : null;
}

/** The input of the self-check: a slanted pattern in all colours, as encoders/export/targets/web.py makes it. */
export function checkInput(size) {
  const rgb = new Uint8Array(size * size * 3);
  for (let y = 0, place = 0; y < size; y++) {
    for (let x = 0; x < size; x++) for (let c = 0; c < 3; c++) rgb[place++] = (3 * x + 5 * y + 50 * c) % 256;
  }
  return toInput(rgb, { width: size, height: size }, size);
}

export class Runtime {
  constructor(model) {
    this.model = model;
    this.size = model.image_size;
    this.encoder = this.decoder = null;
  }

  /** Fetch the files, choose the backend and open both. `backend`: "auto", "webgpu" or "wasm". */
  static async open({ model, backend, onProgress }) {
    const runtime = new Runtime(model);
    const total = model.encoder.bytes + model.decoder.bytes;
    let loaded = 0;
    const onBytes = (bytes) => onProgress((loaded += bytes) / total);
    const files = await Promise.all([model.encoder, model.decoder].map((file) => fetchBytes(file.path, onBytes)));
    let reason = backend === "wasm" ? "asked for" : await withoutWebGpu({ forced: backend === "webgpu" });
    if (!reason) {
      try {
        await runtime.start(files, WEBGPU, ["webgpu", "wasm"], 1);
        const error = await runtime.selfCheck();
        if (error < TOLERANCE) return Object.assign(runtime, { backend: "WebGPU", note: "", checkError: error });
        reason = `this device's WebGPU gives other numbers than PyTorch (off by ${error.toPrecision(2)})`;
      } catch (error) {
        reason = `WebGPU failed: ${error.message ?? error}`;
      }
      await runtime.close();
    }
    if (backend === "webgpu") throw new Error(`WebGPU was asked for: ${reason}`);
    await runtime.start(files, WASM, ["wasm"], wasmThreads());
    return Object.assign(runtime, { backend: "WASM", note: reason });
  }

  async start(files, { main, loader }, executionProviders, threads) {
    this.ort = await import(`./ort/${main}`);
    this.threads = threads;
    const { env } = this.ort;
    env.logLevel = "error";
    env.wasm.numThreads = threads;
    const place = (ending) => new URL(`ort/${loader}.${ending}`, import.meta.url).href;
    env.wasm.wasmPaths = { mjs: place("js"), wasm: place("wasm") };
    const open = (bytes) => this.ort.InferenceSession.create(bytes, { executionProviders, logSeverityLevel: 3 });
    this.encoder = await open(files[0]);
    this.decoder = await open(files[1]);
  }

  /** Free the sessions that are open. A device that failed may fail here too, which does not matter any more. */
  async close() {
    const sessions = [this.encoder, this.decoder];
    this.encoder = this.decoder = null;
    for (const session of sessions) await session?.release().catch(() => {});
  }

  /** Input (3 x S x S) -> embedding, a tensor (1, 256, S/16, S/16). */
  async encode(input) {
    const image = new this.ort.Tensor("float32", input, [1, 3, this.size, this.size]);
    return (await this.encoder.run({ image })).image_embeddings;
  }

  /** -> logits (four of S/4 x S/4, the single mask first) and their predicted IoU. */
  async decode(embedding, { coords, labels }) {
    const { Tensor } = this.ort;
    const found = await this.decoder.run({
      image_embeddings: embedding,
      point_coords: new Tensor("float32", coords, [1, labels.length, 2]),
      point_labels: new Tensor("float32", labels, [1, labels.length]),
    });
    const all = found.low_res_masks.data;
    const count = all.length / 4;
    const logits = [0, 1, 2, 3].map((token) => all.slice(token * count, (token + 1) * count));
    return { logits, scores: Array.from(found.iou_predictions.data) };
  }

  /**
   * How far the encoder lies from PyTorch's on a fixed pattern: |difference| / |expected| over the values in model.json. It
   * also warms up both models, since a graphics device compiles them at their first call.
   */
  async selfCheck() {
    const { every, values } = this.model.check;
    const embedding = await this.encode(checkInput(this.size));
    await this.decode(embedding, { coords: Float32Array.of(9, 9, 0, 0), labels: Float32Array.of(1, -1) });
    const { data } = embedding;
    let difference = 0;
    let norm = 0;
    values.forEach((value, index) => {
      difference += (data[index * every] - value) ** 2;
      norm += value ** 2;
    });
    return Math.sqrt(difference / norm);
  }
}
