/* The generated C as a WebAssembly module that imports nothing: all memory is in it, pictures are planes of floats. */
#include "idn.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define ALIGNED __attribute__((aligned(IDN_ALIGNMENT)))
#define PLANE ((size_t)IDN_SIZE * IDN_SIZE)

static unsigned char file[IDN_WEIGHTS_BYTES] ALIGNED, memory[IDN_EXPANDED_BYTES] ALIGNED;
static unsigned char arena[IDN_ARENA_BYTES(1)] ALIGNED;
static float image[3 * PLANE], swapped[3 * PLANE], mask[PLANE];
static idn_model model;

EXPORT(weights) void *weights(void) { return file; }
EXPORT(input) void *input(void) { return image; }
EXPORT(output) void *output(void) { return swapped; }
EXPORT(alpha) void *alpha(void) { return mask; }

/* Once, when idn.weights is at weights(); 0, or an idn_status. */
EXPORT(open) int open_model(void) { return idn_open(&model, file, sizeof file, memory, sizeof memory); }

/* One frame, from input() to output() and alpha(); 0, or an idn_status. */
EXPORT(run) int run(void) {
  const size_t row = IDN_SIZE * sizeof(float);
  const idn_image in = {image, row, IDN_PLANES}, out = {swapped, row, IDN_PLANES}, cover = {mask, row, IDN_PLANES};
  return idn_run(&model, &in, &out, &cover, arena, sizeof arena);
}
