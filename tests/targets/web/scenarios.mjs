// What people do with the page, in one Chromium. Prints one JSON line per scenario: { name, found, error, watched }.
//   node scenarios.mjs ASKED.json
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const asked = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const { chromium } = await import(pathToFileURL(path.join(asked.modules, "playwright-core/index.mjs")));
const axe = fs.readFileSync(path.join(asked.modules, "axe-core/axe.min.js"), "utf8");
const HOME = `${asked.url}${asked.artefact}/?site=../site.json`;

const ready = (page) => page.waitForSelector("html[data-ready]");
const swapped = (page) => page.waitForSelector("#badge:not([hidden])");
const failure = (page) => page.textContent("#failure");
const shot = (page, name, options) => page.screenshot({ path: path.join(asked.screenshots, `${name}.png`), ...options });

async function opened(page) {
  await page.goto(HOME);
  await ready(page);
}

// The pixels of a canvas, as base64.
const pixels = (page, id) =>
  page.evaluate((name) => {
    const canvas = document.getElementById(name);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let text = "";
    for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
    return { width: canvas.width, height: canvas.height, rgba: btoa(text) };
  }, id);

const all = async (page) => Object.fromEntries(await Promise.all(["before", "after", "crop", "swapped", "mask"].map(async (id) => [id, await pixels(page, id)])));

async function photo(page, landmarks = asked.landmarks) {
  await page.setInputFiles("#file", asked.photo);
  await page.waitForSelector('#view[data-kind="photo"].placing');
  const box = await page.locator("#points").boundingBox();
  const { width, height } = await pixels(page, "before");
  for (const [x, y] of landmarks) await page.mouse.click(box.x + (x * box.width) / width, box.y + (y * box.height) / height);
  await swapped(page);
}

// A live picture is another each time; how many of `count` looks in a row differ from the one before.
async function changes(page, count = 8) {
  let [last, found] = [null, 0];
  for (let i = 0; i < count; i++) {
    const { rgba } = await pixels(page, "after");
    found += Number(last !== null && rgba !== last);
    last = rgba;
    await page.waitForTimeout(120);
  }
  return found;
}

