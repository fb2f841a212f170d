// All contenders of /race.json in one page, in turns that rotate. A frame goes from a JavaScript array to JavaScript arrays.
import * as litert from "@litertjs/core";
import * as ort from "onnxruntime-web";

const bytes = async (url) => (await fetch(url)).arrayBuffer();

// Each: what runs one frame, and gives its outputs; by "kind" of a contender.
const KINDS = {
  async c({ model, weights, picture, outputs }) {
    const module = await WebAssembly.compile(await bytes(model));
    const { exports } = await WebAssembly.instantiate(module, {});
    exports._initialize();
    const memory = exports.memory.buffer; // never grows
    new Uint8Array(memory).set(new Uint8Array(await bytes(weights)), exports.weights());
    checked(exports.open());
    const input = new Float32Array(memory, exports.input(), picture.length);
    const places = { swapped: exports.output(), mask: exports.alpha() };
    const views = outputs.map(({ name, count }) => new Float32Array(memory, places[name], count));
    return () => {
      input.set(picture);
      checked(exports.run());
      return views.map((view) => view.slice());
    };
  },

  async tflite({ model, picture, shape, outputs }) {
    const loaded = await litert.loadAndCompile(model, { accelerator: "wasm", cpuOptions: { numThreads: 1 } });
    return async () => {
      const input = litert.Tensor.fromTypedArray(picture, shape);
      const made = await loaded.run([input]);
      const found = made.map((tensor) => tensor.toTypedArray().slice());
      [input, ...made].forEach((tensor) => tensor.delete());
      return inOrder(found, outputs);
    };
  },

  async onnx({ model, picture, shape, outputs }) {
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    return async () => {
      const made = await session.run({ [session.inputNames[0]]: new ort.Tensor(picture, shape) });
      return outputs.map(({ name }) => made[name].data);
    };
  },
};

function checked(status) {
  if (status !== 0) throw new Error(`idn_status ${status}`);
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
  const picture = new Float32Array(await bytes(contender.picture));
  return KINDS[contender.kind]({ ...contender, picture });
}

async function race({ contenders, turns, warmup }) {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
  await litert.loadLiteRt("/node_modules/@litertjs/core/wasm/");
  const runs = [];
  for (const contender of contenders) {
    try {
      runs.push(await ready(contender));
    } catch (error) {
      throw new Error(`${contender.name}: ${error.message ?? error}`);
    }
  }
  const times = contenders.map(() => []);
  for (let turn = -warmup; turn < turns; turn++) {
    for (let i = 0; i < runs.length; i++) {
      const which = (((i + turn) % runs.length) + runs.length) % runs.length;
      const begin = performance.now();
      await runs[which]();
      if (turn >= 0) times[which].push(performance.now() - begin);
    }
  }
  for (let i = 0; i < runs.length; i++) {
    for (const [k, values] of (await runs[i]()).entries()) {
      await fetch(`/outputs/${i}/${contenders[i].outputs[k].name}`, { method: "POST", body: values });
    }
  }
  return { times, browser: navigator.userAgent, isolated: crossOriginIsolated };
}

async function main() {
  const told = await race(await (await fetch("/race.json")).json()).catch((error) => ({ error: String(error.stack ?? error) }));
  await fetch("/done", { method: "POST", body: JSON.stringify(told) });
}

main();
