/* Whole frames of every format by several threads, for a sanitiser that sees races.

   usage: frame_threads idn.weights */
#include "idn_frame.h"
#include "idn_pool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { WIDE = 301, HIGH = 201, HALF = (WIDE + 1) / 2, ROUNDS = 36 };

static void *room(size_t bytes) {
  void *found = aligned_alloc(IDN_ALIGNMENT, (bytes + 63) / 64 * 64);
  if (!found) exit(100);
  return found;
}

static void face(double to[10], double size, double angle) {
  static const double at[10] = {-.35, -.4, .35, -.4, 0, 0, -.3, .4, .3, .4};
  for (int i = 0; i < 10; i += 2) {
    to[i] = WIDE / 2 + size * (at[i] * cos(angle) - at[i + 1] * sin(angle));
    to[i + 1] = HIGH / 2 + size * (at[i] * sin(angle) + at[i + 1] * cos(angle));
  }
}

int main(int argc, char **argv) {
  void *weights = room(IDN_WEIGHTS_BYTES), *memory = room(IDN_EXPANDED_BYTES);
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : 0;
  idn_model model;
  if (!file || fread(weights, 1, IDN_WEIGHTS_BYTES, file) != IDN_WEIGHTS_BYTES) return 101;
  fclose(file);
  if (idn_open(&model, weights, IDN_WEIGHTS_BYTES, memory, IDN_EXPANDED_BYTES)) return 102;
  idn_pool *pool = idn_pool_new(4);
  if (!pool) return 103;
  const int workers = idn_pool_size(pool), formats[6] = {IDN_RGB8, IDN_RGBA8, IDN_BGRA8, IDN_NV12, IDN_NV21, IDN_I420};
  void *arena = room(IDN_FRAME_BYTES(workers));
  unsigned char *pixels = room(4 * WIDE * HIGH);
  for (int i = 0; i < 4 * WIDE * HIGH; i++) pixels[i] = (unsigned char)(i * 37);
  for (int round = 0; round < ROUNDS; round++) {
    const int format = formats[round % 6];
    const size_t row = format == IDN_RGB8 ? 3 * WIDE : format < IDN_NV12 ? 4 * WIDE : WIDE;
    unsigned char *chroma = pixels + WIDE * HIGH;
    const idn_frame frame = {{pixels, chroma, chroma + HALF * (HIGH + 1) / 2}, {row, format == IDN_I420 ? HALF : 2 * HALF, HALF}, WIDE, HIGH, format, round % 4};
    double landmarks[10];
    face(landmarks, 40 + 3 * round, 0.7 * round);
    if (idn_swap_frame_parallel(&model, &frame, landmarks, arena, IDN_FRAME_BYTES(workers), workers, idn_pool_parallel, pool)) return 104;
  }
  idn_pool_free(pool);
  free(weights), free(memory), free(arena), free(pixels);
  return 0;
}
