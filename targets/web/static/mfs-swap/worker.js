// Answers the questions of mfs-swap.js, one after the other; only a pack is read while frames go on.
import { Failure } from "./choice.js";
import { affine, cut, paste } from "./frame.js";
import { fetched, Network, RGBA } from "./network.js";
import { applied } from "./pack.js";

let network;
let base; // the weights as they were fetched

const METHODS = {
  async load(folder, module) {
    const files = await fetched(folder, module.file);
    network = await Network.open(files, RGBA);
    base = files.weights;
    return { size: network.size, precision: network.precision, module: module.name, identity: null };
  },

  swap(crop) {
    network.image.set(crop);
    const ms = timed(() => network.run());
    return { swapped: network.swapped.slice(), mask: network.mask.slice(), ms };
  },

  frame(image, width, height, landmarks) {
    const { size } = network;
    const matrix = affine(landmarks, size);
    const ms = {
      align: timed(() => cut(image, width, height, matrix, size, network.image)),
      network: timed(() => network.run()),
      paste: timed(() => paste(image, width, height, matrix, network.swapped, network.mask, size)),
    };
    return { image, crop: network.image.slice(), swapped: network.swapped.slice(), mask: network.mask.slice(), ms };
  },

  async identity(pack) {
    const { weights, identity } = pack === null ? { weights: base, identity: null } : await applied(base, pack);
    network.setIdentity(weights);
    return identity;
  },
};

function timed(work) {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

self.onmessage = async ({ data: { id, method, given } }) => {
  try {
    const result = await METHODS[method](...given);
    const moved = Object.values(result ?? {}).filter(ArrayBuffer.isView).map((view) => view.buffer);
    self.postMessage({ id, result }, moved);
  } catch (error) {
    const { code = "closed", message } = error instanceof Failure ? error : { message: String(error) };
    self.postMessage({ id, failure: { code, message } });
  }
};
