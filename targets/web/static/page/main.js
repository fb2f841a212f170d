// The page: a picture, a face in it, who it becomes. All computing is in workers.
import { load, version } from "../mfs-swap.js";
import { Figures } from "./figures.js";
import { Finder } from "./finder.js";
import { kept } from "./offline.js";
import { element, People } from "./people.js";
import { Points } from "./points.js";
import { saved } from "./saying.js";
import { fetched, site } from "./site.js";
import * as sources from "./sources.js";

const $ = (id) => document.getElementById(id);
const points = new Points($("points"), $("view"));
const people = new People($("people"));
const figures = new Figures($("figures"));
const grabbed = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const [before, after] = ["before", "after"].map((id) => $(id).getContext("2d"));

let swapper = null;
let finder = null; // once the detector was asked for
let finding = false; // whether it marks the face, in place of the user
let source = null;
let running = null; // the pictures that are being made
let stale = false; // something has changed since the last one began
let broken = false; // whether the last picture could not be made
let current = null; // who the face becomes
let switching = Promise.resolve();

const UNFOUND = "No face is found: one that is larger, or seen from the front, may be. Or mark it yourself.";
const tell = (text) => ($("status").textContent = text);
const fail = (error) => ($("failure").textContent = error ? sentence(error.message ?? String(error)) : "");
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** What a button or a drop starts: what goes wrong is told. */
function action(work) {
  return async (...given) => {
    fail(null);
    try {
      await work(...given);
    } catch (error) {
      fail(error);
    }
  };
}

async function start() {
  const alone = (error) => (fail(error), { packs: [], pictures: [] }); // the page works without what lies beside it
  const [loaded, beside] = await Promise.all([load(), site().catch(alone)]);
  swapper = loaded;
  finder = new Finder(beside.detector);
  people.add({ name: "As compiled", ...beside.own, bytes: async () => null, chosen: true });
  current = people.chosen;
  for (const { name, file, picture } of beside.packs) {
    people.add({ name, picture, bytes: async () => new Uint8Array(await (await fetched(file)).arrayBuffer()) });
  }
  for (const picture of beside.pictures) $("pictures").append(tile(picture));
  $("pictures").hidden = !beside.pictures.length;
  for (const id of ["crop", "swapped", "mask"]) $(id).width = $(id).height = swapper.size;
  $("about").textContent = `${swapper.size} px, ${swapper.precision}, ${swapper.module}, one thread; mfs-edge ${version}`;
  document.documentElement.dataset.ready = "true";
  $("find").disabled = !source;
  if (source) prompt();
  const shown = [beside.own?.picture, ...beside.packs.map(({ picture }) => picture), ...beside.pictures.map(({ file }) => file)];
  const module = swapper.module === "SIMD" ? "idn.wasm" : "idn-relaxed.wasm";
  await kept(["mfs-swap.js", "idn.weights", module], shown.filter(Boolean));
  document.documentElement.dataset.kept = "true";
}

function tile({ name, file, landmarks }) {
  const button = element("button", { type: "button" });
  button.setAttribute("aria-label", name);
  button.append(element("img", { src: file, alt: "" }));
  button.onclick = action(async () => show(sources.photo(await createImageBitmap(await (await fetched(file)).blob())), landmarks));
  const item = element("li", {});
  item.append(button);
  return item;
}

/** Another source takes the stage. */
function show(next, landmarks) {
  source?.close();
  source = next;
  finding = false;
  $("find").setAttribute("aria-pressed", "false");
  for (const { canvas } of [grabbed, before, after]) [canvas.width, canvas.height] = [source.width, source.height];
  $("view").style.setProperty("--ratio", source.width / source.height);
  $("view").classList.add("filled");
  $("view").dataset.kind = source.kind;
  for (const id of ["place", "middle", "split"]) $(id).disabled = false;
  $("find").disabled = !finder;
  $("play").hidden = !source.live;
  $("play").textContent = "Pause";
  $("save").disabled = $("badge").hidden = true;
  figures.reset();
  points.reset(source.width, source.height);
  if (landmarks) points.set(landmarks);
  else if (source.kind === "camera") points.middle(); // where a face usually is
  else points.place();
  if (source.live) follow(source);
}

async function follow(mine) {
  if (source !== mine) return;
  if (!mine.element.paused) await redraw();
  mine.next(() => follow(mine));
}

/** A new picture without being asked: what else has gone wrong stays told, and what was wrong with a picture goes. */
async function redraw() {
  try {
    await render();
    if (broken) fail(null);
    broken = false;
  } catch (error) {
    broken = true;
    fail(error);
  }
}

/** The picture as it is now, with its face swapped if there is one marked. */
function render() {
  stale = true;
  if (source && swapper) running ??= made().finally(() => (running = null));
  return running;
}

async function made() {
  while (stale) {
    stale = false;
    await picture(source);
  }
}

