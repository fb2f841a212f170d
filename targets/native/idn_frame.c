/* A face swapped in a whole camera frame; idn_frame.h has the manual. */
#include "idn_frame.h"

#ifdef __FAST_MATH__
#error "idn_frame.c needs exact float arithmetic: compile it without -ffast-math"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT ON
#elif !defined(__GNUC__)
#error "idn_frame.c needs GCC 11 or Clang 14, or later"
#endif
#define IDN_INLINE static inline __attribute__((always_inline))
#if defined(__x86_64__)
#define IDN_AVX2_TOO 1 /* beside what the file is compiled for */
#endif

#define CHUNK 64 /* pixels of a row that are worked on at once */
typedef float v4f __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (v4i){__VA_ARGS__})
#endif

/* Where the pixels of a piece of a row are read: between which two columns and rows, and how far from the first. */
typedef struct {
  int32_t x[CHUNK], y[CHUNK];
  float right[CHUNK], down[CHUNK];
} idn_places;
typedef struct {
  float c[4][CHUNK]; /* three colours and, of a face, its mask */
} idn_colours;
typedef struct {
  int x, y, right, bottom; /* all four belong to it */
} idn_box;
typedef struct {
  float offset, luma, chroma; /* of black; what 255 levels are stretched to */
  float red, blue;            /* shares of luma */
} idn_matrix;
typedef struct {
  const idn_frame *frame;
  double there[6], back[6]; /* from the frame to the crop, and from the crop to the frame */
  const idn_image *crop;
  const unsigned char *seen; /* 1 where the mask is, after it was eroded */
  float *face;               /* [IDN_SIZE][IDN_SIZE][4]: three colours in the frame's order, and the softened mask */
  idn_box box;               /* of the crop: all that may be read of face */
  int cpu, first, last, workers; /* rows that are shared among workers */
} idn_work;

/* ---- Checks ---- */

static int idn_is_yuv(int format) { return format >= IDN_NV12; }

static int idn_is_bytes(int format) { return format == IDN_RGB8 || format == IDN_RGBA8 || format == IDN_BGRA8; }

static int idn_plane_status(const idn_frame *f, int plane, int row) {
  if (!f->data[plane]) return IDN_ENULL;
  return f->stride[plane] < (size_t)row || f->stride[plane] > (size_t)PTRDIFF_MAX / (size_t)f->height ? IDN_ESTRIDE : IDN_OK;
}

static int idn_frame_status(const idn_frame *f) {
  if (!f) return IDN_ENULL;
  if (!idn_is_bytes(f->format) && (f->format < IDN_NV12 || f->format > IDN_I420)) return IDN_EFORMAT;
  if (f->width < 2 || f->width > IDN_MAX_SIDE || f->height < 2 || f->height > IDN_MAX_SIDE) return IDN_EFRAME;
  if (!idn_is_yuv(f->format)) return idn_plane_status(f, 0, f->width * (f->format == IDN_RGB8 ? 3 : 4));
  if (f->colour < IDN_BT601 || f->colour > IDN_BT709_FULL) return IDN_EFORMAT;
  const int half = (f->width + 1) / 2, planar = f->format == IDN_I420;
  int status = idn_plane_status(f, 0, f->width);
  if (!status) status = idn_plane_status(f, 1, planar ? half : 2 * half);
  if (!status && planar) status = idn_plane_status(f, 2, half);
  return status;
}

/* Of a crop or a mask: planes of floats, or bytes in 1, 3 or 4 channels. */
static int idn_crop_status(const idn_image *image, int is_mask) {
  if (!image || !image->data) return IDN_ENULL;
  if (image->format != IDN_PLANES && (is_mask ? image->format != IDN_GRAY8 : !idn_is_bytes(image->format))) return IDN_EFORMAT;
  const size_t channels = image->format == IDN_PLANES ? sizeof(float) : is_mask ? 1 : image->format == IDN_RGB8 ? 3 : 4;
  if (image->stride < IDN_SIZE * channels || image->stride > PTRDIFF_MAX / (3 * IDN_SIZE)) return IDN_ESTRIDE;
  if (image->format != IDN_PLANES) return IDN_OK;
  return image->stride % sizeof(float) ? IDN_ESTRIDE : (uintptr_t)image->data % sizeof(float) ? IDN_EALIGN : IDN_OK;
}

static int idn_workers_status(int workers, idn_parallel parallel) {
  return workers < 1 || workers > IDN_MAX_WORKERS ? IDN_EWORKERS : parallel ? IDN_OK : IDN_ENULL;
}

static int idn_within(double value, double limit) { return value >= -limit && value <= limit; } /* NaN is not */