const SCENARIOS = {
  async photo(page) {
    await opened(page);
    await photo(page);
    const marks = await page.locator(".point").evaluateAll((all) => all.map((one) => one.getAttribute("aria-label")));
    const found = { marks, ...(await all(page)) };
    await page.click("text=Person 3");
    await page.waitForFunction(() => document.getElementById("status").textContent.includes("Person 3"));
    await shot(page, "photo");
    return found;
  },

  async identities(page) {
    await opened(page);
    await page.click("#pictures li:nth-child(1) button");
    await swapped(page);
    const become = async (name) => {
      await page.click(`text=${name}`);
      await page.waitForFunction((wanted) => document.getElementById("status").textContent === `The face becomes: ${wanted}.`, name);
      return all(page);
    };
    const first = await all(page);
    const [second, third, back] = [await become("Person 2"), await become("Person 3"), await become("Person 1")];
    return { first, second, third, back };
  },

  async strange_packs(page) {
    await opened(page);
    const told = {};
    for (const [name, file] of Object.entries(asked.strange)) {
      await page.setInputFiles("#packs", file);
      await page.waitForFunction(() => document.getElementById("failure").textContent !== "");
      told[name] = { failure: await failure(page), chosen: await page.evaluate(() => document.querySelector(".person:has(input:checked)").textContent) };
      await page.evaluate(() => (document.getElementById("failure").textContent = ""));
    }
    await page.setInputFiles("#packs", asked.pack);
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("The face becomes"));
    return { told, status: await page.textContent("#status"), failure: await failure(page) };
  },

  async video(page) {
    await opened(page);
    await page.setInputFiles("#file", asked.video);
    await page.waitForSelector('#view[data-kind="video"]');
    await page.click("#middle");
    await swapped(page);
    const playing = await changes(page);
    await page.click("#play");
    await page.waitForTimeout(300);
    const paused = await changes(page, 4);
    await shot(page, "video");
    return { playing, paused, size: await page.evaluate(() => [document.getElementById("after").width, document.getElementById("after").height]) };
  },

  async camera(page) {
    await opened(page);
    await page.click("#camera");
    await swapped(page);
    const running = await changes(page);
    await page.click("text=Person 2");
    await page.waitForFunction(() => document.getElementById("status").textContent.includes("Person 2"));
    const rows = await page.locator("#figures th").allTextContents();
    await page.setInputFiles("#packs", asked.strange.none);
    await page.waitForFunction(() => document.getElementById("failure").textContent !== "");
    await changes(page, 4); // what is told stays while pictures go on
    const told = await failure(page);
    await shot(page, "camera");
    await page.click("#pictures li:nth-child(1) button"); // which ends the camera
    await page.waitForSelector('#view[data-kind="photo"]');
    await page.waitForTimeout(200);
    return { running, rows, told, after: await changes(page, 4), size: await page.evaluate(() => document.getElementById("before").width) };
  },

  async keyboard(page) {
    await opened(page);
    await page.setInputFiles("#file", asked.photo);
    await page.focus("#middle");
    await page.keyboard.press("Enter");
    await swapped(page);
    const label = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    const before = await label();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Shift+ArrowDown");
    const after = await label();
    await page.keyboard.press("Tab");
    const next = await label();
    const download = page.waitForEvent("download");
    await page.focus("#save");
    await page.keyboard.press("Enter");
    const file = path.join(asked.out, "saved.png");
    await (await download).saveAs(file);
    return { before, after, next, file, name: (await download).suggestedFilename() };
  },

  async accessible(page) {
    await opened(page);
    await page.click("#pictures li:nth-child(2) button");
    await swapped(page);
    const found = {};
    for (const [name, width, scheme] of [["wide", 1280, "light"], ["narrow", 360, "dark"]]) {
      await page.setViewportSize({ width, height: 800 });
      await page.emulateMedia({ colorScheme: scheme });
      await page.evaluate(`${axe}; undefined`);
      const { violations } = await page.evaluate(() => axe.run());
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      found[name] = { overflow, violations: violations.map(({ id, impact, nodes }) => `${impact}: ${id}: ${nodes[0].html}`) };
      await shot(page, name, { fullPage: true });
    }
    return found;
  },

  async no_simd(page) {
    await page.addInitScript(() => (WebAssembly.validate = () => false));
    await page.goto(HOME);
    await page.waitForFunction(() => document.getElementById("failure").textContent !== "");
    await shot(page, "no_simd");
    return { failure: await failure(page) };
  },

  async plain_simd(page) {
    // As a browser from before relaxed SIMD: whatever is longer than the module that asks for SIMD is not valid.
    await page.addInitScript(() => {
      const valid = WebAssembly.validate;
      WebAssembly.validate = (bytes) => bytes.length < 33 && valid(bytes);
    });
    const fetched = [];
    page.on("request", (request) => fetched.push(new URL(request.url()).pathname.split("/").pop()));
    await opened(page);
    await photo(page);
    return { about: await page.textContent("#about"), fetched: fetched.filter((name) => name.endsWith(".wasm")), ...(await all(page)) };
  },

  async offline(page) {
    await opened(page);
    await page.waitForSelector("html[data-kept]");
    await page.context().setOffline(true);
    await page.reload();
    await ready(page);
    await photo(page);
    await page.context().setOffline(false);
    return { failure: await failure(page), crop: await pixels(page, "swapped") };
  },

  async detector(page) {
    await opened(page);
    await page.setInputFiles("#file", asked.person);
    await page.waitForSelector("#find:enabled");
    await page.click("#find");
    await swapped(page);
    const marks = await page.locator(".point").evaluateAll((all) => all.map((one) => one.getAttribute("aria-label")));
    await page.setInputFiles("#file", asked.photo); // a wall is no face, and a drawn one may be none
    await page.waitForSelector('#view[data-kind="photo"].placing');
    await page.click("#camera");
    await swapped(page);
    await page.click("#find"); // the fake camera shows no face
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("No face is found"));
    return { marks, badge: await page.locator("#badge").isVisible(), failure: await failure(page) };
  },

  async no_detector(page) {
    await page.goto(`${asked.url}${asked.artefact}/`);
    await ready(page);
    await page.setInputFiles("#file", asked.photo);
    await page.waitForSelector("#find:enabled");
    await page.click("#find");
    await page.waitForFunction(() => document.getElementById("failure").textContent !== "");
    return { failure: await failure(page), people: await page.locator(".person").allTextContents() };
  },

  async nothing_beside(page) {
    await page.goto(`${asked.url}${asked.artefact}/?site=../no-site.json`);
    await page.waitForSelector("html[data-kept]"); // what is not there keeps nothing else from being kept
    const told = await failure(page);
    await photo(page);
    return { told, people: await page.locator(".person").allTextContents() };
  },

  async not_a_picture(page) {
    await opened(page);
    await page.setInputFiles("#file", { name: "notes.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
    await page.waitForFunction(() => document.getElementById("failure").textContent !== "");
    const text = await failure(page);
    await page.setInputFiles("#file", asked.sound);
    await page.waitForFunction(() => document.getElementById("failure").textContent.includes("video that"));
    const sound = await failure(page);
    const filled = await page.evaluate(() => document.getElementById("view").classList.contains("filled"));
    return { failure: text, sound, filled };
  },

  // Longer than what the page takes whole: it is made smaller, and that is told.
  async strip(page) {
    await opened(page);
    await page.setInputFiles("#file", asked.strip);
    await page.waitForSelector('#view[data-kind="photo"].placing');
    const { width, height } = await pixels(page, "before");
    await page.setInputFiles("#file", asked.large);
    await page.waitForFunction(() => document.getElementById("before").height > 1);
    await page.click("#middle");
    await swapped(page);
    await page.click("#save");
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("Saved"));
    return { width, height, failure: await failure(page), saved: await page.textContent("#status") };
  },

  // The module alone, as an app uses it; within a Worker, too.
  async module(page) {
    await page.goto(HOME);
    return page.evaluate(async ({ pack, face }) => {
      const { load, version, Failure } = await import(new URL("mfs-swap.js", location.href.split("?")[0]));
      const swapper = await load();
      const { size } = swapper;
      const context = new OffscreenCanvas(size, size).getContext("2d");
      context.drawImage(await createImageBitmap(await (await fetch(face)).blob()), 0, 0);
      const image = context.getImageData(0, 0, size, size);
      const sum = (data) => data.reduce((total, value) => total + value, 0);
      const given = sum(image.data);
      const one = await swapper.swap(image);
      const found = { version, size, precision: swapper.precision, module: swapper.module, given: sum(image.data) - given };
      found.opaque = one.swapped.data.every((value, i) => i % 4 !== 3 || value === 255);
      found.mask = [one.mask.length, Math.min(...one.mask) >= 0, Math.max(...one.mask) <= 1];
      const refused = async (call) => call().then(() => null, (error) => [error instanceof Failure, error.code]);
      const bytes = new Uint8Array(await (await fetch(pack)).arrayBuffer());
      found.refused = {
        size: await refused(() => swapper.swap(new ImageData(8, 8))),
        landmarks: await refused(() => swapper.swapFrame(image, [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]])),
        few: await refused(() => swapper.swapFrame(image, [[1, 1]])),
        pack: await refused(() => swapper.setIdentity(new Uint8Array(20))),
        cut: await refused(() => swapper.setIdentity(bytes.subarray(0, bytes.length - 9))),
        kind: await refused(() => swapper.setIdentity("a path")),
        folder: await refused(() => load(new URL("../packs/", location.href.split("?")[0]))),
      };
      found.unchanged = sum((await swapper.swap(image)).swapped.data) === sum(one.swapped.data);
      // Frames that are asked for behind a switch show the other identity; those before it do not.
      const before = swapper.swap(image);
      found.identity = await swapper.setIdentity(bytes);
      const other = await swapper.swap(image);
      found.before = sum((await before).swapped.data) === sum(one.swapped.data);
      found.other = sum(other.swapped.data) !== sum(one.swapped.data);
      await swapper.setIdentity(null);
      found.back = sum((await swapper.swap(image)).swapped.data) === sum(one.swapped.data);
      swapper.close();
      found.closed = await refused(() => swapper.swap(image));
      return found;
    }, { pack: `${asked.url}packs/${path.basename(asked.pack)}`, face: `${asked.url}pictures/face-03.png` });
  },
};

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
];

// What no scenario may do: errors in the console, and requests to any other origin.
function watch(page) {
  const watched = { console: [], foreign: [] };
  page.on("console", (message) => message.type() === "error" && watched.console.push(message.text()));
  page.on("pageerror", (error) => watched.console.push(String(error)));
  page.context().on("request", (request) => {
    const url = new URL(request.url());
    if (["http:", "https:", "ws:", "wss:"].includes(url.protocol) && url.origin !== new URL(asked.url).origin) watched.foreign.push(request.url());
  });
  return watched;
}

const browser = await chromium.launch({ executablePath: asked.chromium, args: FLAGS });
for (const [name, scenario] of Object.entries(SCENARIOS)) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  context.setDefaultTimeout(asked.patience);
  const page = await context.newPage();
  const watched = watch(page);
  const told = { name, found: null, error: null };
  try {
    told.found = await scenario(page);
  } catch (error) {
    told.error = String(error.stack ?? error);
    await shot(page, `failed-${name}`).catch(() => {});
  }
  await context.close();
  process.stdout.write(`${JSON.stringify({ ...told, watched })}\n`);
}
await browser.close();
