// Everything that takes time, so that the page stays responsive: decoding and resizing the photo, the model, masks, the PNG.
// The reply to a message {id, type, ...} is {id, result} or {id, error}; {progress} is sent while the model loads.

import { PLAIN, resizedPixels } from "./photo.js";
import { fitted, logitsToMask } from "./masks.js";
import { promptToFrame, toInput } from "./geometry.js";
import { Runtime } from "./runtime.js";
import { maskToPng } from "./png.js";

const THUMBNAIL = 112; // pixels of the long side

let runtime = null;
let photo = null; // {width, height, embedding}
let logits = null; // of the last prompt

const handlers = {
  async start({ backend, model }) {
    const onProgress = (progress) => self.postMessage({ progress });
    runtime = await Runtime.open({ model, backend, onProgress });
    const { note, threads, checkError } = runtime;
    return { backend: runtime.backend, note, threads, checkError, isolated: self.crossOriginIsolated };
  },

  async photo({ blob }) {
    photo = logits = null;
    const started = performance.now();
    const bitmap = await createImageBitmap(blob, PLAIN);
    const { width, height } = bitmap;
    const resized = resizedPixels(bitmap, runtime.size);
    bitmap.close();
    const input = toInput(resized.rgb, resized, runtime.size);
    const prepared = performance.now();
    const embedding = await runtime.encode(input);
    photo = { width, height, embedding };
    return { width, height, prepareMs: prepared - started, encodeMs: performance.now() - prepared };
  },

  async prompt({ points, labels, box }) {
    const started = performance.now();
    const found = await runtime.decode(photo.embedding, promptToFrame({ points, labels, box }, photo, runtime.size));
    const decodeMs = performance.now() - started;
    logits = found.logits;
    const out = fitted(photo, THUMBNAIL);
    const thumbnails = logits.map((one) => ({ ...out, data: logitsToMask(one, photo, runtime.size, out) }));
    return { scores: found.scores, decodeMs, thumbnails };
  },

  /** The mask of a token at the size asked for. */
  async mask({ token, out }) {
    return { ...out, data: logitsToMask(logits[token], photo, runtime.size, out) };
  },

  /** The mask of a token at the photo's size, as a PNG. */
  async png({ token }) {
    return maskToPng(logitsToMask(logits[token], photo, runtime.size), photo);
  },
};

let last = Promise.resolve(); // messages are handled one at a time, in order

self.onmessage = ({ data: { id, type, ...given } }) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id, result: await handlers[type](given) });
    } catch (error) {
      self.postMessage({ id, error: String(error?.message ?? error) });
    }
  });
};
