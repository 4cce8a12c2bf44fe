// The photo with mask and marks on it, and the pointer and keys that mark it. Positions are passed on in pixels of the photo.

import { drawBox, drawCross, drawPoint, maskImage } from "./draw.js";
import { EXCLUDE, INCLUDE } from "./prompts.js";

const DRAG = { mouse: 5, pen: 6, touch: 12 }; // CSS pixels that a press may move and still be a click
const MAX_ZOOM = 3;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Stage {
  /** onPoint(x, y, label), onBox(corner, corner), onResize(); excluding() says whether a plain click excludes. */
  constructor({ frame, photo, overlay, excluding, onPoint, onBox, onResize }) {
    Object.assign(this, { frame, photo, overlay, excluding, onPoint, onBox, onResize });
    this.bitmap = null;
    this.mask = null; // a canvas
    this.prompts = { points: [], labels: [], box: null };
    this.press = null; // {id, start, at, dragging, exclude}
    this.cursor = null; // of the keyboard
    this.corner = null; // of a box begun by keyboard
    this.listen();
    new ResizeObserver(() => this.layout()).observe(frame);
  }

  listen() {
    const { overlay } = this;
    overlay.addEventListener("pointerdown", (event) => this.pressed(event));
    overlay.addEventListener("pointermove", (event) => this.moved(event));
    overlay.addEventListener("pointerup", (event) => this.released(event));
    overlay.addEventListener("pointercancel", () => this.cancel());
    overlay.addEventListener("contextmenu", (event) => event.preventDefault());
    overlay.addEventListener("keydown", (event) => this.key(event));
    overlay.addEventListener("focus", () => overlay.matches(":focus-visible") && this.enter());
    overlay.addEventListener("blur", () => this.leave());
  }

  setPhoto(bitmap) {
    this.bitmap?.close();
    this.bitmap = bitmap;
    this.cursor = this.corner = this.press = null;
    this.prompts = { points: [], labels: [], box: null };
    this.mask = null;
    this.frame.style.setProperty("--shape", bitmap.width / bitmap.height);
    this.layout();
  }

  /** {data, width, height} or null. */
  setMask(mask) {
    this.mask = mask && new OffscreenCanvas(mask.width, mask.height);
    this.mask?.getContext("2d").putImageData(maskImage(mask, Math.max(1, Math.round(1.5 * this.unit))), 0, 0);
    this.draw();
  }

  setPrompts(prompts) {
    this.prompts = prompts;
    this.draw();
  }

  /** Size of the photo on the screen, in the screen's own pixels. */
  get shown() {
    return { width: this.overlay.width, height: this.overlay.height };
  }

  get unit() {
    return Math.min(2, window.devicePixelRatio || 1);
  }

  layout() {
    if (!this.bitmap) return;
    const { width, height } = this.bitmap;
    const scale = Math.min(this.frame.clientWidth / width, this.frame.clientHeight / height, MAX_ZOOM);
    const css = { width: Math.max(1, Math.floor(width * scale)), height: Math.max(1, Math.floor(height * scale)) };
    const pixels = { width: Math.round(css.width * this.unit), height: Math.round(css.height * this.unit) };
    const changed = pixels.width !== this.photo.width || pixels.height !== this.photo.height;
    for (const canvas of [this.photo, this.overlay]) {
      Object.assign(canvas, pixels);
      canvas.style.width = `${css.width}px`;
      canvas.style.height = `${css.height}px`;
    }
    const context = this.photo.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(this.bitmap, 0, 0, pixels.width, pixels.height);
    this.draw();
    if (changed) this.onResize();
  }

  draw() {
    const { overlay, prompts, unit } = this;
    const context = overlay.getContext("2d");
    context.clearRect(0, 0, overlay.width, overlay.height);
    if (!this.bitmap) return;
    if (this.mask) context.drawImage(this.mask, 0, 0, overlay.width, overlay.height);
    const scale = overlay.width / this.bitmap.width;
    const scaled = (values) => values.map((value) => value * scale);
    if (prompts.box) drawBox(context, scaled(prompts.box), unit);
    prompts.points.forEach((point, index) => drawPoint(context, scaled(point), prompts.labels[index] === INCLUDE, unit));
    const { press, corner, cursor } = this;
    if (press?.dragging) drawBox(context, scaled([...press.start, ...press.at]), unit);
    if (corner && cursor) drawBox(context, scaled([...corner, ...cursor]), unit);
    if (cursor) drawCross(context, scaled(cursor), unit);
  }

  /** Position of an event, [x, y] in pixels of the photo. */
  place(event) {
    const box = this.overlay.getBoundingClientRect();
    const { width, height } = this.bitmap;
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    return [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))];
  }

  pressed(event) {
    if (!this.bitmap) return;
    if (this.press || ![0, 2].includes(event.button)) return this.cancel(); // a second finger zooms
    this.overlay.setPointerCapture(event.pointerId);
    this.cursor = this.corner = null;
    const start = this.place(event);
    const exclude = event.button === 2 || event.shiftKey || event.ctrlKey || this.excluding();
    this.press = { id: event.pointerId, start, at: start, from: [event.clientX, event.clientY], dragging: false, exclude };
  }

  moved(event) {
    const { press } = this;
    if (!press || press.id !== event.pointerId) return;
    press.at = this.place(event);
    const distance = Math.hypot(event.clientX - press.from[0], event.clientY - press.from[1]);
    press.dragging ||= distance > (DRAG[event.pointerType] ?? DRAG.mouse);
    if (press.dragging) this.draw();
  }

  released(event) {
    const { press } = this;
    if (!press || press.id !== event.pointerId) return;
    this.press = null;
    if (press.dragging) this.onBox(press.start, press.at);
    else this.onPoint(...press.start, press.exclude ? EXCLUDE : INCLUDE);
  }

  cancel() {
    this.press = null;
    this.draw();
  }

  /** Focused by keyboard: show a cursor in the middle. */
  enter() {
    if (!this.bitmap) return;
    this.cursor = [this.bitmap.width / 2, this.bitmap.height / 2];
    this.draw();
  }

  leave() {
    this.cursor = this.corner = null;
    this.draw();
  }

  key(event) {
    if (!this.bitmap || event.ctrlKey || event.metaKey || event.altKey) return;
    const { width, height } = this.bitmap;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = Math.max(width, height) * (event.shiftKey ? 0.004 : 0.02);
      const [x, y] = this.cursor ?? [width / 2, height / 2];
      const moved = [x + arrow[0] * step, y + arrow[1] * step];
      this.cursor = [Math.min(width, Math.max(0, moved[0])), Math.min(height, Math.max(0, moved[1]))];
    } else if (["Enter", " "].includes(event.key) && this.cursor) {
      this.onPoint(...this.cursor, event.shiftKey || this.excluding() ? EXCLUDE : INCLUDE);
    } else if (event.key.toLowerCase() === "b" && this.cursor) {
      if (this.corner) this.onBox(this.corner, this.cursor);
      this.corner = this.corner ? null : this.cursor;
    } else {
      return;
    }
    event.preventDefault();
    this.draw();
  }
}
