/* Whole frames: every wrong call has its own error and writes nothing; frames of any size, format, stride and place of
   the face, in blocks that end with the last sample, by one worker and by several.

   usage: whole_frames idn.weights [rounds]
   Meant for a sanitiser or valgrind, which see what lies outside of a block. Prints a line per case that fails. */
#include "idn_frame.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 7 /* workers */
static int failures, cases;
static idn_model model;
static void *arena;
static uint64_t state = 1;

static uint32_t dice(uint32_t below) {
  state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)((state >> 33) % below);
}

static double between(double low, double high) { return low + (high - low) * dice(1 << 20) / (1 << 20); }

static void *room(size_t bytes) {
  void *found = aligned_alloc(IDN_ALIGNMENT, (bytes + 63) / 64 * 64);
  if (!found) exit(100);
  return found;
}

typedef struct {
  idn_frame frame;
  unsigned char *block[3];
  size_t bytes[3], row[3];
  int rows[3];
} camera;

static int planes_of(int format) { return format < IDN_NV12 ? 1 : format == IDN_I420 ? 3 : 2; }

/* A frame of noise, the same for the same seed. */
static camera opened(int format, int width, int height, size_t gap, uint64_t seed) {
  camera c = {{{0}, {0}, width, height, format, (int)(seed % 4)}, {0}, {0}, {0}, {0}};
  const size_t half = ((size_t)width + 1) / 2;
  for (int p = 0; p < planes_of(format); p++) {
    c.row[p] = format == IDN_RGB8 ? 3 * (size_t)width : format < IDN_NV12 ? 4 * (size_t)width : !p ? (size_t)width : format == IDN_I420 ? half : 2 * half;
    c.rows[p] = p ? (height + 1) / 2 : height;
    c.frame.stride[p] = c.row[p] + gap;
    c.bytes[p] = (size_t)(c.rows[p] - 1) * c.frame.stride[p] + c.row[p];
    c.frame.data[p] = c.block[p] = malloc(c.bytes[p]);
    if (!c.block[p]) exit(100);
    for (size_t i = 0; i < c.bytes[p]; i++) c.block[p][i] = (unsigned char)((seed + 31 * i + i * i / 7) >> 1);
  }
  return c;
}

static void closed(camera *c) {
  for (int p = 0; p < 3; p++) free(c->block[p]);
}

static int same(const camera *a, const camera *b) {
  for (int p = 0; p < planes_of(a->frame.format); p++)
    if (memcmp(a->block[p], b->block[p], a->bytes[p])) return 0;
  return 1;
}

/* Whether only samples differ, and no alpha. */
static int gaps_kept(const camera *a, const camera *b) {
  for (int p = 0; p < planes_of(a->frame.format); p++)
    for (size_t i = 0; i < a->bytes[p]; i++) {
      const size_t at = i % a->frame.stride[p];
      const int alpha = (a->frame.format == IDN_RGBA8 || a->frame.format == IDN_BGRA8) && at % 4 == 3;
      if ((at >= a->row[p] || alpha) && a->block[p][i] != b->block[p][i]) return 0;
    }
  return 1;
}

static void backwards(void *user, idn_task task, void *work, int count) {
  ++*(int *)user;
  while (count--) task(work, count);
}

static void face(double to[10], double x, double y, double size, double angle) {
  static const double at[10] = {-.35, -.4, .35, -.4, 0, 0, -.3, .4, .3, .4};
  for (int i = 0; i < 10; i += 2) {
    to[i] = x + size * (at[i] * cos(angle) - at[i + 1] * sin(angle));
    to[i + 1] = y + size * (at[i] * sin(angle) + at[i + 1] * cos(angle));
  }
}

