// Does in headless Chromium what a person would do on the page, by playwright-core, and prints the results as JSON.
// node drive_page.mjs PLAN.json, in a folder where playwright-core is installed. Places are shares of the photo's sides.
// plan.slow, a file name: the browser takes 3 s to open that file as a picture.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";

const { chromium } = createRequire(join(process.cwd(), "package.json"))("playwright-core");
const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const found = { errors: [], hosts: [], steps: [] };

const browser = await chromium.launch({
  executablePath: plan.chromium,
  args: [
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", ...(plan.flags ?? ["--disable-gpu"]),
  ],
});
const { width, height } = plan.viewport ?? { width: 1400, height: 900 };
const context = await browser.newContext({
  viewport: { width, height },
  deviceScaleFactor: plan.scale ?? 1,
  hasTouch: Boolean(plan.touch),
  isMobile: Boolean(plan.touch),
  colorScheme: plan.scheme ?? "light",
});
const page = await context.newPage();
page.setDefaultTimeout(plan.timeout ?? 240_000);
page.on("console", (message) => ["error", "warning"].includes(message.type()) && found.errors.push(message.text()));
page.on("pageerror", (error) => found.errors.push(String(error)));
context.on("request", (request) => {
  const { host, protocol } = new URL(request.url());
  if (protocol.startsWith("http") && !found.hosts.includes(host)) found.hosts.push(host);
});

await page.addInitScript((slow) => {
  const open = self.createImageBitmap.bind(self);
  self.createImageBitmap = async (file, ...rest) => {
    if (slow && file.name === slow) await new Promise((resolve) => setTimeout(resolve, 3000));
    return open(file, ...rest).finally(() => setTimeout(() => (document.body.dataset.tried = file.name), 0));
  };
}, plan.slow ?? null);

const idle = () => page.waitForSelector("body[data-state=idle]");
const text = (id) => page.locator(`#${id}`).innerText();
const place = async ([x, y]) => {
  const box = await page.locator("#overlay").boundingBox();
  return [box.x + x * box.width, box.y + y * box.height];
};

async function save(path) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  await download.saveAs(path);
  return download.suggestedFilename();
}

const actions = {
  async open(path) {
    await page.setInputFiles("#file", path);
    await idle();
  },
  async offer(path) {
    await page.setInputFiles("#file", path); // no photo
    await page.waitForSelector("#status.problem");
  },
  async hand(path) {
    await page.setInputFiles("#file", path); // without waiting for anything
  },
  async tried(name) {
    await page.waitForSelector(`body[data-tried="${name}"]`);
  },
  async click(at, { button = "left", shift = false } = {}) {
    if (shift) await page.keyboard.down("Shift");
    await page.mouse.click(...(await place(at)), { button });
    if (shift) await page.keyboard.up("Shift");
    await idle();
  },
  async tap(at) {
    await page.touchscreen.tap(...(await place(at)));
    await idle();
  },
  async drag([from, to]) {
    await page.mouse.move(...(await place(from)));
    await page.mouse.down();
    await page.mouse.move(...(await place(to)), { steps: 5 });
    await page.mouse.up();
    await idle();
  },
  async press(keys) {
    for (const key of keys) await page.keyboard.press(key);
    await idle();
  },
  async choose(token) {
    await page.locator(".candidate").nth(token).click();
  },
  async button(id) {
    await page.click(`#${id}`);
    await idle();
  },
  async focus(id) {
    await page.focus(`#${id}`);
  },
  async check(id) {
    await page.locator(`label:has(#${id})`).click();
  },
  async viewport(size) {
    await page.setViewportSize(size);
    await page.waitForTimeout(500);
  },
  async screenshot(path) {
    await page.mouse.move(5, 5);
    await page.waitForTimeout(300);
    await page.screenshot({ path, type: path.endsWith(".png") ? "png" : "jpeg", ...(path.endsWith(".png") ? {} : { quality: 82 }) });
  },
};

await page.goto(plan.url);
await page.waitForSelector("body[data-state=ready], #status.problem");
for (const step of plan.steps) {
  const [name, given, options] = step.do;
  await actions[name](given, options);
  const result = { do: name };
  if (step.save) result.file = await save(step.save);
  if (step.read) {
    result.status = await text("status");
    result.prompt = JSON.parse(await page.locator("#prompt-json").textContent());
    result.chosen = await page.locator(".candidate").evaluateAll((all) => all.findIndex((one) => one.ariaPressed === "true"));
  }
  found.steps.push(result);
}
found.backend = await text("backend");
found.note = await page.locator("#backend-note").textContent();
found.status = await text("status");
found.times = Object.fromEntries(
  await Promise.all(["prepare", "encode", "decode"].map(async (name) => [name, await text(`time-${name}`)])),
);
found.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
await browser.close();
console.log(JSON.stringify(found));
