// BlazeFace finds a face, Face Mesh says where its five points are; LiteRT.js computes both.
// A classic worker, as LiteRT.js loads its program by importScripts. Points are pixels x, y of the picture.

const SIDE = 128; // of BlazeFace's window
const STRIDES = [[8, 2], [16, 6]]; // of its anchors, and how many there are to a place
const MESH_SIDE = 192;
const ROOM = 1.5; // the side of Face Mesh's region, in sides of the face's box
const LIKELY = 0.5;
const GUESS = 0.3; // of BlazeFace's scores, worth a look
const OUTER = [33, 263]; // outer corners of the eyes
const FIVE = [[33, 133, 159, 145], [362, 263, 386, 374], [4], [61], [291]];

const ANCHORS = STRIDES.flatMap(([stride, count]) => {
  const places = Array.from({ length: SIDE / stride }, (_, i) => (i + 0.5) * stride);
  return places.flatMap((y) => places.flatMap((x) => Array(count).fill([x, y])));
});

let litert;
let detector;
let mesh;
let region = null; // where the last face was

async function open(folder) {
  litert = await import(`${folder}litert/core.js`);
  // It would look beside this script; and it tells all that it does as if it were errors.
  self.Module = { locateFile: (name) => `${folder}litert/wasm/${name}`, printErr: (line) => console.debug(line) };
  await litert.loadLiteRt(`${folder}litert/wasm/`);
  const options = { accelerator: "wasm", cpuOptions: { numThreads: 1 } };
  [detector, mesh] = await Promise.all(
    ["face_detection_short_range", "face_landmark"].map((name) => litert.loadAndCompile(`${folder}${name}.tflite`, options)),
  );
}

async function find(picture, again) {
  if (again && region) {
    const seen = await look(picture, region);
    if (seen.score >= LIKELY) return taken(seen);
  }
  region = null;
  for (const guess of await guesses(picture)) {
    const seen = await look(picture, (await look(picture, guess)).region);
    if (seen.score >= LIKELY) return taken(seen);
  }
  return null;
}

function taken(seen) {
  region = seen.region;
  return FIVE.map((some) => [0, 1].map((axis) => some.reduce((sum, i) => sum + seen.points[i][axis], 0) / some.length));
}

// Regions that may hold a face, the likeliest first: in the whole picture, or else in its parts.
async function guesses(picture) {
  const whole = SIDE / Math.max(picture.width, picture.height);
  for (const scale of [whole, whole / 2, 2 * whole]) {
    const found = [];
    for (const top of begins(picture.height * scale)) {
      for (const left of begins(picture.width * scale)) found.push(...(await window(picture, scale, left, top)));
    }
    if (found.length) return found.sort((one, other) => other.score - one.score).slice(0, 5).map((guess) => guess.region);
  }
  return [];
}

// Where overlapping windows begin along a side; what is shorter than a window lies in its middle.
function begins(length) {
  if (length <= SIDE) return [(length - SIDE) / 2];
  const count = Math.ceil((2 * (length - SIDE)) / SIDE) + 1;
  return Array.from({ length: count }, (_, i) => (i * (length - SIDE)) / (count - 1));
}

async function window(picture, scale, left, top) {
  const pixels = drawn(picture, SIDE, [scale, 0, 0, scale, -left, -top]);
  const input = new Float32Array(3 * SIDE * SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) for (let c = 0; c < 3; c++) input[3 * i + c] = pixels[4 * i + c] / 127.5 - 1;
  const [scores, numbers] = await computed(detector, input, SIDE, [ANCHORS.length, 16 * ANCHORS.length]);
  const best = scores.indexOf(scores.reduce((most, value) => Math.max(most, value)));
  const score = sigmoid(scores[best]);
  if (score < GUESS) return [];
  const [x, y, width, height, ...points] = numbers.subarray(16 * best, 16 * best + 16);
  const [cx, cy] = [x + ANCHORS[best][0], y + ANCHORS[best][1]];
  const placed = ([u, v]) => [(u + left) / scale - 0.5, (v + top) / scale - 0.5];
  const corners = [-0.5, 0.5].flatMap((i) => [-0.5, 0.5].map((j) => placed([cx + i * width, cy + j * height])));
  const eyes = [0, 2].map((i) => placed([points[i] + ANCHORS[best][0], points[i + 1] + ANCHORS[best][1]]));
  return [{ score, region: regionOf(corners, eyes) }];
}

