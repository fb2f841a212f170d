// Measures one artefact as measure/runner.py does: load, first frame, warm-up, steady state, switches, layers.
// The artefact's script exports open(folder, type) -> { execution, feed, infer, fetch, switch, layers }.

const SWITCHES = 10; // to the other identity, and as many back
const BETWEEN = 3; // frames, the first one included
const PROFILED_FRAMES = 20;

class Refused extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

const fetched = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
const post = (path, body) => fetch(path, { method: "POST", body });
const progress = (done, left_s) => post("/progress", JSON.stringify({ done, left_s }));

async function timed(work) {
  const begin = performance.now();
  const made = await work();
  return [performance.now() - begin, made];
}

async function told(what, work) {
  try {
    return await work();
  } catch (error) {
    throw new Refused("input", `${what} (${error.message ?? error})`);
  }
}

// At least so many frames, and so many seconds of them.
async function repeat(engine, runs, seconds) {
  const samples = [];
  const start = performance.now();
  while (samples.length < runs || performance.now() - start < 1000 * seconds) {
    samples.push((await timed(() => engine.infer()))[0]);
  }
  return samples;
}

async function switches(engine, { folder, switched }) {
  const all = async (from) => Object.fromEntries(await Promise.all(switched.map(async (name) => [name, await fetched(from + name)])));
  const [base, other] = [await all(folder), await all("switched/")];
  const before = engine.fetch();
  const found = { switch_ms: [], first_ms: [] };
  for (let turn = 0; turn < 2 * SWITCHES; turn++) {
    const files = turn % 2 ? base : other;
    const [ms] = await told("the runtime cannot switch to the pack's identity", () => timed(() => engine.switch(files)));
    found.switch_ms.push(ms);
    found.first_ms.push((await timed(() => engine.infer()))[0]);
    for (let frame = 1; frame < BETWEEN; frame++) await engine.infer();
  }
  const after = engine.fetch();
  if (!Object.keys(before).every((name) => before[name].every((value, i) => value === after[name][i]))) {
    throw new Refused("input", "the runtime gives another picture after switching back to the artefact's own identity");
  }
  return found;
}

async function layers(engine) {
  const total = new Map();
  for (let frame = -1; frame < PROFILED_FRAMES; frame++) {
    for (const { name, ms } of await engine.layers()) {
      if (frame >= 0) total.set(name, (total.get(name) ?? 0) + ms / PROFILED_FRAMES); // the first frame is not steady
    }
  }
  return [...total].map(([name, ms]) => ({ name, kind: "stage", ms }));
}

async function measure(asked) {
  const picture = await fetched("picture");
  const values = asked.type === "uint8" ? picture : new Float32Array(picture.buffer);
  await progress(0, asked.warmup_seconds + asked.seconds);
  const { open } = await import(`/${asked.script}`);
  const folder = new URL(asked.folder, location.href);
  const [load_ms, engine] = await told("the browser cannot load it", () => timed(() => open(folder, asked.type)));
  engine.feed(values);
  const [first_ms] = await told("the browser cannot run it", () => timed(() => engine.infer()));
  const warm = await repeat(engine, asked.warmup, asked.warmup_seconds);
  await progress(0.3, asked.seconds);
  const samples_ms = await repeat(engine, asked.runs, asked.seconds);
  for (const [name, output] of Object.entries(engine.fetch())) await post(`/output/${name}`, output);
  return {
    load_ms,
    first_ms,
    warmup_runs: warm.length,
    samples_ms,
    execution: engine.execution,
    switches: asked.switched.length ? await switches(engine, asked) : null,
    layers: asked.profile ? await layers(engine) : [],
  };
}

async function main() {
  try {
    const asked = await (await fetch("asked.json")).json();
    await post("/done", JSON.stringify({ result: await measure(asked) }));
  } catch (error) {
    await post("/done", JSON.stringify({ error: { kind: error.kind ?? "internal", message: String(error.message ?? error) } }));
  }
}

main();
