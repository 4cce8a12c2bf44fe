// The page: connects what the user does, what the engine returns and what is shown.

import { Engine } from "./engine.js";
import { Prompts, automaticMask } from "./prompts.js";
import { Stage } from "./stage.js";
import { UPRIGHT } from "./photo.js";
import { hideCandidates, markCandidate, say, showBackend, showCandidates, showPrompt, showTimes } from "./panel.js";

const element = (id) => document.getElementById(id);
const body = document.body;
const INVITATION = "Click what you want, or drag a box around it.";
const prompts = new Prompts();
const times = {};
let photo = null; // {name, number, encoded} of the one that is shown; a new object for each, so that late results can be dropped
let asked = 0; // how many files have been opened, good or bad
let answer = null; // the decoder's last result: {scores, thumbnails}
let chosen = null; // token of the mask that is shown; null while there is none for the current prompt
let running = false;
let again = false;

/** "loading" the model, "ready" for a photo, "encoding" it, "busy" with a prompt, or "idle". */
function setState(state) {
  body.dataset.state = state;
  element("frame").setAttribute("aria-busy", String(["loading", "encoding"].includes(state)));
  element("save").disabled = chosen === null;
  element("undo").disabled = element("clear").disabled = prompts.isEmpty;
}

function fail(error) {
  say(String(error?.message ?? error), { problem: true });
}

const engine = new Engine({
  onProgress: (share) => say("Loading the model …", { share }),
  onCrash: (reason) => fail(`The model stopped: ${reason}. Reload the page to start again.`),
});

const stage = new Stage({
  frame: element("frame"),
  photo: element("photo"),
  overlay: element("overlay"),
  excluding: () => element("exclude").checked,
  onPoint: (x, y, label) => change(() => prompts.addPoint(x, y, label)),
  onBox: (from, to) => change(() => prompts.addBox(from, to)),
  onResize: () => chosen !== null && showMask().catch(fail),
});

async function start() {
  setState("loading");
  const response = await fetch(new URL("model.json", import.meta.url), { cache: "no-cache" });
  if (!response.ok) throw new Error(`model.json cannot be loaded (${response.status} ${response.statusText})`);
  const model = await response.json();
  element("model").textContent = `${model.name} · ${model.image_size} px`;
  const backend = new URLSearchParams(location.search).get("backend") ?? "auto";
  showBackend(await engine.call("start", { model, backend }));
  say(photo ? "Encoding the photo …" : "Ready. Drop a photo, paste one, or choose a file.");
  if (!photo) setState("ready");
}

const started = start();
started.catch(fail);

async function openPhoto(file) {
  const own = { name: file.name || "photo", number: ++asked, encoded: false };
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, UPRIGHT);
  } catch {
    // The photo that is shown stays as it is. A file opened since then matters more than this message.
    if (own.number < asked) return;
    return fail(`${own.name} cannot be opened as a photo in this browser; choose a JPEG, PNG or WebP.`);
  }
  if (photo?.number > own.number) return bitmap.close(); // opened later, ready earlier
  photo = own;
  answer = chosen = null;
  prompts.clear();
  body.classList.add("has-photo");
  stage.setPhoto(bitmap);
  hideCandidates();
  showPrompt(prompts.current);
  setState("encoding");
  try {
    await encode(own, file);
  } catch (error) {
    if (photo !== own) return;
    photo = null;
    setState("ready");
    throw error;
  }
}

async function encode(own, file) {
  await started;
  say("Encoding the photo …");
  const found = await engine.call("photo", { blob: file });
  if (photo !== own) return;
  Object.assign(times, found, { decodeMs: undefined });
  showTimes(times);
  own.encoded = true;
  setState("idle");
  say(INVITATION);
  refresh();
}

function change(step) {
  if (!photo) return;
  step();
  chosen = null;
  showPrompt(prompts.current);
  stage.setPrompts(prompts.current);
  if (prompts.isEmpty) {
    answer = null;
    stage.setMask(null);
    hideCandidates();
    if (photo.encoded) say(INVITATION);
  }
  setState(photo.encoded ? "busy" : "encoding");
  refresh();
}

/** Ask for the masks of the current prompt; if it changes meanwhile, ask once more at the end. */
async function refresh() {
  again = true;
  if (running) return;
  running = true;
  try {
    while (again && photo?.encoded) {
      again = false;
      if (!prompts.isEmpty) await ask(photo);
    }
  } catch (error) {
    fail(error);
  } finally {
    running = false;
    if (photo?.encoded) setState("idle");
  }
}

async function ask(own) {
  const prompt = prompts.current;
  const found = await engine.call("prompt", prompt);
  if (photo !== own || prompts.isEmpty) return;
  answer = found;
  chosen = automaticMask(prompt, found.scores);
  times.decodeMs = found.decodeMs;
  showTimes(times);
  showCandidates(found, chosen, choose);
  await showMask();
}

async function showMask() {
  const own = photo;
  const token = chosen;
  const mask = await engine.call("mask", { token, out: stage.shown });
  if (photo !== own || token !== chosen || prompts.isEmpty) return;
  stage.setMask(mask);
  const share = mask.data.reduce((sum, inside) => sum + inside, 0) / mask.data.length;
  say(`Mask of ${(100 * share).toFixed(1)} % of the photo, predicted IoU ${answer.scores[token].toFixed(2)}.`);
}

function choose(token) {
  if (chosen === null) return;
  chosen = token;
  markCandidate(token);
  showMask().catch(fail);
}

async function save() {
  const { name } = photo;
  const blob = await engine.call("png", { token: chosen });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name.replace(/\.[^.]*$/, "")}-mask.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function openFirst(files) {
  const file = [...(files ?? [])].find((one) => one.type.startsWith("image/")) ?? files?.[0];
  if (file) openPhoto(file).catch(fail);
}

element("file").addEventListener("change", (event) => {
  openFirst(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
for (const button of document.querySelectorAll("[data-choose]")) button.addEventListener("click", () => element("file").click());
addEventListener("dragover", (event) => {
  event.preventDefault();
  body.classList.add("dropping");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  body.classList.remove("dropping");
  openFirst(event.dataTransfer?.files);
});
addEventListener("paste", (event) => openFirst(event.clipboardData?.files));

const undo = () => prompts.isEmpty || change(() => prompts.undo());
const clear = () => prompts.isEmpty || change(() => prompts.clear());
element("undo").addEventListener("click", undo);
element("clear").addEventListener("click", clear);
element("save").addEventListener("click", () => save().catch(fail));
element("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
});

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") undo();
    return;
  }
  if (["1", "2", "3", "4"].includes(key)) choose(Number(key) - 1);
  else if (key === "u" || key === "backspace") undo();
  else if (key === "escape") clear();
  else if (key === "i") element("include").checked = true;
  else if (key === "e") element("exclude").checked = true;
  else if (key === "s" && !element("save").disabled) save().catch(fail);
  else if (key === "o") element("file").click();
});