/* Also fails where the map back has no numbers that are of use. */
static int idn_invert(const double m[6], double back[6]) {
  if (!m) return IDN_ENULL;
  for (int i = 0; i < 6; i++)
    if (!idn_within(m[i], 1e9)) return IDN_ELANDMARKS;
  const double det = m[0] * m[4] - m[1] * m[3];
  if (det < 0) return IDN_EMIRRORED;
  if (!(det > 1e-12)) return IDN_ELANDMARKS;
  const double made[6] = {m[4] / det, -m[1] / det, (m[1] * m[5] - m[4] * m[2]) / det, -m[3] / det, m[0] / det, (m[3] * m[2] - m[0] * m[5]) / det};
  for (int i = 0; i < 6; i++) {
    if (!idn_within(made[i], i % 3 == 2 ? 1e9 : 1e5)) return IDN_ELANDMARKS;
    back[i] = made[i];
  }
  return IDN_OK;
}

/* ---- Landmarks ---- */

static int idn_outside(const idn_frame *f, const double landmarks[10]) {
  for (int i = 0; i < 10; i += 2)
    if (landmarks[i] >= -0.5 && landmarks[i] <= f->width - 0.5 && landmarks[i + 1] >= -0.5 && landmarks[i + 1] <= f->height - 0.5) return 0;
  return 1;
}

int idn_affine(const idn_frame *frame, const double landmarks[10], double matrix[6]) {
  static const double template112[10] = {38.2946, 51.6963, 73.5318, 51.5014, 56.0252, 71.7366, 41.5493, 92.3655, 70.7299, 92.2041};
  int status = idn_frame_status(frame);
  if (status || !landmarks || !matrix) return status ? status : IDN_ENULL;
  double middle[2] = {0, 0}, xx = 0, xy = 0, yy = 0, made[6], back[6];
  for (int i = 0; i < 10; i++) {
    if (!idn_within(landmarks[i], 1e7)) return IDN_ELANDMARKS;
    middle[i % 2] += landmarks[i] / 5;
  }
  for (int i = 0; i < 10; i += 2) { /* about their middle, so that the normal equations lose nothing */
    const double x = landmarks[i] - middle[0], y = landmarks[i + 1] - middle[1];
    xx += x * x, xy += x * y, yy += y * y;
  }
  const double det = xx * yy - xy * xy;
  if (!(det > 1e-12 * (xx + yy) * (xx + yy))) return IDN_ELANDMARKS;
  for (int axis = 0; axis < 2; axis++) {
    double along = 0, across = 0, mean = 0;
    for (int i = 0; i < 10; i += 2) {
      const double to = template112[i + axis] * (IDN_SIZE / 112.0);
      along += (landmarks[i] - middle[0]) * to, across += (landmarks[i + 1] - middle[1]) * to, mean += to / 5;
    }
    double *row = made + 3 * axis;
    row[0] = (along * yy - across * xy) / det;
    row[1] = (across * xx - along * xy) / det;
    row[2] = mean - row[0] * middle[0] - row[1] * middle[1];
  }
  status = idn_invert(made, back);
  if (!status && idn_outside(frame, landmarks)) status = IDN_EOUTSIDE;
  for (int i = 0; i < 6 && !status; i++) matrix[i] = made[i];
  return status;
}

/* ---- Reading between pixels ---- */

/* start + i * step for every i, kept within low..high, in whole steps from low to high - 1 and a rest of 0 to 1. */
IDN_INLINE void idn_along(int32_t *whole, float *rest, double start, double step, int low, int high) {
  const int base = start <= low ? low : start >= high ? high : (int)start; /* so that floats keep what is behind the point */
  const float from = (float)(start - base), by = (float)step, least = (float)(low - base), most = (float)(high - base);
  const int last = high - 1 - base;
  for (int i = 0; i < CHUNK; i++) {
    float at = from + by * (float)i;
    at = at > least ? at : least;
    at = at < most ? at : most;
    int down = (int)at;
    down -= at < (float)down;
    down = down < last ? down : last;
    whole[i] = base + down;
    rest[i] = at - (float)down;
  }
}

IDN_INLINE v4f idn_mixed(v4f a, v4f b, float share) { return a + (b - a) * (v4f){share, share, share, share}; }

/* Four pixels of four channels into four channels of four pixels, at i. */
IDN_INLINE void idn_planes(const v4f p[4], idn_colours *to, int i) {
  const v4f low = SHUFFLE(p[0], p[1], 0, 4, 1, 5), high = SHUFFLE(p[0], p[1], 2, 6, 3, 7);
  const v4f more = SHUFFLE(p[2], p[3], 0, 4, 1, 5), most = SHUFFLE(p[2], p[3], 2, 6, 3, 7);
  const v4f made[4] = {SHUFFLE(low, more, 0, 1, 4, 5), SHUFFLE(low, more, 2, 3, 6, 7), SHUFFLE(high, most, 0, 1, 4, 5), SHUFFLE(high, most, 2, 3, 6, 7)};
  for (int c = 0; c < 4; c++) __builtin_memcpy(to->c[c] + i, &made[c], sizeof made[c]);
}

IDN_INLINE uint32_t idn_word(const unsigned char *p) {
  uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap32(word);
#endif
  return word;
}

/* Three bytes as they lie in a word, so as floats 1, 256 and 65536 times what they are. */
IDN_INLINE v4f idn_spread(uint32_t word) {
  const v4i all = {(int32_t)word, (int32_t)word, (int32_t)word, (int32_t)word}, each = {0xff, 0xff00, 0xff0000, 0};
  return __builtin_convertvector(all & each, v4f);
}

