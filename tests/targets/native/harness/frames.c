/* One frame, computed three times in an arena that holds something else each time, with guards around everything.

   usage: frames idn.weights in.raw out.raw [cpu [turns]]; a cpu of -1 is the best, turns are 3 or fewer
   in.raw: float32 planes [3][S][S]; out.raw: the swapped planes and then the mask. It prints the instruction set in use.
   Exit codes: 0, or 2 usage and files, 3 a frame differs from the first, 4 something outside was touched, 5 a status. */
#include "idn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 4096
#define MARK 0xAB
#define STRIDE (IDN_SIZE * sizeof(float) + 64)
#define PICTURE (3 * IDN_SIZE * STRIDE)
#define PLANE (IDN_SIZE * STRIDE)

/* `bytes` between two guards, at a multiple of 64. */
static unsigned char *guarded(size_t bytes) {
  const size_t whole = (bytes + 2 * GUARD + 63) / 64 * 64;
  unsigned char *room = aligned_alloc(64, whole);
  if (!room) exit(2);
  memset(room, MARK, whole);
  return room + GUARD;
}

static int marked(const unsigned char *from, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    if (from[i] != MARK) return 0;
  return 1;
}

static int intact(const unsigned char *at, size_t bytes) { return marked(at - GUARD, GUARD) && marked(at + bytes, GUARD); }

/* Whether the bytes between the rows of a picture are still marked. */
static int gaps(const unsigned char *picture, int rows) {
  for (int y = 0; y < rows; y++)
    if (!marked(picture + y * STRIDE + IDN_SIZE * sizeof(float), STRIDE - IDN_SIZE * sizeof(float))) return 0;
  return 1;
}

static void read_all(const char *name, void *into, size_t bytes) {
  FILE *file = fopen(name, "rb");
  if (!file || fread(into, 1, bytes, file) != bytes) {
    fprintf(stderr, "%s: cannot be read\n", name);
    exit(2);
  }
  fclose(file);
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "usage: frames idn.weights in.raw out.raw [cpu [turns]]\n"), 2;
  const size_t room = IDN_ARENA_BYTES(1);
  unsigned char *weights = guarded(IDN_WEIGHTS_BYTES), *held = malloc(IDN_WEIGHTS_BYTES), *arena = guarded(room), *memory = guarded(IDN_EXPANDED_BYTES);
  unsigned char *in = guarded(PICTURE), *out = guarded(PICTURE), *mask = guarded(PLANE);
  float *rows = malloc(3 * IDN_SIZE * IDN_SIZE * sizeof(float)), *first = malloc(4 * IDN_SIZE * IDN_SIZE * sizeof(float));
  if (!held || !rows || !first) return 2;
  read_all(argv[1], weights, IDN_WEIGHTS_BYTES);
  memcpy(held, weights, IDN_WEIGHTS_BYTES);
  read_all(argv[2], rows, 3 * IDN_SIZE * IDN_SIZE * sizeof(float));
  for (int y = 0; y < 3 * IDN_SIZE; y++) memcpy(in + y * STRIDE, rows + y * IDN_SIZE, IDN_SIZE * sizeof(float));

  idn_model model;
  int status = idn_open(&model, weights, IDN_WEIGHTS_BYTES, memory, IDN_EXPANDED_BYTES);
  if (!status && argc > 4 && atoi(argv[4]) >= 0) status = idn_set_cpu(&model, atoi(argv[4]));
  if (status) return fprintf(stderr, "%s\n", idn_error(status)), 5;
  const idn_image picture = {in, STRIDE, IDN_PLANES}, swapped = {out, STRIDE, IDN_PLANES}, shown = {mask, STRIDE, IDN_PLANES};
  const unsigned char poison[3] = {0xFF, 0x7F, 0x00}; /* NaN, 3.4e38, zero */
  const int turns = argc > 5 ? atoi(argv[5]) : 3;
  for (int turn = 0; turn < turns && turn < 3; turn++) {
    memset(arena, poison[turn], room);
    status = idn_run(&model, &picture, &swapped, &shown, arena, room);
    if (status) return fprintf(stderr, "%s\n", idn_error(status)), 5;
    for (int y = 0; y < 4 * IDN_SIZE; y++) {
      const unsigned char *row = y < 3 * IDN_SIZE ? out + y * STRIDE : mask + (y - 3 * IDN_SIZE) * STRIDE;
      if (turn == 0) memcpy(first + y * IDN_SIZE, row, IDN_SIZE * sizeof(float));
      if (memcmp(first + y * IDN_SIZE, row, IDN_SIZE * sizeof(float))) return fprintf(stderr, "row %d differs\n", y), 3;
    }
    const int fine = intact(weights, IDN_WEIGHTS_BYTES) && intact(memory, IDN_EXPANDED_BYTES) && intact(arena, room) && intact(in, PICTURE) && intact(out, PICTURE) &&
                     intact(mask, PLANE) && gaps(in, 3 * IDN_SIZE) && gaps(out, 3 * IDN_SIZE) && gaps(mask, IDN_SIZE);
    if (!fine || memcmp(held, weights, IDN_WEIGHTS_BYTES)) return fprintf(stderr, "something else was touched\n"), 4;
  }
  FILE *file = fopen(argv[3], "wb");
  if (!file || fwrite(first, sizeof(float), 4 * IDN_SIZE * IDN_SIZE, file) != 4 * IDN_SIZE * IDN_SIZE || fclose(file)) return 2;
  printf("%d\n", model.cpu);
  free(held), free(rows), free(first);
  unsigned char *const owned[] = {weights, memory, arena, in, out, mask};
  for (int i = 0; i < 6; i++) free(owned[i] - GUARD);
  return 0;
}
