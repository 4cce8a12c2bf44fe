// From a file to the pixels that the encoder takes.

import { resampleColumns, resampleRows } from "./resample.js";
import { resizedShape } from "./geometry.js";

const STRIP = 256; // rows read at a time: some phones allow no canvas as large as a photo of 48 megapixels

/** For the screen: upright by EXIF. */
export const UPRIGHT = { imageOrientation: "from-image" };

/** For the model: upright, with the file's own values, as Python reads them, without applying its colour profile. */
export const PLAIN = { ...UPRIGHT, colorSpaceConversion: "none" };

/**
 * An ImageBitmap -> {rgb, width, height}: its pixels with the long side brought to `size`, as PIL resizes. Transparent parts
 * become white.
 */
export function resizedPixels(bitmap, size) {
  const { width, height } = bitmap;
  const frame = resizedShape({ width, height }, size);
  const rowsDone = new Uint8Array(height * frame.width * 3);
  const canvas = new OffscreenCanvas(width, Math.min(STRIP, height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
    resampleRows(context.getImageData(0, 0, width, rows).data, { width, rows }, frame.width, rowsDone, top);
  }
  const rgb = resampleColumns(rowsDone, { width: frame.width, height }, frame.height);
  return { rgb, ...frame };
}