/* The pixels x and x + 1 of a row, three bytes of each in a word. */
IDN_INLINE void idn_pair(const idn_frame *f, int format, int x, int y, uint32_t pair[2]) {
  const unsigned char *row = (const unsigned char *)f->data[0] + (size_t)y * f->stride[0];
  if (format == IDN_RGB8) {
    pair[0] = idn_word(row + 3 * x), pair[1] = idn_word(row + 3 * x + 2) >> 8; /* six bytes are there, and none is read beyond */
    return;
  }
  if (!idn_is_yuv(format)) {
    pair[0] = idn_word(row + 4 * x), pair[1] = idn_word(row + 4 * x + 4);
    return;
  }
  const int planar = format == IDN_I420, step = planar ? 1 : 2;
  const unsigned char *one = (const unsigned char *)f->data[1] + (size_t)(y / 2) * f->stride[1];
  const unsigned char *u = format == IDN_NV21 ? one + 1 : one, *v = format == IDN_NV21 ? one : one + 1;
  if (planar) v = (const unsigned char *)f->data[2] + (size_t)(y / 2) * f->stride[2];
  for (int i = 0; i < 2; i++) {
    const int at = (x + i) / 2 * step;
    pair[i] = row[x + i] | (uint32_t)u[at] << 8 | (uint32_t)v[at] << 16;
  }
}

IDN_INLINE void idn_read(const idn_frame *f, int format, const idn_places *at, idn_colours *to) {
  for (int i = 0; i < CHUNK; i += 4) {
    v4f four[4];
    for (int k = 0; k < 4; k++) {
      uint32_t above[2], below[2];
      idn_pair(f, format, at->x[i + k], at->y[i + k], above);
      idn_pair(f, format, at->x[i + k], at->y[i + k] + 1, below);
      const v4f top = idn_mixed(idn_spread(above[0]), idn_spread(above[1]), at->right[i + k]);
      const v4f bottom = idn_mixed(idn_spread(below[0]), idn_spread(below[1]), at->right[i + k]);
      four[k] = idn_mixed(top, bottom, at->down[i + k]) * (v4f){1, 0x1p-8f, 0x1p-16f, 0};
    }
    idn_planes(four, to, i);
  }
}

IDN_INLINE void idn_read_face(const float *face, const idn_places *at, idn_colours *to, int count) {
  for (int i = 0; i < count; i += 4) {
    v4f four[4];
    for (int k = 0; k < 4; k++) {
      const v4f *p = (const v4f *)(const void *)face + (at->y[i + k] * IDN_SIZE + at->x[i + k]);
      const v4f top = idn_mixed(p[0], p[1], at->right[i + k]), bottom = idn_mixed(p[IDN_SIZE], p[IDN_SIZE + 1], at->right[i + k]);
      four[k] = idn_mixed(top, bottom, at->down[i + k]);
    }
    idn_planes(four, to, i);
  }
}

IDN_INLINE unsigned char idn_level(float x) { return (unsigned char)(!(x > 0) ? 0 : x > 255 ? 255 : (int)(x + 0.5f)); }

/* ---- Colours ---- */

static idn_matrix idn_matrix_of(int colour) {
  const int full = colour == IDN_BT601_FULL || colour == IDN_BT709_FULL, hd = colour == IDN_BT709 || colour == IDN_BT709_FULL;
  return (idn_matrix){full ? 0 : 16, full ? 1 : 219 / 255.0f, full ? 1 : 224 / 255.0f, hd ? 0.2126f : 0.299f, hd ? 0.0722f : 0.114f};
}

IDN_INLINE float idn_kept(float x) { return !(x > 0) ? 0 : x > 255 ? 255 : x; } /* NaN is 0 */

IDN_INLINE void idn_to_rgb(idn_colours *k, idn_matrix m) {
  const float luma = 1 / m.luma, red = 2 * (1 - m.red) / m.chroma, blue = 2 * (1 - m.blue) / m.chroma, green = 1 / (1 - m.red - m.blue);
  for (int i = 0; i < CHUNK; i++) {
    const float y = (k->c[0][i] - m.offset) * luma, r = y + (k->c[2][i] - 128) * red, b = y + (k->c[1][i] - 128) * blue;
    k->c[1][i] = idn_kept((y - m.red * r - m.blue * b) * green);
    k->c[0][i] = idn_kept(r), k->c[2][i] = idn_kept(b);
  }
}

IDN_INLINE void idn_to_yuv(idn_colours *k, idn_matrix m) {
  const float blue = m.chroma / (2 * (1 - m.blue)), red = m.chroma / (2 * (1 - m.red)), green = 1 - m.red - m.blue;
  for (int i = 0; i < CHUNK; i++) {
    const float r = k->c[0][i], b = k->c[2][i], y = m.red * r + green * k->c[1][i] + m.blue * b;
    k->c[0][i] = m.offset + m.luma * y;
    k->c[1][i] = 128 + blue * (b - y);
    k->c[2][i] = 128 + red * (r - y);
  }
}

