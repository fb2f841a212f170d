// A face cut out of a picture, and put back: the same rules, pixel for pixel, as in mfs-edge itself.
// Pictures are RGBA bytes, row by row; an affine is [a, b, c, d, e, f], x' = ax + by + c, y' = dx + ey + f.
import { Failure } from "./choice.js";

// Both eyes, the nose, both mouth corners in a crop of 112 pixels.
export const TEMPLATE = [
  [38.2946, 51.6963],
  [73.5318, 51.5014],
  [56.0252, 71.7366],
  [41.5493, 92.3655],
  [70.7299, 92.2041],
];
const SEEN = 0.001; // of a mask: what is above belongs to the face
const GROWN = 5; // pixels that the mask grows by, in each direction, and then shrinks by twice as many
const SOFT = 3; // the reach of its blur
const RIM = 10; // pixels at the crop's border in which nothing is pasted
const RIM_SOFT = 5;

/** The affine that takes five landmarks onto the template at `size` pixels, by least squares. */
export function affine(landmarks, size) {
  const points = [...(landmarks ?? [])].map(([x, y]) => [Number(x), Number(y)]);
  if (points.length !== 5 || !points.flat().every(Number.isFinite)) {
    throw new Failure("landmarks", "five points are needed: both eyes, the nose, both mouth corners");
  }
  // About their own middle, where the three unknowns of a row come apart.
  const middle = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / 5);
  let [xx, xy, yy] = [0, 0, 0];
  const rows = [
    [0, 0, 0],
    [0, 0, 0],
  ];
  for (const [i, point] of points.entries()) {
    const [x, y] = [point[0] - middle[0], point[1] - middle[1]];
    xx += x * x;
    xy += x * y;
    yy += y * y;
    for (const axis of [0, 1]) {
      const to = (TEMPLATE[i][axis] * size) / 112;
      rows[axis][0] += x * to;
      rows[axis][1] += y * to;
      rows[axis][2] += to / 5;
    }
  }
  const determinant = xx * yy - xy * xy;
  if (!(determinant > 1e-12 * (xx + yy) ** 2)) {
    throw new Failure("landmarks", "the five points lie on one line: both eyes, the nose, both mouth corners are needed");
  }
  return rows.flatMap(([x, y, to]) => {
    const a = (x * yy - y * xy) / determinant;
    const b = (y * xx - x * xy) / determinant;
    return [a, b, to - a * middle[0] - b * middle[1]];
  });
}

export function inverse([a, b, c, d, e, f]) {
  const determinant = a * e - b * d;
  return [e, -b, b * f - c * e, -d, a, c * d - a * f].map((value) => value / determinant);
}

/** The crop of `size` x `size` pixels, into `crop`; beyond the picture its border goes on. */
export function cut(picture, width, height, matrix, size, crop) {
  const [a, b, c, d, e, f] = inverse(matrix);
  for (let y = 0, at = 0; y < size; y++) {
    for (let x = 0; x < size; x++, at += 4) {
      bilinear(picture, width, height, a * x + b * y + c, d * x + e * y + f, sampled);
      crop[at] = sampled[0];
      crop[at + 1] = sampled[1];
      crop[at + 2] = sampled[2];
      crop[at + 3] = 255;
    }
  }
}

const sampled = new Float64Array(3);

function bilinear(picture, width, height, x, y, into) {
  const left = Math.floor(x);
  const top = Math.floor(y);
  const [right, down] = [x - left, y - top];
  const x0 = 4 * clamped(left, width);
  const x1 = 4 * clamped(left + 1, width);
  const y0 = 4 * width * clamped(top, height);
  const y1 = 4 * width * clamped(top + 1, height);
  for (let channel = 0; channel < 3; channel++) {
    const upper = picture[y0 + x0 + channel] * (1 - right) + picture[y0 + x1 + channel] * right;
    const lower = picture[y1 + x0 + channel] * (1 - right) + picture[y1 + x1 + channel] * right;
    into[channel] = upper * (1 - down) + lower * down;
  }
}

const clamped = (value, count) => (value < 0 ? 0 : value >= count ? count - 1 : value);

