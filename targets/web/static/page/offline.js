// After the first visit the page opens without a network: what it used is kept, see sw.js.

const NAME = "mfs-edge 0.0.0-unwritten";
// What the worker fetches, of which a page is not told.
const WORKER = ["worker.js", "choice.js", "frame.js", "network.js", "pack.js"].map((name) => `mfs-swap/${name}`);

/** Keep what was fetched so far, and what `files` names; later fetches are kept by the service worker. */
export async function kept(files) {
  if (!("serviceWorker" in navigator)) return; // no secure context
  await navigator.serviceWorker.register(new URL("../sw.js", import.meta.url));
  await navigator.serviceWorker.ready;
  const fetched = performance.getEntriesByType("resource").map(({ name }) => name);
  const own = ["./", ...WORKER, ...files].map((name) => new URL(name, new URL("../", import.meta.url)).href);
  const cache = await caches.open(NAME);
  await cache.addAll([...new Set([...own, ...fetched])].filter((url) => new URL(url).origin === location.origin));
}
