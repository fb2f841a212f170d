/**
 * Faces swapped in a browser, by a network in WebAssembly.
 *
 *     import { load } from "./mfs-swap.js";
 *     const swapper = await load();
 *     const { image } = await swapper.swapFrame(photo, landmarks);
 *
 * It computes in a Worker of its own, on one thread, so that a page stays responsive; it can itself be
 * used in a Worker. The page needs no cross-origin isolation (COOP, COEP). Under a content security policy it
 * needs `script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'`.
 * Setting an identity needs a secure context (https, or localhost), which has SHA-256.
 */

/** The version of mfs-edge that wrote these files. */
export const version: string;

/** What went wrong, for people in `message`, for programs in `code`. */
export class Failure extends Error {
  readonly code:
    | "simd" // the browser has no WebAssembly SIMD: Chrome and Edge have it since 91, Firefox since 89, Safari since 16.4
    | "fetch" // a file is not there, or is damaged
    | "size" // a crop of another size than the network's
    | "landmarks" // not five points, or all of them on one line
    | "pack" // not a pack, a sealed or a damaged one
    | "base" // a pack of another base
    | "secure" // not a secure context
    | "closed"; // `close` was called, or the worker cannot run
}

/** Both eyes, the nose and both mouth corners, left to right as they are seen, in pixels of the picture. */
export type Landmarks = readonly (readonly [x: number, y: number])[];

/** A swapped crop. */
export interface Swapped {
  /** As large as the crop that was given, opaque. */
  swapped: ImageData;
  /** How much of the face is swapped, row by row, 0 to 1. */
  mask: Float32Array;
  /** What the network took. */
  ms: number;
}

/** A whole picture with its face swapped. */
export interface SwappedFrame {
  /** As large as the picture that was given; outside of the face it is the same, to the bit. */
  image: ImageData;
  /** The face as the network saw it, and what the network made of it. */
  crop: ImageData;
  swapped: ImageData;
  mask: Float32Array;
  /** Milliseconds: cutting the face out, the network, putting it back. */
  ms: { align: number; network: number; paste: number };
}

export interface Swapper {
  /** Pixels of either side of a crop. */
  readonly size: number;
  /** "fp32", "fp16" or "int8". */
  readonly precision: string;
  /** The instructions in use. */
  readonly module: "SIMD" | "relaxed SIMD";
  /** SHA-256 of the identity that a pack has set; null for the artefact's own. */
  readonly identity: string | null;

  /** An aligned crop of `size` x `size` pixels. What was given stays as it is. */
  swap(crop: ImageData): Promise<Swapped>;

  /**
   * The face with these landmarks, in a picture of any size. What was given stays as it is; or, with `take`, its pixels
   * are handed over and it is empty from now on, which saves a video two copies of every frame.
   */
  swapFrame(image: ImageData, landmarks: Landmarks, options?: { take?: boolean }): Promise<SwappedFrame>;

  /**
   * Another identity of the same base, from the next frame on; null is the artefact's own again.
   * What is refused changes nothing. Packs are made by `mfs-edge pack make`.
   */
  setIdentity(pack: Uint8Array | ArrayBuffer | Blob | null): Promise<string | null>;

  /** Ends the worker. */
  close(): void;
}

/**
 * Loads the network in a folder; by default the one in which this module lies.
 *
 * @throws Failure
 */
export function load(folder?: URL | string): Promise<Swapper>;
