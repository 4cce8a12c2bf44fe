// Masks and prompts on a canvas.

const FILL = [38, 132, 255];
const LINE = [255, 255, 255];
const FILL_ALPHA = 112;

/** A mask {data, width, height} in colour: a transparent fill and a line of `thickness` pixels inside its edge. */
export function maskImage({ data, width, height }, thickness = 2) {
  const image = new ImageData(width, height);
  const pixels = image.data;
  for (let y = 0, place = 0; y < height; y++) {
    for (let x = 0; x < width; x++, place++) {
      if (!data[place]) continue;
      const edge =
        (x >= thickness && !data[place - thickness]) ||
        (x + thickness < width && !data[place + thickness]) ||
        (y >= thickness && !data[place - thickness * width]) ||
        (y + thickness < height && !data[place + thickness * width]);
      const [red, green, blue] = edge ? LINE : FILL;
      pixels.set([red, green, blue, edge ? 255 : FILL_ALPHA], place * 4);
    }
  }
  return image;
}

/** A small picture of a mask, in one colour on a transparent ground. */
export function thumbnailImage({ data, width, height }) {
  const image = new ImageData(width, height);
  data.forEach((inside, place) => inside && image.data.set([...FILL, 255], place * 4));
  return image;
}

/** A box in the canvas's own pixels, light with a dark rim, so that it is visible on any photo. */
export function drawBox(context, [x0, y0, x1, y1], unit) {
  context.lineJoin = "round";
  for (const [colour, width] of [["rgb(0 0 0 / 55%)", 4], ["#ffd60a", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * unit;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
}

/** A point: plus on green for include, minus on red for exclude. */
export function drawPoint(context, [x, y], include, unit) {
  const radius = 8 * unit;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = include ? "#12893b" : "#d3302f";
  context.shadowColor = "rgb(0 0 0 / 60%)";
  context.shadowBlur = 4 * unit;
  context.fill();
  context.shadowBlur = 0;
  context.strokeStyle = "#fff";
  context.lineWidth = 2 * unit;
  context.stroke();
  context.beginPath();
  context.moveTo(x - radius / 2, y);
  context.lineTo(x + radius / 2, y);
  if (include) {
    context.moveTo(x, y - radius / 2);
    context.lineTo(x, y + radius / 2);
  }
  context.stroke();
}

/** The keyboard's cursor. */
export function drawCross(context, [x, y], unit) {
  const reach = 14 * unit;
  for (const [colour, width] of [["rgb(0 0 0 / 60%)", 4], ["#fff", 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * unit;
    context.beginPath();
    context.moveTo(x - reach, y);
    context.lineTo(x + reach, y);
    context.moveTo(x, y - reach);
    context.lineTo(x, y + reach);
    context.stroke();
  }
}