/* ---- Align ---- */

IDN_INLINE void idn_align_rows(const idn_work *w, int format, int first, int last) {
  const idn_frame *f = w->frame;
  const int out = w->crop->format, step = out == IDN_RGB8 ? 3 : 4;
  const int swapped = (f->format == IDN_BGRA8) != (out == IDN_BGRA8); /* red and blue */
  idn_places at;
  idn_colours k;
  for (int y = first; y < last; y++)
    for (int x = 0; x < IDN_SIZE; x += CHUNK) {
      idn_along(at.x, at.right, w->back[0] * x + w->back[1] * y + w->back[2], w->back[0], 0, f->width - 1);
      idn_along(at.y, at.down, w->back[3] * x + w->back[4] * y + w->back[5], w->back[3], 0, f->height - 1);
      idn_read(f, format, &at, &k);
      if (idn_is_yuv(format)) idn_to_rgb(&k, idn_matrix_of(f->colour));
      unsigned char *p = (unsigned char *)w->crop->data + (size_t)y * w->crop->stride + (size_t)x * (size_t)step;
      const int count = IDN_SIZE - x < CHUNK ? IDN_SIZE - x : CHUNK;
      for (int i = 0; i < count; i++)
        for (int c = 0; c < 3; c++) p[i * step + (swapped ? 2 - c : c)] = (unsigned char)(int)(k.c[c][i] + 0.5f);
    }
}

/* ---- Mask ---- */

#define WORDS ((IDN_SIZE + 63) / 64) /* of a row of bits */
#define TAIL (IDN_SIZE % 64 ? ((uint64_t)1 << IDN_SIZE % 64) - 1 : ~(uint64_t)0) /* the bits of the last */

/* bits of a row, moved by 1 to 63 places up or down: what leaves the row is lost. */
static void idn_spread_bits(uint64_t row[WORDS], int by, int up) {
  for (int i = 0; i < WORDS; i++) {
    const int at = up ? WORDS - 1 - i : i, next = up ? at - 1 : at + 1; /* the source has not been written yet */
    const uint64_t more = next < 0 || next >= WORDS ? 0 : up ? row[next] >> (64 - by) : row[next] << (64 - by);
    row[at] |= (up ? row[at] << by : row[at] >> by) | more;
  }
}

/* Every bit within radius columns and rows of one that is set; from is lost. */
static void idn_dilate(uint64_t (*from)[WORDS], uint64_t (*to)[WORDS], int radius) {
  for (int y = 0; y < IDN_SIZE; y++) {
    uint64_t up[WORDS], *down = from[y];
    __builtin_memcpy(up, down, sizeof up);
    for (int have = 0, by = 1; have < radius; have += by, by = have + 1 < radius - have ? have + 1 : radius - have) {
      idn_spread_bits(up, by, 1);
      idn_spread_bits(down, by, 0);
    }
    for (int i = 0; i < WORDS; i++) down[i] |= up[i];
    down[WORDS - 1] &= TAIL;
  }
  for (int y = 0; y < IDN_SIZE; y++) {
    __builtin_memset(to[y], 0, sizeof to[y]);
    const int top = y < radius ? 0 : y - radius, bottom = y + radius < IDN_SIZE ? y + radius : IDN_SIZE - 1;
    for (int row = top; row <= bottom; row++)
      for (int i = 0; i < WORDS; i++) to[y][i] |= from[row][i];
  }
}

/* Eroded is what is not near to what is not set; beyond the crop nothing counts, as in OpenCV. */
static void idn_inverted(uint64_t (*bits)[WORDS]) {
  for (int y = 0; y < IDN_SIZE; y++) {
    for (int i = 0; i < WORDS; i++) bits[y][i] = ~bits[y][i];
    bits[y][WORDS - 1] &= TAIL;
  }
}

static void idn_cut(const idn_image *mask, uint64_t (*bits)[WORDS]) {
  for (int y = 0; y < IDN_SIZE; y++) {
    const unsigned char *row = (const unsigned char *)mask->data + (size_t)y * mask->stride;
    const float *real = (const float *)(const void *)row;
    for (int i = 0; i < WORDS; i++) {
      const int count = IDN_SIZE - 64 * i < 64 ? IDN_SIZE - 64 * i : 64;
      uint64_t word = 0;
      for (int b = 0; b < count; b++)
        word |= (uint64_t)(mask->format == IDN_PLANES ? real[64 * i + b] > 0.001f : row[64 * i + b] > 0) << b;
      bits[y][i] = word;
    }
  }
}

