// What measures: the network on the page's own thread, fed and read as mfs-edge's engines are.
import { choice } from "./mfs-swap/choice.js";
import { fetched, Network, PLANES, RGB } from "./mfs-swap/network.js";

/** The network in `folder`, which takes and gives "float32" planes or "uint8" pixels. */
export async function open(folder, type) {
  const module = choice();
  const network = await Network.open(await fetched(folder, module.file), type === "uint8" ? RGB : PLANES);
  return {
    execution: `${network.precision} on ${module.name}`,
    feed: (values) => network.image.set(values),
    infer: () => network.run(),
    fetch: () => ({ swapped: network.swapped.slice(), mask: network.mask.slice() }),
    switch: (files) => network.setIdentity(files["idn.weights"]),
    layers: () => network.stages(),
  };
}