/** How much of the swapped face shows, 0 to 1: the mask, grown, shrunk and softened, and nothing along the border. */
export function softened(mask, size) {
  const { rim, room } = tables(size);
  const shade = new Float32Array(mask.length);
  for (let i = 0; i < shade.length; i++) shade[i] = mask[i] > SEEN ? 1 : 0;
  boxes(shade, size, GROWN, CUT);
  for (let i = 0; i < shade.length; i++) shade[i] = shade[i] > 0 ? 1 : 0;
  boxes(shade, size, 2 * GROWN, CUT);
  for (let i = 0; i < shade.length; i++) shade[i] = shade[i] === room[i] ? 1 : 0;
  boxes(shade, size, SOFT, MIRRORED);
  for (let i = 0; i < shade.length; i++) shade[i] *= rim[i] / (2 * SOFT + 1) ** 2;
  return shade;
}

const CUT = 0; // what lies beyond the border counts nothing
const MIRRORED = 1; // it is what lies as far inside of the border
const known = new Map();

// For a crop of `size`: what its border leaves, softly; and how many pixels there are to shrink by, around each.
function tables(size) {
  if (!known.has(size)) {
    const rim = new Float32Array(size * size);
    for (let y = RIM; y < size - RIM; y++) rim.fill(1, y * size + RIM, (y + 1) * size - RIM);
    boxes(rim, size, RIM_SOFT, MIRRORED);
    for (let i = 0; i < rim.length; i++) rim[i] /= (2 * RIM_SOFT + 1) ** 2;
    const room = new Float32Array(size * size).fill(1);
    boxes(room, size, 2 * GROWN, CUT);
    known.set(size, { rim, room });
  }
  return known.get(size);
}

// Sums over squares that reach `reach` pixels to each side, in place.
function boxes(values, size, reach, beyond) {
  const line = new Float32Array(size + 2 * reach);
  for (let y = 0; y < size; y++) sums(values, y * size, 1, size, reach, beyond, line);
  for (let x = 0; x < size; x++) sums(values, x, size, size, reach, beyond, line);
}

function sums(values, start, step, size, reach, beyond, line) {
  for (let i = 0; i < size; i++) line[reach + i] = values[start + i * step];
  const end = reach + size - 1;
  for (let i = 1; i <= reach; i++) {
    line[reach - i] = beyond === CUT ? 0 : line[reach + i];
    line[end + i] = beyond === CUT ? 0 : line[end - i];
  }
  let sum = 0;
  for (let i = 0; i < 2 * reach; i++) sum += line[i];
  for (let i = 0; i < size; i++) {
    sum += line[i + 2 * reach];
    values[start + i * step] = sum;
    sum -= line[i];
  }
}

/** Put the swapped face into `picture`, in place; every pixel outside of the face stays as it is. */
export function paste(picture, width, height, matrix, swapped, mask, size) {
  const shade = softened(mask, size);
  const box = placed(shade, size, inverse(matrix), width, height);
  const [a, b, c, d, e, f] = matrix;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) {
      const u = a * x + b * y + c;
      const v = d * x + e * y + f;
      const share = shaded(shade, size, u, v);
      if (share === 0) continue;
      bilinear(swapped, size, size, u, v, sampled);
      const at = 4 * (y * width + x);
      for (let channel = 0; channel < 3; channel++) {
        const own = picture[at + channel];
        picture[at + channel] = own + share * (sampled[channel] - own);
      }
    }
  }
}

// As `bilinear`, of one channel; along the border, and so beyond it, it is 0.
function shaded(shade, size, x, y) {
  if (!(x > 0 && y > 0 && x < size - 1 && y < size - 1)) return 0;
  const left = Math.floor(x);
  const top = Math.floor(y);
  const [right, down] = [x - left, y - top];
  const at = top * size + left;
  const upper = shade[at] * (1 - right) + shade[at + 1] * right;
  const lower = shade[at + size] * (1 - right) + shade[at + size + 1] * right;
  return upper * (1 - down) + lower * down;
}

// The part of the picture in which `shade` shows anything.
function placed(shade, size, [a, b, c, d, e, f], width, height) {
  let [left, top, right, bottom] = [size, size, -1, -1];
  for (let y = 0, at = 0; y < size; y++) {
    for (let x = 0; x < size; x++, at++) {
      if (shade[at] === 0) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  if (right < 0) return { left: 0, top: 0, right: 0, bottom: 0 };
  // Between a pixel of the mask and the zero beside it the mask still shows.
  const corners = [left - 1, right + 1].flatMap((x) => [top - 1, bottom + 1].map((y) => [a * x + b * y + c, d * x + e * y + f]));
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
  return {
    left: Math.max(0, Math.floor(Math.min(...xs))),
    top: Math.max(0, Math.floor(Math.min(...ys))),
    right: Math.min(width, Math.ceil(Math.max(...xs)) + 1),
    bottom: Math.min(height, Math.ceil(Math.max(...ys)) + 1),
  };
}