/* What is left of a mask, a byte per pixel, and the box of all that the blur makes of it; 0 where nothing is left. */
static int idn_eroded(const idn_image *mask, uint64_t (*bits)[WORDS], uint64_t (*more)[WORDS], unsigned char *seen, idn_box *box) {
  idn_cut(mask, bits);
  idn_dilate(bits, more, 5);
  idn_inverted(more);
  idn_dilate(more, bits, 10); /* 11x11 twice is 21x21 once */
  idn_inverted(bits);
  idn_box found = {IDN_SIZE, IDN_SIZE, -1, -1};
  for (int y = 0; y < IDN_SIZE; y++)
    for (int x = 0; x < IDN_SIZE; x++) {
      const int bit = (int)(bits[y][x / 64] >> x % 64 & 1);
      seen[y * IDN_SIZE + x] = (unsigned char)bit;
      if (!bit) continue;
      if (y < found.y) found.y = y;
      if (x < found.x) found.x = x;
      if (x > found.right) found.right = x;
      found.bottom = y;
    }
  /* The blur reaches 3 pixels beyond; the border is 0 in its first five; and one more, where the mask is 0. */
  box->x = found.x < 9 ? 4 : found.x - 4;
  box->y = found.y < 9 ? 4 : found.y - 4;
  box->right = found.right > IDN_SIZE - 10 ? IDN_SIZE - 5 : found.right + 4;
  box->bottom = found.bottom > IDN_SIZE - 10 ? IDN_SIZE - 5 : found.bottom + 4;
  return found.bottom >= 0 && box->right - box->x >= 2 && box->bottom - box->y >= 2;
}

/* How many of the 11 pixels around i lie within the border of 10. */
IDN_INLINE int idn_inside(int i) {
  const int near = i < IDN_SIZE - 1 - i ? i : IDN_SIZE - 1 - i;
  const int most = IDN_SIZE - 20 < 11 ? IDN_SIZE - 20 : 11;
  return near < 5 ? 0 : near - 4 < most ? near - 4 : most;
}

/* Piece of a row of the softened mask: seen, blurred 7x7, times the border. */
IDN_INLINE void idn_soften(const unsigned char *seen, int x, int y, float to[CHUNK]) {
  unsigned char sums[CHUNK + 6] = {0};
  const float border = (float)idn_inside(y) / (49 * 121);
  const int count = IDN_SIZE - x < CHUNK ? IDN_SIZE - x : CHUNK;
  const int left = x < 3 ? 3 - x : 0, right = IDN_SIZE - x + 3 < CHUNK + 6 ? IDN_SIZE - x + 3 : CHUNK + 6;
  for (int row = y < 3 ? 0 : y - 3; row <= y + 3 && row < IDN_SIZE; row++)
    for (int i = left; i < right; i++) sums[i] = (unsigned char)(sums[i] + seen[row * IDN_SIZE + x + i - 3]);
  for (int i = 0; i < count; i++) {
    int sum = 0;
    for (int k = 0; k < 7; k++) sum += sums[i + k];
    to[i] = (float)(sum * idn_inside(x + i)) * border;
  }
}

/* Rows of the face as they are read again and again: in the frame's colours, with the mask beside them. */
IDN_INLINE void idn_face_rows(const idn_work *w, int first, int last) {
  const int from = w->crop->format, step = from == IDN_RGB8 ? 3 : 4, yuv = idn_is_yuv(w->frame->format);
  const int swapped = (from == IDN_BGRA8) != (w->frame->format == IDN_BGRA8);
  idn_colours k;
  for (int y = first; y < last; y++)
    for (int x = 0; x < IDN_SIZE; x += CHUNK) {
      const unsigned char *row = (const unsigned char *)w->crop->data + (size_t)y * w->crop->stride;
      const int count = IDN_SIZE - x < CHUNK ? IDN_SIZE - x : CHUNK;
      for (int c = 0; c < 3; c++) {
        float *to = k.c[swapped ? 2 - c : c];
        const float *real = (const float *)(const void *)(row + (size_t)c * IDN_SIZE * w->crop->stride) + x;
        for (int i = 0; i < count; i++) to[i] = from == IDN_PLANES ? idn_kept(real[i] * 255) : (float)row[(x + i) * step + c];
        for (int i = count; i < CHUNK; i++) to[i] = 0;
      }
      if (yuv) idn_to_yuv(&k, idn_matrix_of(w->frame->colour));
      idn_soften(w->seen, x, y, k.c[3]);
      float *face = w->face + (size_t)(y * IDN_SIZE + x) * 4;
      for (int i = 0; i < count; i++)
        for (int c = 0; c < 4; c++) face[4 * i + c] = k.c[c][i];
    }
}

/* ---- Paste ---- */

/* The x for which start + x * step lies between low and high, of first..last. */
static void idn_between(double start, double step, int low, int high, double *first, double *last) {
  if (step == 0) {
    if (!(start > low && start < high)) *last = -1;
    return;
  }
  const double one = (low - start) / step, two = (high - start) / step, least = step > 0 ? one : two, most = step > 0 ? two : one;
  if (least > *first) *first = least;
  if (most < *last) *last = most;
}

/* Columns of row y of the frame on which the face's box lies; 0 where none. */
static int idn_columns(const idn_work *w, int y, int *first, int *last) {
  double from = 0, to = w->frame->width - 1;
  idn_between(w->there[1] * y + w->there[2], w->there[0], w->box.x, w->box.right, &from, &to);
  idn_between(w->there[4] * y + w->there[5], w->there[3], w->box.y, w->box.bottom, &from, &to);
  if (!(from <= to)) return 0;
  *first = (int)from, *last = (int)to;
  return 1;
}