static void any_frame(int round) {
  const int formats[6] = {IDN_RGB8, IDN_RGBA8, IDN_BGRA8, IDN_NV12, IDN_NV21, IDN_I420}, format = formats[round % 6];
  const int width = 2 + (int)dice(round % 3 ? 150 : 3), height = 2 + (int)dice(round % 5 ? 150 : 3), workers = 1 + (int)dice(MOST);
  const size_t gap = dice(2) ? dice(20) : 0;
  camera whole = opened(format, width, height, gap, (uint64_t)round), shared = opened(format, width, height, gap, (uint64_t)round), was = opened(format, width, height, gap, (uint64_t)round);
  double points[10];
  face(points, between(-20, width + 20), between(-20, height + 20), pow(10, between(-2, 4)), between(0, 7));
  if (dice(8) == 0) points[dice(10)] = (const double[]){NAN, INFINITY, -INFINITY, 1e308, -1e9, 0}[dice(6)];
  memset(arena, (int)dice(256), IDN_FRAME_BYTES(MOST));
  const int status = idn_swap_frame(&model, &whole.frame, points, arena, IDN_FRAME_BYTES(1));
  int calls = 0;
  const int again = idn_swap_frame_parallel(&model, &shared.frame, points, arena, IDN_FRAME_BYTES(workers), workers, backwards, &calls);
  cases++;
  if (status != again || (status && status != IDN_ELANDMARKS && status != IDN_EMIRRORED && status != IDN_EOUTSIDE)) failures++, printf("%d: %d and %d\n", round, status, again);
  if (status && (!same(&whole, &was) || calls)) failures++, printf("%d: %s, and something was written\n", round, idn_error(status));
  if (!same(&whole, &shared)) failures++, printf("%d: %d workers give another frame\n", round, workers);
  if (!gaps_kept(&whole, &was)) failures++, printf("%d: a gap or alpha was written\n", round);
  closed(&whole), closed(&shared), closed(&was);
}

/* ---- Wrong calls ---- */

static camera good, kept;
static double landmarks[10], matrix[6];
static unsigned char crop[IDN_SIZE * IDN_SIZE * 4];
static float mask[IDN_SIZE * IDN_SIZE];

static void expect(const char *what, int status, int wanted) {
  cases++;
  if (status != wanted) failures++, printf("%s: %d (%s) instead of %d (%s)\n", what, status, idn_error(status), wanted, idn_error(wanted));
  if (!same(&good, &kept)) failures++, printf("%s: the frame was written\n", what);
  for (size_t i = 0; i < sizeof crop; i++)
    if (crop[i] != 5) { failures++, printf("%s: the crop was written\n", what); return; }
}

/* Through every function that takes a frame. */
static void wrong_frame(const char *what, const idn_frame *frame, int wanted) {
  const idn_image image = {crop, 3 * IDN_SIZE, IDN_RGB8}, shade = {mask, 4 * IDN_SIZE, IDN_PLANES};
  double made[6];
  expect(what, idn_swap_frame(&model, frame, landmarks, arena, IDN_FRAME_BYTES(1)), wanted);
  expect(what, idn_affine(frame, landmarks, made), wanted);
  expect(what, idn_align(&model, frame, matrix, &image), wanted);
  expect(what, idn_paste(&model, frame, matrix, &image, &shade, arena, IDN_PASTE_BYTES), wanted);
}

static void wrong_frames(void) {
  idn_frame f = good.frame;
  wrong_frame("no frame", 0, IDN_ENULL);
#define WITH(what, field, value, wanted) f = good.frame, f.field = value, wrong_frame(what, &f, wanted)
  WITH("no luma", data[0], 0, IDN_ENULL);
  WITH("no chroma", data[1], 0, IDN_ENULL);
  WITH("no width", width, 0, IDN_EFRAME);
  WITH("one column", width, 1, IDN_EFRAME);
  WITH("a negative width", width, -5, IDN_EFRAME);
  WITH("too wide", width, IDN_MAX_SIDE + 1, IDN_EFRAME);
  WITH("one row", height, 1, IDN_EFRAME);
  WITH("the least height", height, INT32_MIN, IDN_EFRAME);
  WITH("too high", height, INT32_MAX, IDN_EFRAME);
  WITH("planes of floats", format, IDN_PLANES, IDN_EFORMAT);
  WITH("grey", format, IDN_GRAY8, IDN_EFORMAT);
  WITH("a format of tomorrow", format, 8, IDN_EFORMAT);
  WITH("a negative format", format, -1, IDN_EFORMAT);
  WITH("no colour", colour, 4, IDN_EFORMAT);
  WITH("a negative colour", colour, -1, IDN_EFORMAT);
  WITH("a short stride", stride[0], (size_t)good.frame.width - 1, IDN_ESTRIDE);
  WITH("no stride", stride[0], 0, IDN_ESTRIDE);
  WITH("a huge stride", stride[0], (size_t)PTRDIFF_MAX, IDN_ESTRIDE);
  WITH("a negative stride", stride[0], (size_t)-200, IDN_ESTRIDE);
  WITH("a short stride of chroma", stride[1], (size_t)good.frame.width - 1, IDN_ESTRIDE);
  WITH("a huge stride of chroma", stride[1], SIZE_MAX / 2, IDN_ESTRIDE);
  f = good.frame, f.format = IDN_I420;
  wrong_frame("no V", &f, IDN_ENULL);
  f.data[2] = f.data[1], f.stride[2] = 1;
  wrong_frame("a short stride of V", &f, IDN_ESTRIDE);
  f = good.frame, f.format = IDN_RGB8;
  wrong_frame("a stride of luma for RGB", &f, IDN_ESTRIDE);
  f.width = f.height = 1, f.stride[0] = 3;
  wrong_frame("one pixel", &f, IDN_EFRAME);
}

