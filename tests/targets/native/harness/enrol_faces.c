/* One face, read three times in an arena that holds something else each time, with guards around everything.

   usage: enrol_faces enrol.weights in.raw out.raw [cpu [turns]]; a cpu of -1 is the best, turns are 3 or fewer
   in.raw: float32 planes [3][S][S]; out.raw: the payload. It prints the instruction set in use.
   Exit codes: 0, or 2 usage and files, 3 a payload differs from the first, 4 something outside was touched, 5 a status. */
#include "enrol.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 4096
#define MARK 0xAB
#define STRIDE (ENROL_SIZE * sizeof(float) + 64)
#define CROP (3 * ENROL_SIZE * STRIDE)

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

static void read_all(const char *name, void *into, size_t bytes) {
  FILE *file = fopen(name, "rb");
  if (!file || fread(into, 1, bytes, file) != bytes) {
    fprintf(stderr, "%s: cannot be read\n", name);
    exit(2);
  }
  fclose(file);
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "usage: enrol_faces enrol.weights in.raw out.raw [cpu [turns]]\n"), 2;
  unsigned char *weights = guarded(ENROL_WEIGHTS_BYTES), *held = malloc(ENROL_WEIGHTS_BYTES), *arena = guarded(ENROL_ARENA_BYTES);
  unsigned char *in = guarded(CROP), *payload = guarded(ENROL_PAYLOAD_BYTES), *first = malloc(ENROL_PAYLOAD_BYTES);
  float *rows = malloc(3 * ENROL_SIZE * ENROL_SIZE * sizeof(float));
  if (!held || !rows || !first) return 2;
  read_all(argv[1], weights, ENROL_WEIGHTS_BYTES);
  memcpy(held, weights, ENROL_WEIGHTS_BYTES);
  read_all(argv[2], rows, 3 * ENROL_SIZE * ENROL_SIZE * sizeof(float));
  for (int y = 0; y < 3 * ENROL_SIZE; y++) memcpy(in + y * STRIDE, rows + y * ENROL_SIZE, ENROL_SIZE * sizeof(float));

  enrol_model model;
  int status = enrol_open(&model, weights, ENROL_WEIGHTS_BYTES);
  if (!status && argc > 4 && atoi(argv[4]) >= 0) status = enrol_set_cpu(&model, atoi(argv[4]));
  if (status) return fprintf(stderr, "%s\n", enrol_error(status)), 5;
  const enrol_image crop = {in, STRIDE, ENROL_PLANES};
  const unsigned char poison[3] = {0xFF, 0x7F, 0x00}; /* NaN, 3.4e38, zero */
  const int turns = argc > 5 ? atoi(argv[5]) : 3;
  for (int turn = 0; turn < turns && turn < 3; turn++) {
    memset(arena, poison[turn], ENROL_ARENA_BYTES);
    status = enrol_run(&model, &crop, payload, ENROL_PAYLOAD_BYTES, arena, ENROL_ARENA_BYTES);
    if (status) return fprintf(stderr, "%s\n", enrol_error(status)), 5;
    if (turn == 0) memcpy(first, payload, ENROL_PAYLOAD_BYTES);
    if (memcmp(first, payload, ENROL_PAYLOAD_BYTES)) return fprintf(stderr, "turn %d differs\n", turn), 3;
    const int fine = intact(weights, ENROL_WEIGHTS_BYTES) && intact(arena, ENROL_ARENA_BYTES) && intact(in, CROP) && intact(payload, ENROL_PAYLOAD_BYTES);
    if (!fine || memcmp(held, weights, ENROL_WEIGHTS_BYTES)) return fprintf(stderr, "something else was touched\n"), 4;
  }
  FILE *file = fopen(argv[3], "wb");
  if (!file || fwrite(first, 1, ENROL_PAYLOAD_BYTES, file) != ENROL_PAYLOAD_BYTES || fclose(file)) return 2;
  printf("%d\n", model.cpu);
  free(held), free(rows), free(first);
  unsigned char *const owned[] = {weights, arena, in, payload};
  for (int i = 0; i < 4; i++) free(owned[i] - GUARD);
  return 0;
}