IDN_INLINE void idn_face_at(const idn_work *w, int x, int y, int count, idn_places *at, idn_colours *k) {
  idn_along(at->x, at->right, w->there[0] * x + w->there[1] * y + w->there[2], w->there[0], w->box.x, w->box.right);
  idn_along(at->y, at->down, w->there[3] * x + w->there[4] * y + w->there[5], w->there[3], w->box.y, w->box.bottom);
  idn_read_face(w->face, at, k, count);
}

/* Four pixels of three or four bytes, one in each word; above three bytes is anything. */
IDN_INLINE v4i idn_four(const unsigned char *p, int step) {
  const uint32_t a = idn_word(p), b = idn_word(p + 4), c = idn_word(p + 8);
  if (step == 4) return (v4i){(int32_t)a, (int32_t)b, (int32_t)c, (int32_t)idn_word(p + 12)};
  return (v4i){(int32_t)a, (int32_t)(a >> 24 | b << 8), (int32_t)(b >> 16 | c << 16), (int32_t)(c >> 8)};
}

IDN_INLINE void idn_put(unsigned char *p, uint32_t word) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap32(word);
#endif
  __builtin_memcpy(p, &word, sizeof word);
}

IDN_INLINE void idn_put_four(unsigned char *p, int step, v4i pixels) {
  if (step == 3) pixels &= 0xffffff;
  const uint32_t a = (uint32_t)pixels[0], b = (uint32_t)pixels[1], c = (uint32_t)pixels[2], d = (uint32_t)pixels[3];
  idn_put(p, step == 4 ? a : a | b << 24);
  idn_put(p + 4, step == 4 ? b : b >> 8 | c << 16);
  idn_put(p + 8, step == 4 ? c : c >> 16 | d << 8);
  if (step == 4) idn_put(p + 12, d);
}

/* Four pixels mixed with the face by its mask; a fourth byte stays. */
IDN_INLINE v4i idn_blended(v4i pixels, const idn_colours *k, int i) {
  v4i made = pixels & ~0xffffff;
  v4f mask, face;
  __builtin_memcpy(&mask, k->c[3] + i, sizeof mask);
  for (int c = 0; c < 3; c++) {
    __builtin_memcpy(&face, k->c[c] + i, sizeof face);
    face = __builtin_convertvector(__builtin_convertvector(face + 0.5f, v4i), v4f); /* a picture of bytes, too */
    const v4f was = __builtin_convertvector((pixels >> 8 * c) & 0xff, v4f);
    made |= __builtin_convertvector(was + mask * (face - was) + 0.5f, v4i) << 8 * c;
  }
  return made;
}

IDN_INLINE int idn_any(const float *mask) { return mask[0] > 0 || mask[1] > 0 || mask[2] > 0 || mask[3] > 0; }

IDN_INLINE void idn_blend(unsigned char *p, int step, const idn_colours *k, int count) {
  int i = 0;
  for (; i + 4 <= count; i += 4)
    if (idn_any(k->c[3] + i)) idn_put_four(p + i * step, step, idn_blended(idn_four(p + i * step, step), k, i));
  if (i == count) return;
  unsigned char rest[16] = {0};
  for (int b = 0; b < (count - i) * step; b++) rest[b] = p[i * step + b];
  idn_put_four(rest, step, idn_blended(idn_four(rest, step), k, i));
  for (int b = 0; b < (count - i) * step; b++) p[i * step + b] = rest[b];
}

/* Rows of a frame of pixels. */
IDN_INLINE void idn_paste_pixels(const idn_work *w, int step, int first, int last) {
  idn_places at;
  idn_colours k;
  for (int y = first, from, to; y < last; y++) {
    if (!idn_columns(w, y, &from, &to)) continue;
    unsigned char *row = (unsigned char *)w->frame->data[0] + (size_t)y * w->frame->stride[0];
    for (int x = from; x <= to; x += CHUNK) {
      const int count = to - x < CHUNK ? to - x + 1 : CHUNK;
      idn_face_at(w, x, y, count, &at, &k);
      idn_blend(row + (size_t)x * (size_t)step, step, &k, count);
    }
  }
}

/* Piece of two rows of chroma pairs: each sample by what its two or four pixels, or fewer at the border, would change it by. */
IDN_INLINE void idn_paste_chroma(const idn_frame *f, int x, int y, const idn_colours k[2], int count) {
  const int step = f->format == IDN_I420 ? 1 : 2, rows = y + 1 < f->height ? 2 : 1;
  for (int c = 1; c < 3; c++) {
    const int plane = f->format == IDN_I420 ? c : 1, second = f->format == IDN_I420 ? 0 : (c == 2) == (f->format == IDN_NV12);
    unsigned char *p = (unsigned char *)f->data[plane] + (size_t)(y / 2) * f->stride[plane] + (size_t)(x / 2 * step + second);
    for (int i = 0; i < count; i += 2, p += step) {
      const int columns = i + 1 < count ? 2 : 1;
      const float was = *p;
      float sum = 0, any = 0;
      for (int row = 0; row < rows; row++)
        for (int j = i; j < i + columns; j++) any += k[row].c[3][j], sum += k[row].c[3][j] * (k[row].c[c][j] - was);
      if (any > 0) *p = idn_level(was + sum / (float)(rows * columns));
    }
  }
}

