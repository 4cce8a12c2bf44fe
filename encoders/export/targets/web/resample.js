// PIL's antialiased bilinear resize, value for value: a triangle filter whose support grows with the scale, weights of 22 bits,
// rows first, and 8-bit rounding after each of the two passes. A browser's own canvas resize gives other pixels. If a photo is
// more than twice as high as wide, Pillow 13 takes the columns first, which changes some values by 1.
// Source: Pillow, src/libImaging/Resample.c (precompute_coeffs, ImagingResampleHorizontal_8bpc).

const BITS = 22;
const HALF = 1 << (BITS - 1);

/** For each of `outSize` places, what it takes from a line of `inSize`: first index, number of taps, and integer weights. */
export function filterTaps(inSize, outSize) {
  const scale = inSize / outSize;
  const support = Math.max(1, scale);
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(outSize);
  const count = new Int32Array(outSize);
  const weights = new Int32Array(outSize * stride);
  for (let place = 0; place < outSize; place++) {
    const center = (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const taps = Math.min(inSize, Math.trunc(center + support + 0.5)) - start;
    const values = new Float64Array(taps);
    let total = 0;
    for (let tap = 0; tap < taps; tap++) {
      values[tap] = Math.max(0, 1 - Math.abs((tap + start - center + 0.5) * (1 / support)));
      total += values[tap];
    }
    first[place] = start;
    count[place] = taps;
    for (let tap = 0; tap < taps; tap++) {
      weights[place * stride + tap] = Math.trunc(0.5 + (values[tap] / total) * (1 << BITS));
    }
  }
  return { first, count, weights, stride };
}

/** Resize rows of RGBA pixels to `outWidth`, and write RGB into `target` from row `targetRow` on. */
export function resampleRows(rgba, { width, rows }, outWidth, target, targetRow) {
  if (width === outWidth) {
    for (let from = 0, to = targetRow * width * 3; from < rows * width * 4; from += 4) {
      for (let channel = 0; channel < 3; channel++) target[to++] = rgba[from + channel];
    }
    return;
  }
  const { first, count, weights, stride } = filterTaps(width, outWidth);
  for (let row = 0; row < rows; row++) {
    let to = (targetRow + row) * outWidth * 3;
    for (let place = 0; place < outWidth; place++) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let from = (row * width + first[place]) * 4;
      const end = place * stride + count[place];
      for (let tap = place * stride; tap < end; tap++, from += 4) {
        const weight = weights[tap];
        red += rgba[from] * weight;
        green += rgba[from + 1] * weight;
        blue += rgba[from + 2] * weight;
      }
      target[to++] = Math.min(255, red >> BITS);
      target[to++] = Math.min(255, green >> BITS);
      target[to++] = Math.min(255, blue >> BITS);
    }
  }
}

/** Resize the columns of RGB pixels (height x width x 3) to `outHeight`. */
export function resampleColumns(rgb, { width, height }, outHeight) {
  if (height === outHeight) return rgb;
  const { first, count, weights, stride } = filterTaps(height, outHeight);
  const line = width * 3;
  const target = new Uint8Array(outHeight * line);
  const sums = new Int32Array(line);
  for (let place = 0; place < outHeight; place++) {
    sums.fill(HALF);
    for (let tap = 0; tap < count[place]; tap++) {
      const weight = weights[place * stride + tap];
      const from = (first[place] + tap) * line;
      for (let column = 0; column < line; column++) sums[column] += rgb[from + column] * weight;
    }
    for (let column = 0; column < line; column++) target[place * line + column] = Math.min(255, sums[column] >> BITS);
  }
  return target;
}
