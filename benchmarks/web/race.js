// All contenders of /race.json in one page, in turns that rotate; then each alone in a page of its own, for its first frame.
const bytes = async (url) => (await fetch(url)).arrayBuffer();
const post = (path, body) => fetch(path, { method: "POST", body });

// Each: what runs one frame, and gives its outputs; by "kind" of a contender. A runtime is loaded when it is needed.
const KINDS = {
  async web({ model, picture, outputs }) {
    const url = new URL(model, location.href);
    const { fetched, Network, PLANES } = await import(new URL("mfs-swap/network.js", url));
    const network = await Network.open(await fetched(url, url.pathname.split("/").pop()), PLANES);
    return () => {
      network.image.set(picture);
      network.run();
      return outputs.map(({ name }) => network[name].slice());
    };
  },

  async tflite({ model, picture, shape, outputs }) {
    const litert = await loadedLiteRt();
    const loaded = await litert.loadAndCompile(model, { accelerator: "wasm", cpuOptions: { numThreads: 1 } });
    return async () => {
      const input = litert.Tensor.fromTypedArray(picture, shape);
      const made = await loaded.run([input]);
      const found = made.map((tensor) => tensor.toTypedArray().slice());
      [input, ...made].forEach((tensor) => tensor.delete());
      return inOrder(found, outputs);
    };
  },

  async onnx(contender) {
    const ort = await import("onnxruntime-web");
    ort.env.wasm.numThreads = 1;
    return session(ort, "wasm", contender);
  },

  // Where the browser has no adapter, there is nothing to run.
  async webgpu(contender) {
    if (!(await navigator.gpu?.requestAdapter())) return null;
    return session(await import("onnxruntime-web/webgpu"), "webgpu", contender);
  },
};

async function session(ort, provider, { model, picture, shape, outputs }) {
  ort.env.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
  const loaded = await ort.InferenceSession.create(model, { executionProviders: [provider], graphOptimizationLevel: "all" });
  return async () => {
    const made = await loaded.run({ [loaded.inputNames[0]]: new ort.Tensor(picture, shape) });
    return outputs.map(({ name }) => made[name].data);
  };
}

let litert = null;
function loadedLiteRt() {
  litert ??= import("@litertjs/core").then(async (module) => {
    await module.loadLiteRt("/node_modules/@litertjs/core/wasm/");
    return module;
  });
  return litert;
}

// LiteRT.js names outputs by their place; they differ in length.
function inOrder(found, outputs) {
  return outputs.map(({ name, count }) => {
    const one = found.find((values) => values.length === count);
    if (one === undefined) throw new Error(`no output is ${name}: ${found.map((values) => values.length)}`);
    return one;
  });
}

async function ready(contender) {
  try {
    const picture = new Float32Array(await bytes(contender.picture));
    return await KINDS[contender.kind]({ ...contender, picture });
  } catch (error) {
    throw new Error(`${contender.name}: ${error.message ?? error}`);
  }
}

async function race({ contenders, turns, warmup }) {
  const runs = [];
  for (const contender of contenders) runs.push(await ready(contender));
  const racing = runs.map((run, i) => (run ? i : -1)).filter((i) => i >= 0);
  const times = contenders.map(() => []);
  for (let turn = -warmup; turn < turns; turn++) {
    for (let i = 0; i < racing.length; i++) {
      const which = racing[(((i + turn) % racing.length) + racing.length) % racing.length];
      const begin = performance.now();
      await runs[which]();
      if (turn >= 0) times[which].push(performance.now() - begin);
    }
  }
  for (const i of racing) {
    for (const [k, values] of (await runs[i]()).entries()) await post(`/outputs/${i}/${contenders[i].outputs[k].name}`, values);
  }
  return { times, isolated: crossOriginIsolated };
}

// One contender alone: what was fetched, and how long after the page was opened its first frame was there.
async function first(contender, which) {
  const run = await ready(contender);
  if (run === null) return;
  await run();
  const ms = performance.now();
  const fetched = performance.getEntriesByType("resource").filter(({ name }) => !/race\.js|race\.json|\.bin$/.test(name));
  await post(`/first/${which}`, JSON.stringify({ ms, bytes: fetched.reduce((sum, entry) => sum + entry.encodedBodySize, 0) }));
}

// Which page this is: the race; then each contender twice, first to fill the browser's cache.
async function main() {
  const at = Number(new URL(location.href).searchParams.get("first") ?? -1);
  const asked = await (await fetch("/race.json")).json();
  if (at < 0) sessionStorage.setItem("told", JSON.stringify(await race(asked)));
  else await first(asked.contenders[at >> 1], at >> 1);
  if (at + 1 < 2 * asked.contenders.length) location.replace(`/?first=${at + 1}`);
  else await post("/done", sessionStorage.getItem("told"));
}

main().catch((error) => post("/done", JSON.stringify({ error: String(error.stack ?? error) })));
