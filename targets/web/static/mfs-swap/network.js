// The network: a module that imports nothing, its weights, and views of the pictures in its memory.
import { Failure } from "./choice.js";

export const PLANES = 0; // float32, red, green and blue planes in 0..1
export const RGB = 1; // bytes; the mask, too
export const RGBA = 2; // bytes; the mask is of floats

/** The files of a network, fetched side by side. */
export async function fetched(folder, file) {
  const [module, weights] = await Promise.all([compiled(new URL(file, folder)), bytes(new URL("idn.weights", folder))]);
  return { module, weights };
}

async function bytes(url) {
  return new Uint8Array(await (await answer(url)).arrayBuffer());
}

// A host that calls it application/wasm lets the browser compile while it loads, and keep what it compiled.
async function compiled(url) {
  const response = await answer(url);
  const streams = response.headers.get("Content-Type")?.startsWith("application/wasm");
  try {
    if (streams) return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    throw new Failure("fetch", `${url} cannot be compiled (${error.message}); copy the whole folder again`);
  }
}

async function answer(url) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Failure("fetch", `${url} cannot be fetched (${error.message})`);
  }
  if (!response.ok) throw new Failure("fetch", `${url} cannot be fetched (${response.status} ${response.statusText})`);
  return response;
}

export class Network {
  #exports;
  #memory;
  #weights;

  /** From what `fetched` gives; pictures lie as `format` says. */
  static async open({ module, weights }, format) {
    const { exports } = await WebAssembly.instantiate(module, {});
    return new Network(exports, weights, format);
  }

  constructor(exports, weights, format) {
    this.#exports = exports;
    this.#memory = exports.memory.buffer; // which never grows
    if (weights.length !== exports.weights_bytes()) {
      throw new Failure("fetch", `idn.weights has ${weights.length} bytes, not ${exports.weights_bytes()}; copy the whole folder`);
    }
    this.#weights = new Uint8Array(this.#memory, exports.weights(), weights.length);
    this.#weights.set(weights);
    this.#check(exports.open(), "fetch");
    this.size = exports.size();
    this.precision = this.#text(exports.precision());
    this.use(format);
  }

  use(format) {
    const pixels = this.size * this.size;
    const view = (place, type, count) => new type(this.#memory, this.#exports[place](), count);
    this.#exports.use(format);
    const [type, channels] = [format === PLANES ? Float32Array : Uint8ClampedArray, format === RGBA ? 4 : 3];
    this.image = view("image", type, channels * pixels);
    this.swapped = view("swapped", type, channels * pixels);
    this.mask = view("mask", format === RGB ? Uint8ClampedArray : Float32Array, pixels);
    if (format === RGBA) this.swapped.fill(255); // the network leaves alpha alone
  }

  /** One frame, from `image` to `swapped` and `mask`. */
  run() {
    this.#check(this.#exports.run(), "fetch");
  }

  /** Another identity, from the weights with it: those of the same base, else nothing is changed. */
  setIdentity(weights) {
    const size = this.#exports.identity_bytes();
    this.#weights.set(weights.subarray(weights.length - size), this.#weights.length - size);
    this.#check(this.#exports.set_identity(), "pack");
  }

  /** One frame, stage by stage: what each is called and took, in milliseconds. */
  stages() {
    const found = [];
    for (let stage = 0; stage < this.#exports.stages(); stage++) {
      const begin = performance.now();
      this.#check(this.#exports.run_stage(stage), "fetch");
      found.push({ name: this.#text(this.#exports.stage_at()), ms: performance.now() - begin });
    }
    return found;
  }

  #check(status, code) {
    if (status !== 0) throw new Failure(code, this.#text(this.#exports.error(status)));
  }

  #text(place) {
    const from = new Uint8Array(this.#memory, place);
    return new TextDecoder().decode(from.subarray(0, from.indexOf(0)));
  }
}