/* Rows of a frame of luma and chroma, two at once, from an even one on. */
IDN_INLINE void idn_paste_planes(const idn_work *w, int first, int last) {
  const idn_frame *f = w->frame;
  idn_places at;
  idn_colours k[2];
  for (int y = first; y < last; y += 2) {
    int from = f->width, to = -1, rows = y + 1 < f->height ? 2 : 1;
    for (int row = 0, left, right; row < rows; row++)
      if (idn_columns(w, y + row, &left, &right)) from = left < from ? left : from, to = right > to ? right : to;
    from -= from % 2;
    if (to % 2 == 0 && to + 1 < f->width) to++; /* whole pairs: what else is the frame's is not lost by a half */
    for (int x = from; x <= to; x += CHUNK) {
      const int count = to - x < CHUNK ? to - x + 1 : CHUNK;
      for (int row = 0; row < rows; row++) {
        idn_face_at(w, x, y + row, count, &at, &k[row]);
        unsigned char *p = (unsigned char *)f->data[0] + (size_t)(y + row) * f->stride[0] + x;
        for (int i = 0; i < count; i++) p[i] = idn_level((float)p[i] + k[row].c[3][i] * (k[row].c[0][i] - (float)p[i]));
      }
      idn_paste_chroma(f, x, y, k, count);
    }
  }
}

/* ---- One piece of the rows, on the best instruction set ---- */

IDN_INLINE void idn_align_any(const idn_work *w, int first, int last) {
  const int format = w->frame->format;
  if (format == IDN_RGB8) idn_align_rows(w, IDN_RGB8, first, last);
  else if (!idn_is_yuv(format)) idn_align_rows(w, IDN_RGBA8, first, last);
  else if (format == IDN_I420) idn_align_rows(w, IDN_I420, first, last);
  else idn_align_rows(w, format, first, last);
}

IDN_INLINE void idn_paste_any(const idn_work *w, int first, int last) {
  const int format = w->frame->format;
  if (format == IDN_RGB8) idn_paste_pixels(w, 3, first, last);
  else if (!idn_is_yuv(format)) idn_paste_pixels(w, 4, first, last);
  else idn_paste_planes(w, first, last);
}

static void idn_align_base(const idn_work *w, int first, int last) { idn_align_any(w, first, last); }
static void idn_face_base(const idn_work *w, int first, int last) { idn_face_rows(w, first, last); }
static void idn_paste_base(const idn_work *w, int first, int last) { idn_paste_any(w, first, last); }
#if IDN_AVX2_TOO
#define IDN_FOR_AVX2 static __attribute__((target("avx2,fma")))
IDN_FOR_AVX2 void idn_align_avx2(const idn_work *w, int first, int last) { idn_align_any(w, first, last); }
IDN_FOR_AVX2 void idn_face_avx2(const idn_work *w, int first, int last) { idn_face_rows(w, first, last); }
IDN_FOR_AVX2 void idn_paste_avx2(const idn_work *w, int first, int last) { idn_paste_any(w, first, last); }
#define IDN_BEST(w, part) ((w)->cpu >= IDN_AVX2 ? idn_##part##_avx2 : idn_##part##_base)
#else
#define IDN_BEST(w, part) idn_##part##_base
#endif

/* Row i of so many equal parts, at a multiple of two. */
static int idn_share(const idn_work *w, int i) {
  const int pairs = (w->last - w->first + 1) / 2, row = w->first + 2 * (int)((int64_t)pairs * i / w->workers);
  return row < w->last ? row : w->last;
}

static void idn_align_piece(void *work, int i) {
  const idn_work *w = (const idn_work *)work;
  IDN_BEST(w, align)(w, idn_share(w, i), idn_share(w, i + 1));
}

static void idn_face_piece(void *work, int i) {
  const idn_work *w = (const idn_work *)work;
  IDN_BEST(w, face)(w, idn_share(w, i), idn_share(w, i + 1));
}

static void idn_paste_piece(void *work, int i) {
  const idn_work *w = (const idn_work *)work;
  IDN_BEST(w, paste)(w, idn_share(w, i), idn_share(w, i + 1));
}

static void idn_one_by_one(void *user, idn_task task, void *work, int count) {
  (void)user;
  for (int i = 0; i < count; i++) task(work, i);
}

/* ---- The interface ---- */

size_t idn_frame_bytes(int workers) { return workers < 1 || workers > IDN_MAX_WORKERS ? 0 : IDN_FRAME_BYTES(workers); }
size_t idn_paste_bytes(void) { return IDN_PASTE_BYTES; }

