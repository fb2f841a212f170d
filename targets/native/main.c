/* An example: swap the face of one aligned crop, a binary .ppm of IDN_SIZE x IDN_SIZE pixels.
   usage: idn_example idn.weights in.ppm out.ppm, or without idn.weights where they are embedded */
#include "idn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *room(size_t bytes) {
  return aligned_alloc(IDN_ALIGNMENT, (bytes + IDN_ALIGNMENT - 1) / IDN_ALIGNMENT * IDN_ALIGNMENT);
}

#ifdef IDN_EMBEDDED
#define PICTURES 1 /* the first argument that is one */
static int open_model(idn_model *model, const char *name) {
  (void)name;
  return idn_open(model, idn_weights, sizeof idn_weights, room(IDN_EXPANDED_BYTES), IDN_EXPANDED_BYTES);
}
#else
#define PICTURES 2
static int open_model(idn_model *model, const char *name) {
  void *weights = room(IDN_WEIGHTS_BYTES); /* the model reads it for as long as it is used */
  FILE *file = fopen(name, "rb");
  const size_t got = file && weights ? fread(weights, 1, IDN_WEIGHTS_BYTES, file) : 0;
  if (file) fclose(file);
  return idn_open(model, weights, got, room(IDN_EXPANDED_BYTES), IDN_EXPANDED_BYTES); /* as is this memory */
}
#endif

int main(int argc, char **argv) {
  if (argc != PICTURES + 2) return fprintf(stderr, "usage: %s%s in.ppm out.ppm\n", argv[0], PICTURES == 2 ? " idn.weights" : ""), 2;
  const char *from = argv[PICTURES], *to = argv[PICTURES + 1];
  void *arena = room(IDN_ARENA_BYTES(1));
  unsigned char *pixels = malloc(IDN_SIZE * IDN_SIZE * 3);
  if (!arena || !pixels) return fprintf(stderr, "no memory\n"), 1;
  idn_model model;
  int status = open_model(&model, argv[1]);
  if (status) return fprintf(stderr, "%s: %s\n", argv[1], idn_error(status)), 2;
  FILE *file = fopen(from, "rb");
  int wide = 0, high = 0;
  if (!file || fscanf(file, "P6 %d %d 255", &wide, &high) != 2 || fgetc(file) == EOF || wide != IDN_SIZE || high != IDN_SIZE ||
      fread(pixels, 3, IDN_SIZE * IDN_SIZE, file) != IDN_SIZE * IDN_SIZE)
    return fprintf(stderr, "%s: is not a P6 picture of %d x %d pixels\n", from, IDN_SIZE, IDN_SIZE), 2;
  fclose(file);
  const idn_image picture = {pixels, IDN_SIZE * 3, IDN_RGB8}, mask = {0};
  status = idn_run(&model, &picture, &picture, &mask, arena, IDN_ARENA_BYTES(1));
  if (status) return fprintf(stderr, "%s\n", idn_error(status)), 1;
  file = fopen(to, "wb");
  if (!file || fprintf(file, "P6\n%d %d\n255\n", IDN_SIZE, IDN_SIZE) < 0 || fwrite(pixels, 3, IDN_SIZE * IDN_SIZE, file) != IDN_SIZE * IDN_SIZE || fclose(file))
    return fprintf(stderr, "%s: cannot be written\n", to), 1;
  free(pixels);
  free(arena);
  return 0;
}