static void wrong_memory(void) {
  const idn_frame *f = &good.frame;
  const idn_image image = {crop, 3 * IDN_SIZE, IDN_RGB8}, shade = {mask, 4 * IDN_SIZE, IDN_PLANES};
  const idn_model closed_model = {0};
  const size_t all = IDN_FRAME_BYTES(1);
  int calls = 0;
  expect("no model", idn_swap_frame(0, f, landmarks, arena, all), IDN_ENULL);
  expect("a model that was never opened", idn_swap_frame(&closed_model, f, landmarks, arena, all), IDN_ENULL);
  expect("no landmarks", idn_swap_frame(&model, f, 0, arena, all), IDN_ENULL);
  expect("no arena", idn_swap_frame(&model, f, landmarks, 0, all), IDN_ENULL);
  expect("a short arena", idn_swap_frame(&model, f, landmarks, arena, all - 1), IDN_EARENA);
  expect("an arena beside its place", idn_swap_frame(&model, f, landmarks, (char *)arena + 4, all), IDN_EALIGN);
  expect("no workers", idn_swap_frame_parallel(&model, f, landmarks, arena, all, 0, backwards, &calls), IDN_EWORKERS);
  expect("too many workers", idn_swap_frame_parallel(&model, f, landmarks, arena, all, IDN_MAX_WORKERS + 1, backwards, &calls), IDN_EWORKERS);
  expect("an arena for one", idn_swap_frame_parallel(&model, f, landmarks, arena, all, 2, backwards, &calls), IDN_EARENA);
  expect("no callback", idn_swap_frame_parallel(&model, f, landmarks, arena, all, 1, 0, 0), IDN_ENULL);
  expect("no matrix to write", idn_affine(f, landmarks, 0), IDN_ENULL);
  expect("no matrix", idn_align(&model, f, 0, &image), IDN_ENULL);
  expect("no crop", idn_align(&model, f, matrix, 0), IDN_ENULL);
  expect("no crop's data", idn_align(&model, f, matrix, &(idn_image){0, 3 * IDN_SIZE, IDN_RGB8}), IDN_ENULL);
  expect("a crop of floats", idn_align(&model, f, matrix, &(idn_image){mask, 4 * IDN_SIZE, IDN_PLANES}), IDN_EFORMAT);
  expect("a grey crop", idn_align(&model, f, matrix, &(idn_image){crop, IDN_SIZE, IDN_GRAY8}), IDN_EFORMAT);
  expect("a short crop", idn_align(&model, f, matrix, &(idn_image){crop, 3 * IDN_SIZE - 1, IDN_RGB8}), IDN_ESTRIDE);
  expect("align without workers", idn_align_parallel(&model, f, matrix, &image, 0, backwards, &calls), IDN_EWORKERS);
  expect("align without a callback", idn_align_parallel(&model, f, matrix, &image, 1, 0, 0), IDN_ENULL);
  expect("no mask", idn_paste(&model, f, matrix, &image, &(idn_image){0, 4 * IDN_SIZE, IDN_PLANES}, arena, IDN_PASTE_BYTES), IDN_ENULL);
  expect("a mask of colours", idn_paste(&model, f, matrix, &image, &image, arena, IDN_PASTE_BYTES), IDN_EFORMAT);
  expect("a mask beside its place", idn_paste(&model, f, matrix, &image, &(idn_image){(char *)mask + 1, 4 * IDN_SIZE, IDN_PLANES}, arena, IDN_PASTE_BYTES), IDN_EALIGN);
  expect("a mask of broken floats", idn_paste(&model, f, matrix, &image, &(idn_image){mask, 4 * IDN_SIZE + 1, IDN_PLANES}, arena, IDN_PASTE_BYTES), IDN_ESTRIDE);
  expect("no room", idn_paste(&model, f, matrix, &image, &shade, 0, IDN_PASTE_BYTES), IDN_ENULL);
  expect("a small room", idn_paste(&model, f, matrix, &image, &shade, arena, IDN_PASTE_BYTES - 1), IDN_EARENA);
  expect("a room beside its place", idn_paste(&model, f, matrix, &image, &shade, (char *)arena + 8, IDN_PASTE_BYTES), IDN_EALIGN);
  expect("paste without a callback", idn_paste_parallel(&model, f, matrix, &image, &shade, arena, IDN_PASTE_BYTES, 1, 0, 0), IDN_ENULL);
  if (calls) failures++, printf("work was begun\n");
}