int idn_align_parallel(const idn_model *model, const idn_frame *frame, const double matrix[6], const idn_image *crop, int workers, idn_parallel parallel, void *user) {
  idn_work w = {.frame = frame, .crop = crop, .cpu = model ? model->cpu : IDN_BASE, .last = IDN_SIZE, .workers = workers};
  int status = idn_frame_status(frame);
  if (!status) status = idn_invert(matrix, w.back);
  if (!status) status = idn_crop_status(crop, 0);
  if (!status && crop->format == IDN_PLANES) status = IDN_EFORMAT;
  if (!status) status = idn_workers_status(workers, parallel);
  if (!status) parallel(user, idn_align_piece, &w, workers);
  return status;
}

int idn_align(const idn_model *model, const idn_frame *frame, const double matrix[6], const idn_image *crop) {
  return idn_align_parallel(model, frame, matrix, crop, 1, idn_one_by_one, 0);
}

/* Rows of the frame that the box reaches. */
static void idn_rows(idn_work *w) {
  double top = w->frame->height, bottom = -1;
  for (int i = 0; i < 4; i++) {
    const double y = w->back[3] * (i % 2 ? w->box.right : w->box.x) + w->back[4] * (i / 2 ? w->box.bottom : w->box.y) + w->back[5];
    top = y < top ? y : top, bottom = y > bottom ? y : bottom;
  }
  w->first = top > 0 ? (int)top / 2 * 2 : 0;
  w->last = bottom < w->frame->height - 1 ? (int)bottom + 1 : w->frame->height;
}

int idn_paste_parallel(const idn_model *model, const idn_frame *frame, const double matrix[6], const idn_image *swapped, const idn_image *mask, void *room, size_t room_bytes, int workers, idn_parallel parallel, void *user) {
  idn_work w = {.frame = frame, .crop = swapped, .face = (float *)room, .cpu = model ? model->cpu : IDN_BASE, .workers = workers};
  int status = idn_frame_status(frame);
  if (!status) status = idn_invert(matrix, w.back);
  if (!status) status = idn_crop_status(swapped, 0);
  if (!status) status = idn_crop_status(mask, 1);
  if (!status) status = !room ? IDN_ENULL : (uintptr_t)room % IDN_ALIGNMENT ? IDN_EALIGN : room_bytes < IDN_PASTE_BYTES ? IDN_EARENA : IDN_OK;
  if (!status) status = idn_workers_status(workers, parallel);
  if (status) return status;
  for (int i = 0; i < 6; i++) w.there[i] = matrix[i];
  uint64_t (*bits)[WORDS] = (uint64_t (*)[WORDS])(void *)(w.face + 4 * IDN_SIZE * IDN_SIZE);
  unsigned char *seen = (unsigned char *)(bits + 2 * IDN_SIZE);
  w.seen = seen;
  if (!idn_eroded(mask, bits, bits + IDN_SIZE, seen, &w.box)) return IDN_OK;
  w.first = w.box.y, w.last = w.box.bottom + 1;
  parallel(user, idn_face_piece, &w, workers);
  idn_rows(&w);
  if (w.first < w.last) parallel(user, idn_paste_piece, &w, workers);
  return IDN_OK;
}

int idn_paste(const idn_model *model, const idn_frame *frame, const double matrix[6], const idn_image *swapped, const idn_image *mask, void *room, size_t room_bytes) {
  return idn_paste_parallel(model, frame, matrix, swapped, mask, room, room_bytes, 1, idn_one_by_one, 0);
}

int idn_swap_frame_parallel(const idn_model *model, const idn_frame *frame, const double landmarks[10], void *arena, size_t arena_bytes, int workers, idn_parallel parallel, void *user) {
  double matrix[6];
  if (!model || !model->shared || !model->identity || !arena) return IDN_ENULL;
  int status = idn_workers_status(workers, parallel);
  if (!status) status = (uintptr_t)arena % IDN_ALIGNMENT ? IDN_EALIGN : arena_bytes < IDN_FRAME_BYTES(workers) ? IDN_EARENA : IDN_OK;
  if (!status) status = idn_affine(frame, landmarks, matrix);
  if (status) return status;
  const size_t shared = IDN_FRAME_BYTES(workers) - (size_t)IDN_SIZE * IDN_SIZE * 7;
  unsigned char *shade = (unsigned char *)arena + shared, *pixels = shade + (size_t)IDN_SIZE * IDN_SIZE * 4;
  const idn_image crop = {pixels, 3 * IDN_SIZE, IDN_RGB8}, mask = {shade, 4 * IDN_SIZE, IDN_PLANES};
  status = idn_align_parallel(model, frame, matrix, &crop, workers, parallel, user);
  if (!status) status = idn_run_parallel(model, &crop, &crop, &mask, arena, shared, workers, parallel, user);
  if (!status) status = idn_paste_parallel(model, frame, matrix, &crop, &mask, arena, shared, workers, parallel, user);
  return status;
}

int idn_swap_frame(const idn_model *model, const idn_frame *frame, const double landmarks[10], void *arena, size_t arena_bytes) {
  return idn_swap_frame_parallel(model, frame, landmarks, arena, arena_bytes, 1, idn_one_by_one, 0);
}
