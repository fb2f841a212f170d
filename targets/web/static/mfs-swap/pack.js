// What another identity changes in the weights. docs/packs.md of mfs-edge describes the file.
import { Failure } from "./choice.js";

const WEIGHTS = "idn.weights";
const SEALED = "age-encryption.org/";

/** The weights with the pack's identity in them, and the SHA-256 of that identity. */
export async function applied(weights, pack) {
  if (globalThis.crypto?.subtle === undefined) {
    throw new Failure("secure", "an identity is set in a secure context only: serve the page by https, or on localhost");
  }
  const { said, start } = opened(pack);
  const files = listed(said.files);
  const number = files.findIndex(([name]) => name.split("/").pop() === WEIGHTS);
  const [, , before, after] = files[number] ?? [];
  if (before === undefined || before !== (await digest(weights))) {
    throw new Failure("base", `a pack of another base: it was made for ${said.artefact ?? "something else"}, or before it was compiled again`);
  }
  const fresh = new Uint8Array(weights);
  let at = start;
  for (const [file, offset, size] of listed(said.runs)) {
    const run = pack.subarray(at, at + size);
    if (run.length !== size || (file === number && offset + size > fresh.length)) throw damaged();
    if (file === number) fresh.set(run, offset);
    at += size;
  }
  if ((await digest(fresh)) !== after) throw damaged();
  return { weights: fresh, identity: said.identity_sha256 };
}

// The header: what the pack says of itself, and where its bytes begin.
function opened(pack) {
  const text = (from, to) => new TextDecoder().decode(pack.subarray(from, to));
  if (text(0, SEALED.length) === SEALED) {
    throw new Failure("pack", "a sealed pack: open it first, by mfs-edge pack apply --key, or age -d");
  }
  const length = pack.length < 8 ? NaN : Number(new DataView(pack.buffer, pack.byteOffset).getBigUint64(0, true));
  if (!(length <= pack.length - 8)) throw new Failure("pack", "this is no pack; mfs-edge pack make writes them");
  try {
    const said = JSON.parse(text(8, 8 + length)).__metadata__;
    if (said.format === "mfs-edge-pack/1") return { said, start: 8 + length };
  } catch {
    // told below, as every other file that is none
  }
  throw new Failure("pack", "this is no pack; mfs-edge pack make writes them");
}

function listed(text) {
  try {
    const rows = JSON.parse(text);
    if (rows.every(Array.isArray)) return rows;
  } catch {
    // told below
  }
  throw damaged();
}

const damaged = () => new Failure("pack", "a damaged pack: fetch or make it again");

async function digest(bytes) {
  const found = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(found)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
