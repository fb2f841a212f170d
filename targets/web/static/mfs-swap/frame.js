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
  const seen = Float32Array.from(mask, (value) => (value > SEEN ? 1 : 0));
  const grown = boxes(seen, size, GROWN, "cut").map((sum) => (sum > 0 ? 1 : 0));
  const room = boxes(new Float32Array(size * size).fill(1), size, 2 * GROWN, "cut");
  const shrunk = boxes(grown, size, 2 * GROWN, "cut").map((sum, i) => (sum === room[i] ? 1 : 0));
  const soft = boxes(shrunk, size, SOFT, "mirrored");
  const rim = border(size);
  return soft.map((sum, i) => (sum / (2 * SOFT + 1) ** 2) * rim[i]);
}

const borders = new Map();

function border(size) {
  if (!borders.has(size)) {
    const inside = new Float32Array(size * size);
    for (let y = RIM; y < size - RIM; y++) inside.fill(1, y * size + RIM, (y + 1) * size - RIM);
    borders.set(size, boxes(inside, size, RIM_SOFT, "mirrored").map((sum) => sum / (2 * RIM_SOFT + 1) ** 2));
  }
  return borders.get(size);
}

// Sums over squares that reach `reach` pixels to each side; what lies beyond the border counts nothing ("cut"), or is
// what lies as far inside of it ("mirrored").
function boxes(values, size, reach, beyond) {
  return lines(lines(values, size, reach, beyond, 1, size), size, reach, beyond, size, 1);
}

function lines(values, size, reach, beyond, step, line) {
  const found = new Float32Array(values.length);
  const last = size - 1;
  const value = (start, i) => {
    if (i >= 0 && i <= last) return values[start + i * step];
    if (beyond === "cut") return 0;
    return values[start + (i < 0 ? -i : 2 * last - i) * step];
  };
  for (let start = 0; start < size * line; start += line) {
    let sum = 0;
    for (let i = -reach; i < reach; i++) sum += value(start, i);
    for (let i = 0; i < size; i++) {
      sum += value(start, i + reach);
      found[start + i * step] = sum;
      sum -= value(start, i - reach);
    }
  }
  return found;
}

/** Put the swapped face into `picture`, in place; every pixel outside of the face stays as it is. */
export function paste(picture, width, height, matrix, swapped, mask, size) {
  const shade = softened(mask, size);
  const box = placed(shade, size, inverse(matrix), width, height);
  const [a, b, c, d, e, f] = matrix;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) {
      const [u, v] = [a * x + b * y + c, d * x + e * y + f];
      const share = shaded(shade, size, u, v);
      if (share === 0) continue;
      bilinear(swapped, size, size, u, v, sampled);
      const at = 4 * (y * width + x);
      for (let channel = 0; channel < 3; channel++) {
        picture[at + channel] += share * (sampled[channel] - picture[at + channel]);
      }
    }
  }
}

// As `bilinear`, of one channel; beyond the border it is 0.
function shaded(shade, size, x, y) {
  const left = Math.floor(x);
  const top = Math.floor(y);
  if (left < -1 || top < -1 || left >= size || top >= size) return 0;
  const value = (column, row) => (column < 0 || row < 0 || column >= size || row >= size ? 0 : shade[row * size + column]);
  const [right, down] = [x - left, y - top];
  const upper = value(left, top) * (1 - right) + value(left + 1, top) * right;
  const lower = value(left, top + 1) * (1 - right) + value(left + 1, top + 1) * right;
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
