// From pixels of the photo to pixels of the model's S x S input frame, as encoders/geometry.py and segment-anything's
// ResizeLongestSide do it. Coordinates are xy, boxes xyxy.

const MEAN = [123.675, 116.28, 103.53]; // RGB, 0-255
const STD = [58.395, 57.12, 57.375];

/** {width, height} after the long side is brought to `size` pixels, at least 1 pixel each. */
export function resizedShape({ width, height }, size) {
  const scale = size / Math.max(width, height);
  return {
    width: Math.max(1, Math.floor(width * scale + 0.5)),
    height: Math.max(1, Math.floor(height * scale + 0.5)),
  };
}

/** Points [[x, y], ...] of a photo -> Float32Array of x, y pairs in the input frame. */
export function pointsToFrame(points, photo, size) {
  const frame = resizedShape(photo, size);
  const scaleX = frame.width / photo.width;
  const scaleY = frame.height / photo.height;
  return Float32Array.from(points.flatMap(([x, y]) => [x * scaleX, y * scaleY]));
}

/**
 * A prompt as the decoder takes it: a box as two labelled points; without a box a padding point at the end.
 * Returns coords (Float32Array, N x 2, input frame) and labels (Float32Array, N): 1 include, 0 exclude, 2 and 3 the corners
 * of the box, -1 padding.
 */
export function promptToFrame({ points, labels, box }, photo, size) {
  const corners = box ? [box.slice(0, 2), box.slice(2, 4)] : [];
  const coords = pointsToFrame([...points, ...corners], photo, size);
  if (box) return { coords, labels: Float32Array.from([...labels, 2, 3]) };
  return { coords: Float32Array.from([...coords, 0, 0]), labels: Float32Array.from([...labels, -1]) };
}

/**
 * SAM's input: normalised in float32 as PyTorch does, then padded right and below with zeros.
 * rgb is Uint8Array (height x width x 3); returns Float32Array (3 x size x size).
 */
export function toInput(rgb, { width, height }, size) {
  const tables = MEAN.map((mean, channel) =>
    Float32Array.from({ length: 256 }, (_, value) =>
      Math.fround(Math.fround(value - Math.fround(mean)) / Math.fround(STD[channel])),
    ),
  );
  const input = new Float32Array(3 * size * size);
  for (let channel = 0; channel < 3; channel++) {
    const table = tables[channel];
    for (let y = 0; y < height; y++) {
      let from = y * width * 3 + channel;
      const row = (channel * size + y) * size;
      for (let x = 0; x < width; x++, from += 3) input[row + x] = table[rgb[from]];
    }
  }
  return input;
}
