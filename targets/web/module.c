/* The generated C as a WebAssembly module that imports nothing: all memory is in it, and never grows.
   Pictures lie at image() and swapped(), as planes of floats or as bytes; the mask at mask(), as floats or bytes.
   PRECISION is given to the compiler, as a string. */
#include "idn.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define ALIGNED __attribute__((aligned(IDN_ALIGNMENT)))
#define PIXELS ((size_t)IDN_SIZE * IDN_SIZE)

static unsigned char file[IDN_WEIGHTS_BYTES] ALIGNED, memory[IDN_EXPANDED_BYTES] ALIGNED;
static unsigned char arena[IDN_ARENA_BYTES(1)] ALIGNED;
static unsigned char given[12 * PIXELS] ALIGNED, made[12 * PIXELS] ALIGNED, cover[4 * PIXELS] ALIGNED;
static idn_model model;
static idn_image in, out, shade;
static const char *stage_name = "";

/* There is no C library here. */
int memcmp(const void *one, const void *other, size_t bytes) {
  const unsigned char *a = one, *b = other;
  for (; bytes; bytes--, a++, b++)
    if (*a != *b) return *a - *b;
  return 0;
}

EXPORT(size) int size(void) { return IDN_SIZE; }
EXPORT(weights_bytes) int weights_bytes(void) { return IDN_WEIGHTS_BYTES; }
EXPORT(identity_bytes) int identity_bytes(void) { return IDN_IDENTITY_BYTES; }
EXPORT(stages) int stages(void) { return IDN_STAGES; }
EXPORT(weights) void *weights(void) { return file; }
EXPORT(image) void *image(void) { return given; }
EXPORT(swapped) void *swapped(void) { return made; }
EXPORT(mask) void *mask(void) { return cover; }
EXPORT(precision) const char *precision(void) { return PRECISION; }
EXPORT(error) const char *error(int status) { return idn_error(status); }

/* Once, when idn.weights lies at weights(); 0, or an idn_status. */
EXPORT(open) int open_model(void) { return idn_open(&model, file, sizeof file, memory, sizeof memory); }

/* Another identity, which lies in the last identity_bytes() of weights(). What is refused changes nothing. */
EXPORT(set_identity) int set_identity(void) {
  return idn_set_identity(&model, file + IDN_WEIGHTS_BYTES - IDN_IDENTITY_BYTES, IDN_IDENTITY_BYTES, memory, sizeof memory);
}

/* How pictures lie from now on: an idn_format. The mask is of bytes beside IDN_RGB8, else of floats. */
EXPORT(use) void use(int format) {
  const size_t pixel = format == IDN_PLANES ? sizeof(float) : format == IDN_RGB8 ? 3 : 4;
  in = (idn_image){given, IDN_SIZE * pixel, format};
  out = (idn_image){made, IDN_SIZE * pixel, format};
  shade = format == IDN_RGB8 ? (idn_image){cover, IDN_SIZE, IDN_GRAY8} : (idn_image){cover, IDN_SIZE * sizeof(float), IDN_PLANES};
}

/* One frame, from image() to swapped() and mask(); 0, or an idn_status. */
EXPORT(run) int run(void) { return idn_run(&model, &in, &out, &shade, arena, sizeof arena); }

/* One stage of a frame, 0..stages()-1 in order, to be timed; stage_at() then is its name. */
EXPORT(run_stage) int run_stage(int stage) {
  return idn_run_stage(&model, &in, &out, &shade, arena, sizeof arena, stage, &stage_name);
}
EXPORT(stage_at) const char *stage_at(void) { return stage_name; }
