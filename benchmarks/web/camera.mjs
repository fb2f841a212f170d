// The page on Chromium's fake camera, as somebody uses it who also moves the slider and changes identities.
//   node camera.mjs '{"url", "modules", "chromium", "seconds"}'
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const asked = JSON.parse(process.argv[2]);
const { chromium } = await import(pathToFileURL(path.join(asked.modules, "playwright-core/index.mjs")));
const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const browser = await chromium.launch({ executablePath: asked.chromium, args });
const page = await browser.newPage();
await page.goto(`${asked.url}`);
await page.waitForSelector("html[data-ready]");
await page.evaluate(() => {
  window.delays = [];
  for (const kind of ["pointerdown", "keydown"]) {
    addEventListener(kind, (event) => window.delays.push(performance.now() - event.timeStamp), { capture: true });
  }
  window.shown = 0;
  const context = document.getElementById("after").getContext("2d");
  const put = context.putImageData.bind(context);
  context.putImageData = (...given) => (window.shown++, put(...given));
});
await page.click("#camera");
await page.waitForSelector("#badge:not([hidden])");

const session = await browser.newBrowserCDPSession();
async function megabytes() {
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  const pages = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => fs.readFileSync(`/proc/${id}/statm`, "utf8"));
  return (pages.reduce((sum, text) => sum + Number(text.split(" ")[1]), 0) * 4096) / 1e6;
}

const people = await page.locator(".person").count();
const memory = [];
const begin = Date.now();
const shown = await page.evaluate(() => window.shown);
for (let turn = 0; Date.now() - begin < 1000 * asked.seconds; turn++) {
  await page.locator("#split").focus();
  await page.keyboard.press(turn % 2 ? "ArrowLeft" : "ArrowRight");
  await page.mouse.click(640, 20);
  if (turn % 20 === 19) await page.locator(".person").nth((turn / 20) % people | 0).click();
  if (turn % 20 === 0) memory.push(await megabytes());
  await page.waitForTimeout(200);
}
const took = (Date.now() - begin) / 1000;
const delays = (await page.evaluate(() => window.delays)).sort((one, other) => one - other);
const at = (share) => Number(delays[Math.min(delays.length - 1, Math.floor(share * delays.length))].toFixed(2));
const frames = ((await page.evaluate(() => window.shown)) - shown) / took;
process.stdout.write(
  JSON.stringify({
    "frames per second": Number(frames.toFixed(1)), inputs: delays.length, "input delay p50, ms": at(0.5), "p95, ms": at(0.95),
    "memory over time, MB": memory.map(Math.round).join(" "), failure: await page.textContent("#failure"),
  }),
);
await browser.close();
