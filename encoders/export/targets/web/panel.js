// What is shown beside the photo: candidates, times, messages.

import { thumbnailImage } from "./draw.js";

const NAMES = ["Single", "A", "B", "C"];
const TITLES = ["The single mask", "First of three candidates", "Second of three candidates", "Third of three candidates"];
const element = (id) => document.getElementById(id);

const milliseconds = (value) => (value === undefined ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);

/** Show the four masks as buttons; onChoose(token) is called when one is chosen. */
export function showCandidates({ thumbnails, scores }, chosen, onChoose) {
  const buttons = thumbnails.map((thumbnail, token) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "candidate";
    button.title = `${TITLES[token]}; predicted IoU ${scores[token].toFixed(3)} (key ${token + 1})`;
    button.setAttribute("aria-pressed", String(token === chosen));
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: thumbnail.width, height: thumbnail.height });
    canvas.getContext("2d").putImageData(thumbnailImage(thumbnail), 0, 0);
    const label = document.createElement("span");
    label.textContent = NAMES[token];
    const score = document.createElement("small");
    score.textContent = scores[token].toFixed(2);
    button.append(canvas, label, score);
    button.addEventListener("click", () => onChoose(token));
    return button;
  });
  element("candidates").replaceChildren(...buttons);
}

export function hideCandidates() {
  const note = document.createElement("p");
  note.className = "quiet";
  note.textContent = "Mark something on the photo and the masks appear here.";
  element("candidates").replaceChildren(note);
}

/** Mark the chosen one of the shown candidates. */
export function markCandidate(chosen) {
  [...element("candidates").children].forEach((button, token) => button.setAttribute("aria-pressed", String(token === chosen)));
}

/** Show which backend runs, with how many threads, and why it is not WebGPU. */
export function showBackend({ backend, threads, note, isolated, checkError }) {
  const chip = element("backend");
  chip.dataset.backend = backend.toLowerCase();
  chip.textContent = backend === "WASM" ? `WASM · ${threads} thread${threads > 1 ? "s" : ""}` : backend;
  const details = [];
  if (note && note !== "asked for") details.push(`Not WebGPU: ${note}.`);
  if (backend === "WASM" && !isolated) details.push("One thread: the server sends no isolation headers (see README.md).");
  if (checkError !== undefined) details.push(`Self-check: ${checkError.toExponential(0)} from PyTorch.`);
  element("backend-note").textContent = details.join(" ");
}

export function showTimes({ prepareMs, encodeMs, decodeMs }) {
  element("time-prepare").textContent = milliseconds(prepareMs);
  element("time-encode").textContent = milliseconds(encodeMs);
  element("time-decode").textContent = milliseconds(decodeMs);
}

/** Show the prompt as the Python package takes it. */
export function showPrompt({ points, labels, box }) {
  const given = {};
  if (points.length) Object.assign(given, { points: [points], labels: [labels] });
  if (box) given.boxes = [box];
  element("prompt-json").textContent = JSON.stringify(given);
}

/** Show a message, which screen readers read aloud. `share`, 0 to 1, shows a progress bar. */
export function say(text, { share = null, problem = false } = {}) {
  const line = element("status");
  if (line.textContent !== text) line.textContent = text;
  line.classList.toggle("problem", problem);
  const bar = element("progress");
  bar.hidden = share === null;
  if (share !== null) bar.value = share;
}
