/* An example: read the identity of one aligned crop, a binary .ppm of ENROL_SIZE x ENROL_SIZE pixels.
   usage: enrol_example enrol.weights in.ppm payload */
#include "enrol.h"
#include <stdio.h>
#include <stdlib.h>

static void *room(size_t bytes) {
  return aligned_alloc(ENROL_ALIGNMENT, (bytes + ENROL_ALIGNMENT - 1) / ENROL_ALIGNMENT * ENROL_ALIGNMENT);
}

int main(int argc, char **argv) {
  if (argc != 4) return fprintf(stderr, "usage: %s enrol.weights in.ppm payload\n", argv[0]), 2;
  void *weights = room(ENROL_WEIGHTS_BYTES), *arena = room(ENROL_ARENA_BYTES), *payload = malloc(ENROL_PAYLOAD_BYTES);
  unsigned char *pixels = malloc(ENROL_SIZE * ENROL_SIZE * 3);
  if (!weights || !arena || !payload || !pixels) return fprintf(stderr, "no memory\n"), 1;
  FILE *file = fopen(argv[1], "rb");
  const size_t got = file ? fread(weights, 1, ENROL_WEIGHTS_BYTES, file) : 0;
  if (file) fclose(file);
  enrol_model model; /* reads the weights for as long as it is used */
  int status = enrol_open(&model, weights, got);
  if (status) return fprintf(stderr, "%s: %s\n", argv[1], enrol_error(status)), 2;
  file = fopen(argv[2], "rb");
  int wide = 0, high = 0;
  if (!file || fscanf(file, "P6 %d %d 255", &wide, &high) != 2 || fgetc(file) == EOF || wide != ENROL_SIZE || high != ENROL_SIZE ||
      fread(pixels, 3, ENROL_SIZE * ENROL_SIZE, file) != ENROL_SIZE * ENROL_SIZE)
    return fprintf(stderr, "%s: is not a P6 picture of %d x %d pixels\n", argv[2], ENROL_SIZE, ENROL_SIZE), 2;
  fclose(file);
  const enrol_image crop = {pixels, ENROL_SIZE * 3, ENROL_RGB8};
  status = enrol_run(&model, &crop, payload, ENROL_PAYLOAD_BYTES, arena, ENROL_ARENA_BYTES);
  if (status) return fprintf(stderr, "%s\n", enrol_error(status)), 1;
  file = fopen(argv[3], "wb");
  if (!file || fwrite(payload, 1, ENROL_PAYLOAD_BYTES, file) != ENROL_PAYLOAD_BYTES || fclose(file))
    return fprintf(stderr, "%s: cannot be written\n", argv[3]), 1;
  free(pixels);
  free(payload);
  free(arena);
  free(weights);
  return 0;
}