static void wrong_matrices(void) {
  const idn_image image = {crop, 3 * IDN_SIZE, IDN_RGB8}, shade = {mask, 4 * IDN_SIZE, IDN_PLANES};
  const double wild[] = {NAN, INFINITY, -INFINITY, 1e300, -1e300};
  for (int i = 0; i < 6; i++)
    for (int k = 0; k < 5; k++) {
      double m[6];
      memcpy(m, matrix, sizeof m), m[i] = wild[k];
      expect("a wild matrix", idn_align(&model, &good.frame, m, &image), IDN_ELANDMARKS);
      expect("a wild matrix", idn_paste(&model, &good.frame, m, &image, &shade, arena, IDN_PASTE_BYTES), IDN_ELANDMARKS);
    }
  expect("a mirror", idn_align(&model, &good.frame, (const double[]){-1, 0, 50, 0, 1, 0}, &image), IDN_EMIRRORED);
  expect("all zeros", idn_align(&model, &good.frame, (const double[6]){0}, &image), IDN_ELANDMARKS);
  expect("a crop of nothing", idn_align(&model, &good.frame, (const double[]){1e-7, 0, 50, 0, 1e-7, 0}, &image), IDN_ELANDMARKS);
}

/* A picture of floats that are none, and a mask of them: what comes out is a frame. */
static void wild_pictures(void) {
  float *planes = room(3 * sizeof mask);
  for (int i = 0; i < 3 * IDN_SIZE * IDN_SIZE; i++) planes[i] = (const float[]){NAN, INFINITY, -INFINITY, 1e38f, -1, 0.5f}[i % 6];
  for (int i = 0; i < IDN_SIZE * IDN_SIZE; i++) mask[i] = (const float[]){1, INFINITY, 0.3f, 1e38f}[i % 4];
  for (int round = 0; round < 6; round++) {
    const int formats[6] = {IDN_RGB8, IDN_RGBA8, IDN_BGRA8, IDN_NV12, IDN_NV21, IDN_I420};
    camera c = opened(formats[round], 91, 61, 3, 7);
    const idn_image image = {planes, 4 * IDN_SIZE, IDN_PLANES}, shade = {mask, 4 * IDN_SIZE, IDN_PLANES};
    if (idn_paste(&model, &c.frame, matrix, &image, &shade, arena, IDN_PASTE_BYTES)) failures++, printf("a wild picture was refused\n");
    closed(&c), cases++;
  }
  free(planes);
}

int main(int argc, char **argv) {
  void *weights = room(IDN_WEIGHTS_BYTES), *memory = room(IDN_EXPANDED_BYTES);
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : 0;
  if (!file || fread(weights, 1, IDN_WEIGHTS_BYTES, file) != IDN_WEIGHTS_BYTES) return 101;
  fclose(file);
  if (idn_open(&model, weights, IDN_WEIGHTS_BYTES, memory, IDN_EXPANDED_BYTES)) return 102;
  if (idn_frame_bytes(3) != IDN_FRAME_BYTES(3) || idn_frame_bytes(0) || idn_frame_bytes(IDN_MAX_WORKERS + 1) || idn_paste_bytes() != IDN_PASTE_BYTES ||
      IDN_FRAME_BYTES(5) % IDN_ALIGNMENT || IDN_PASTE_BYTES % IDN_ALIGNMENT)
    return 103;
  arena = room(IDN_FRAME_BYTES(MOST));
  memset(arena, 0, IDN_FRAME_BYTES(MOST)), memset(crop, 5, sizeof crop);
  good = opened(IDN_NV12, 91, 61, 3, 7), kept = opened(IDN_NV12, 91, 61, 3, 7);
  face(landmarks, 45, 30, 40, 0.2);
  if (idn_affine(&good.frame, landmarks, matrix)) return 104;
  wrong_frames(), wrong_memory(), wrong_matrices(), wild_pictures();
  for (int best = model.cpu; model.cpu >= 0; model.cpu--)
    for (int round = 0; round < (argc > 2 ? atoi(argv[2]) : 400) / (best + 1); round++) any_frame(round + 1000 * model.cpu);
  closed(&good), closed(&kept);
  free(weights), free(memory), free(arena);
  printf("%d cases, %d failures\n", cases, failures);
  return failures > 99 ? 99 : failures;
}
