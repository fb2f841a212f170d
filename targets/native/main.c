/* An example: swap the face of one aligned crop, a binary .ppm of IDN_SIZE x IDN_SIZE pixels.
   usage: idn_example idn.weights in.ppm out.ppm */
#include "idn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *room(size_t bytes) {
  return aligned_alloc(IDN_ALIGNMENT, (bytes + IDN_ALIGNMENT - 1) / IDN_ALIGNMENT * IDN_ALIGNMENT);
}

static size_t read_all(const char *name, void *into, size_t bytes) {
  FILE *file = fopen(name, "rb");
  const size_t got = file ? fread(into, 1, bytes, file) : 0;
  if (file) fclose(file);
  return got;
}

int main(int argc, char **argv) {
  if (argc != 4) return fprintf(stderr, "usage: %s idn.weights in.ppm out.ppm\n", argv[0]), 2;
  void *weights = room(IDN_WEIGHTS_BYTES), *arena = room(IDN_ARENA_BYTES(1));
  unsigned char *pixels = malloc(IDN_SIZE * IDN_SIZE * 3);
  if (!weights || !arena || !pixels) return fprintf(stderr, "no memory\n"), 1;
  idn_model model;
  int status = idn_open(&model, weights, read_all(argv[1], weights, IDN_WEIGHTS_BYTES));
  if (status) return fprintf(stderr, "%s: %s\n", argv[1], idn_error(status)), 2;
  FILE *file = fopen(argv[2], "rb");
  int wide = 0, high = 0;
  if (!file || fscanf(file, "P6 %d %d 255", &wide, &high) != 2 || fgetc(file) == EOF || wide != IDN_SIZE || high != IDN_SIZE ||
      fread(pixels, 3, IDN_SIZE * IDN_SIZE, file) != IDN_SIZE * IDN_SIZE)
    return fprintf(stderr, "%s: is not a P6 picture of %d x %d pixels\n", argv[2], IDN_SIZE, IDN_SIZE), 2;
  fclose(file);
  const idn_image picture = {pixels, IDN_SIZE * 3, IDN_RGB8}, mask = {0};
  status = idn_run(&model, &picture, &picture, &mask, arena, IDN_ARENA_BYTES(1));
  if (status) return fprintf(stderr, "%s\n", idn_error(status)), 1;
  file = fopen(argv[3], "wb");
  if (!file || fprintf(file, "P6\n%d %d\n255\n", IDN_SIZE, IDN_SIZE) < 0 || fwrite(pixels, 3, IDN_SIZE * IDN_SIZE, file) != IDN_SIZE * IDN_SIZE || fclose(file))
    return fprintf(stderr, "%s: cannot be written\n", argv[3]), 1;
  free(pixels);
  free(arena);
  free(weights);
  return 0;
}
