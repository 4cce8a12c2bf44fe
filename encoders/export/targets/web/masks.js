// From the decoder's logits to masks of the photo. Source: segment-anything, Sam.postprocess_masks: bilinear to the S x S frame,
// padding cut off, bilinear to the photo. Both steps are linear and separable, so a pixel is a weighted sum of at most 3 x 3 logits.

import { resizedShape } from "./geometry.js";

const STRIDE = 4; // the logits are S/4 x S/4
const TAPS = 3;

/** What torch's bilinear interpolation (align_corners=False) reads: lower index, upper index and the upper one's weight. */
function between(place, inSize, outSize) {
  const source = Math.max(0, (place + 0.5) * (inSize / outSize) - 0.5);
  const low = Math.min(inSize - 1, Math.floor(source));
  return { low, high: Math.min(inSize - 1, low + 1), share: source - low };
}

/** For each of `outSize` places along a side of the photo, the first of three logits and their weights. */
export function logitTaps(size, frameSide, outSize) {
  const side = size / STRIDE;
  const first = new Int32Array(outSize);
  const weights = new Float32Array(outSize * TAPS);
  for (let place = 0; place < outSize; place++) {
    const frame = between(place, frameSide, outSize);
    const parts = [];
    for (const [pixel, share] of [[frame.low, 1 - frame.share], [frame.high, frame.share]]) {
      const logit = between(pixel, side, size);
      parts.push([logit.low, share * (1 - logit.share)], [logit.high, share * logit.share]);
    }
    first[place] = Math.min(parts[0][0], side - TAPS);
    for (const [index, weight] of parts) weights[place * TAPS + index - first[place]] += weight;
  }
  return { first, weights };
}

/**
 * One mask of the photo, or of the photo at another size.
 *
 * logits: Float32Array (S/4 x S/4); photo: {width, height} of the photo; out: {width, height} of the mask.
 * Returns Uint8Array (out.height x out.width), 1 inside the mask.
 */
export function logitsToMask(logits, photo, size, out = photo) {
  const side = size / STRIDE;
  const frame = resizedShape(photo, size);
  const across = logitTaps(size, frame.width, out.width);
  const down = logitTaps(size, frame.height, out.height);
  const wide = new Float32Array(side * out.width);
  for (let row = 0; row < side; row++) {
    for (let x = 0; x < out.width; x++) {
      const from = row * side + across.first[x];
      const tap = x * TAPS;
      wide[row * out.width + x] =
        logits[from] * across.weights[tap] +
        logits[from + 1] * across.weights[tap + 1] +
        logits[from + 2] * across.weights[tap + 2];
    }
  }
  const mask = new Uint8Array(out.width * out.height);
  for (let y = 0; y < out.height; y++) {
    const [a, b, c] = down.weights.subarray(y * TAPS, y * TAPS + TAPS);
    let from = down.first[y] * out.width;
    let to = y * out.width;
    for (let x = 0; x < out.width; x++, from++, to++) {
      mask[to] = wide[from] * a + wide[from + out.width] * b + wide[from + 2 * out.width] * c > 0 ? 1 : 0;
    }
  }
  return mask;
}

/** {width, height} of a photo scaled to fit into a square of `side` pixels. */
export function fitted({ width, height }, side) {
  const scale = side / Math.max(width, height);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