// What Face Mesh sees in a region: its 468 points, how sure it is, and where to look more closely.
async function look(picture, { centre, side, angle }) {
  const scale = MESH_SIDE / side;
  const [c, s] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  const middle = (MESH_SIDE - 1) / 2;
  const [e, f] = [middle - c * centre[0] - s * centre[1], middle + s * centre[0] - c * centre[1]];
  // A canvas counts from the first pixel's edge, we from its middle.
  const pixels = drawn(picture, MESH_SIDE, [c, -s, s, c, e + 0.5 - (c + s) / 2, f + 0.5 - (c - s) / 2]);
  const input = new Float32Array(3 * MESH_SIDE * MESH_SIDE);
  for (let i = 0; i < MESH_SIDE * MESH_SIDE; i++) for (let k = 0; k < 3; k++) input[3 * i + k] = pixels[4 * i + k] / 255;
  const [flag, numbers] = await computed(mesh, input, MESH_SIDE, [1, 3 * 468]);
  const points = Array.from({ length: 468 }, (_, i) => {
    const [u, v] = [numbers[3 * i] - 0.5 - e, numbers[3 * i + 1] - 0.5 - f];
    return [(c * u - s * v) / scale ** 2, (s * u + c * v) / scale ** 2];
  });
  return { points, score: sigmoid(flag[0]), region: regionOf(points, OUTER.map((i) => points[i])) };
}

// A square around points, turned so that the eyes are level.
function regionOf(points, [one, other]) {
  const angle = Math.atan2(other[1] - one[1], other[0] - one[0]);
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const turned = points.map(([x, y]) => [c * x + s * y, c * y - s * x]);
  const [low, high] = [Math.min, Math.max].map((end) => [0, 1].map((axis) => end(...turned.map((point) => point[axis]))));
  const [x, y] = [0, 1].map((axis) => (low[axis] + high[axis]) / 2);
  return { centre: [c * x - s * y, s * x + c * y], side: ROOM * Math.max(high[0] - low[0], high[1] - low[1], 1e-3), angle };
}

const canvases = new Map();

// RGBA of a square of `side` pixels, by a canvas's transform.
function drawn(picture, side, transform) {
  if (!canvases.has(side)) canvases.set(side, new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true }));
  const context = canvases.get(side);
  context.resetTransform();
  context.fillStyle = "#000";
  context.fillRect(0, 0, side, side);
  context.imageSmoothingQuality = "high";
  context.setTransform(...transform);
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, side, side).data;
}

// The outputs that have these lengths.
async function computed(model, values, side, lengths) {
  const input = litert.Tensor.fromTypedArray(values, [1, side, side, 3]);
  const outputs = await model.run([input]);
  const arrays = outputs.map((tensor) => tensor.toTypedArray().slice());
  for (const tensor of [input, ...outputs]) tensor.delete();
  return lengths.map((length) => arrays.find((array) => array.length === length));
}

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

self.onmessage = async ({ data: { folder, data, width, height, again } }) => {
  try {
    if (folder) {
      await open(folder);
      self.postMessage({});
    } else {
      const picture = await createImageBitmap(new ImageData(data, width, height));
      self.postMessage({ landmarks: await find(picture, again) });
      picture.close();
    }
  } catch (error) {
    self.postMessage({ error: `the detector cannot be used (${error.message ?? error})` });
  }
};
