// Faces swapped in a browser: a network in WebAssembly, in a Worker of its own.
// Types and the manual are in mfs-swap.d.ts. Nothing is fetched but what lies beside this file.
import { choice, Failure } from "./mfs-swap/choice.js";

export { Failure };
export const version = "0.0.0-unwritten";

/** The network in a folder: by default the one in which this file lies. */
export async function load(folder = new URL("./", import.meta.url)) {
  const module = choice(); // before anything is fetched
  const worker = new Worker(new URL("./mfs-swap/worker.js", import.meta.url), { type: "module", name: "mfs-swap" });
  const calls = new Calls(worker);
  try {
    const about = await calls.make("load", [new URL(folder, import.meta.url).href, module]);
    return new Swapper(calls, about);
  } catch (failure) {
    calls.end();
    throw failure;
  }
}

class Swapper {
  #calls;

  constructor(calls, about) {
    this.#calls = calls;
    Object.assign(this, about); // size, precision, module, identity
  }

  async swap(image) {
    const { size } = this;
    if (image.width !== size || image.height !== size) {
      throw new Failure("size", `a crop of ${image.width}x${image.height} pixels; this network takes ${size}x${size}`);
    }
    const { swapped, mask, ms } = await this.#calls.make("swap", [image.data]);
    return { swapped: new ImageData(swapped, size, size), mask, ms };
  }

  async swapFrame(image, landmarks, { take = false } = {}) {
    const { size } = this;
    const { width, height } = image;
    const moved = take ? [image.data.buffer] : [];
    const made = await this.#calls.make("frame", [image.data, width, height, landmarks], moved);
    return {
      ...made,
      image: new ImageData(made.image, width, height),
      crop: new ImageData(made.crop, size, size),
      swapped: new ImageData(made.swapped, size, size),
    };
  }

  async setIdentity(pack) {
    const bytes = pack === null ? null : await bytesOf(pack);
    this.identity = await this.#calls.make("identity", [bytes]);
    return this.identity;
  }

  close() {
    this.#calls.end();
  }
}

async function bytesOf(given) {
  if (given instanceof Uint8Array) return given;
  if (given instanceof ArrayBuffer) return new Uint8Array(given);
  if (given instanceof Blob) return new Uint8Array(await given.arrayBuffer());
  throw new Failure("pack", "a pack is given as its bytes: a Uint8Array, an ArrayBuffer or a Blob");
}

// Questions to the worker, and its answers in whatever order they come.
class Calls {
  #worker;
  #open = new Map();
  #count = 0;
  #ended = null;

  constructor(worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.#open.get(data.id);
      this.#open.delete(data.id);
      if (data.failure) reject(new Failure(data.failure.code, data.failure.message));
      else resolve(data.result);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.end(`the worker cannot run (${event.message || "its script was not found, or may not be run"})`);
    };
  }

  make(method, given, moved = []) {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const id = this.#count++;
      this.#open.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, given }, moved);
    });
  }

  end(why = "it was closed") {
    this.#ended = new Failure("closed", why);
    this.#worker.terminate();
    for (const { reject } of this.#open.values()) reject(this.#ended);
    this.#open.clear();
  }
}