async function picture(mine) {
  const ms = {};
  const { width, height } = mine;
  ms.read = timed(() => mine.draw(grabbed));
  const image = grabbed.getImageData(0, 0, width, height);
  const landmarks = await marked(mine, image, ms);
  const made = landmarks && (await swapper.swapFrame(image, landmarks, { take: true }));
  if (source !== mine) return; // another came meanwhile
  ms.show = timed(() => draw(made));
  if (made) figures.add({ ...ms, ...made.ms }, mine.live);
}

async function marked(mine, image, ms) {
  if (!finding) return points.value;
  const begin = performance.now();
  const found = await finder.find(image, true);
  ms.find = performance.now() - begin;
  if (source === mine && finding) tell(found ? "" : UNFOUND);
  return found;
}

function draw(made) {
  before.drawImage(grabbed.canvas, 0, 0);
  if (made) after.putImageData(made.image, 0, 0);
  else after.drawImage(grabbed.canvas, 0, 0);
  $("badge").hidden = !made;
  $("save").disabled = !made;
  if (!made) return;
  $("crop").getContext("2d").putImageData(made.crop, 0, 0);
  $("swapped").getContext("2d").putImageData(made.swapped, 0, 0);
  $("mask").getContext("2d").putImageData(grey(made.mask, made.crop.width), 0, 0);
}

function grey(mask, size) {
  const shown = new ImageData(size, size);
  for (let i = 0; i < mask.length; i++) shown.data.fill(255 * mask[i], 4 * i, 4 * i + 3);
  for (let i = 3; i < shown.data.length; i += 4) shown.data[i] = 255;
  return shown;
}

function timed(work) {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

function prompt() {
  $("place").setAttribute("aria-pressed", String(points.wanted !== null));
  if (points.wanted) tell(`Click on the ${points.wanted}.`);
  else if (points.value && !finding) tell("");
  points.shown = !finding;
  if (source && !(source.live && !source.element.paused)) redraw();
}

/** Identities are set one after the other; the last one that was chosen stays. */
function become() {
  const chosen = people.chosen;
  const set = action(async () => {
    try {
      await swapper.setIdentity(await chosen.bytes());
    } catch (error) {
      people.choose(current);
      throw new Error(`${chosen.name}: ${error.message}`);
    }
    current = chosen;
    await render();
    tell(`The face becomes: ${chosen.name}.`);
  });
  switching = switching.then(set);
}

async function take(files) {
  const packs = [...files].filter((file) => file.name.endsWith(".pack"));
  for (const file of packs) people.add({ name: file.name.replace(/(-idn-.*)?\.pack$/, ""), bytes: async () => new Uint8Array(await file.arrayBuffer()) });
  if (packs.length) people.chooseLast();
  const other = [...files].find((file) => !packs.includes(file));
  if (other) show(await sources.fromFile(other));
}

points.addEventListener("change", prompt);
people.addEventListener("change", become);
$("open").onclick = () => $("file").click();
$("add").onclick = () => $("packs").click();
for (const id of ["file", "packs"]) {
  $(id).onchange = action(async () => {
    await take($(id).files);
    $(id).value = ""; // so that the same file can be chosen again
  });
}
$("camera").onclick = action(async () => show(await sources.camera()));
$("place").onclick = () => (hand(), points.place());
$("middle").onclick = () => (hand(), points.middle());
$("find").onclick = action(async () => {
  tell("Loading the detector …");
  await finder.open().finally(() => tell(""));
  if (source.live) track();
  else {
    source.draw(grabbed);
    const found = await finder.find(grabbed.getImageData(0, 0, source.width, source.height), false);
    if (found) points.set(found); // to be corrected, if need be
    else tell(UNFOUND);
  }
});
$("split").oninput = () => {
  const share = Number($("split").value);
  $("view").style.setProperty("--split", `${share}%`);
  $("view").classList.toggle("whole", share === 0 || share === 100);
};
$("play").onclick = action(async () => {
  const { element: video } = source;
  if (video.paused) await video.play();
  else video.pause();
  $("play").textContent = video.paused ? "Play" : "Pause";
});
$("save").onclick = action(async () => {
  const link = element("a", { href: URL.createObjectURL(await saved($("after"))), download: "swapped.png" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  const { width, height, whole } = source;
  const smaller = whole ? ` It has ${width} x ${height} pixels, of ${whole.width} x ${whole.height}.` : "";
  tell(`Saved, with a notice that the face is synthetic.${smaller}`);
});

function track() {
  points.set([]);
  finding = true;
  $("find").setAttribute("aria-pressed", "true");
  points.shown = false;
}

function hand() {
  finding = false;
  $("find").setAttribute("aria-pressed", "false");
}

addEventListener("dragover", (event) => {
  event.preventDefault();
  $("view").classList.add("dropping");
});
addEventListener("dragleave", () => $("view").classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("view").classList.remove("dropping");
  action(take)(event.dataTransfer.files);
});

action(start)();
