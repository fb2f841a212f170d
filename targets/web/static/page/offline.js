// After the first visit the page opens without a network: what it used is kept, see sw.js.

const NAME = "mfs-edge 0.0.0-unwritten";
// What the worker fetches, of which a page is not told.
const WORKER = ["worker.js", "choice.js", "frame.js", "network.js", "pack.js"].map((name) => `mfs-swap/${name}`);

/**
 * Keep what the page needs, `files` included, and what else was fetched so far or lies at `others`; later fetches are
 * kept by the service worker.
 */
export async function kept(files, others) {
  if (!("serviceWorker" in navigator)) return; // no secure context
  await navigator.serviceWorker.register(new URL("../sw.js", import.meta.url));
  await navigator.serviceWorker.ready;
  const cache = await caches.open(NAME);
  const needed = ["./", ...WORKER, ...files].map((name) => new URL(name, new URL("../", import.meta.url)).href);
  await cache.addAll(needed);
  const fetched = performance.getEntriesByType("resource").map(({ name }) => name);
  const rest = new Set([...fetched, ...others.map(String)].filter((url) => new URL(url).origin === location.origin && !needed.includes(url)));
  await Promise.all([...rest].map((url) => cache.add(url).catch(() => null))); // what is not there is told where it is missed
}
