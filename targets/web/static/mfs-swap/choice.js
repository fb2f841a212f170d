// Which module this browser can run, found out before anything is fetched.

export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.name = "Failure";
    this.code = code;
  }
}

// Modules of one function each: with i8x16.popcnt, the last that simd128 got, and with f32x4.relaxed_madd.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const RELAXED = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 0, 32, 0, 253, 133, 2,
  11,
];

const valid = (bytes) => typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(bytes));

/** The better module that there is: its file, and what its instructions are called. */
export function choice() {
  if (!valid(SIMD)) {
    throw new Failure(
      "simd",
      "this browser has no WebAssembly SIMD, which the network is compiled for; " +
        "Chrome and Edge have it since 91, Firefox since 89, Safari since 16.4",
    );
  }
  return valid(RELAXED) ? { file: "idn-relaxed.wasm", name: "relaxed SIMD" } : { file: "idn.wasm", name: "SIMD" };
}
