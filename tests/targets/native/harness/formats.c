/* Every pair of picture formats, packed, with gaps and in place, in blocks that end with the last pixel.

   usage: formats idn.weights
   Meant for a sanitiser or valgrind, which see what lies outside of a block; it compares the pictures itself, too. */
#include "idn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t channels[5] = {3, 3, 4, 4, 1};
static int failures;

/* Bytes of a picture: the last row ends with its last pixel, whatever the stride. */
static size_t extent(int format, size_t stride, int planes) {
  if (format == IDN_PLANES) return (planes * IDN_SIZE - 1) * stride + IDN_SIZE * sizeof(float);
  return (IDN_SIZE - 1) * stride + IDN_SIZE * channels[format];
}

static size_t row(int format) { return format == IDN_PLANES ? IDN_SIZE * sizeof(float) : IDN_SIZE * channels[format]; }

static unsigned byte_at(int x, int y, int c) { return (unsigned)(x * 7 + y * 13 + c * 101 + (x * y) % 31) & 255; }

static void draw(unsigned char *data, int format, size_t stride) {
  for (int y = 0; y < IDN_SIZE; y++)
    for (int x = 0; x < IDN_SIZE; x++)
      for (int c = 0; c < 3; c++) {
        const unsigned value = byte_at(x, y, c);
        const float scaled = (float)value * (1.0f / 255.0f);
        if (format == IDN_PLANES) memcpy(data + (c * IDN_SIZE + y) * stride + x * sizeof(float), &scaled, sizeof scaled);
        else data[y * stride + x * channels[format] + (format == IDN_BGRA8 ? 2 - c : c)] = (unsigned char)value;
      }
}

static unsigned seen(const unsigned char *data, int format, size_t stride, int x, int y, int c) {
  if (format == IDN_PLANES) {
    float value;
    memcpy(&value, data + (c * IDN_SIZE + y) * stride + x * sizeof(float), sizeof value);
    return (unsigned)(value * 255.0f + 0.5f);
  }
  if (format == IDN_GRAY8) return data[y * stride + x];
  return data[y * stride + x * channels[format] + (format == IDN_BGRA8 ? 2 - c : c)];
}

static unsigned char *filled(size_t bytes) {
  unsigned char *data = malloc(bytes); /* to the byte: what lies behind is not ours */
  if (!data) exit(100);
  memset(data, 0x33, bytes);
  return data;
}

static unsigned reference[3][IDN_SIZE][IDN_SIZE];
static int have_reference;

static void judge(const unsigned char *out, int format, size_t stride, const char *what) {
  for (int y = 0; y < IDN_SIZE; y++)
    for (int x = 0; x < IDN_SIZE; x++)
      for (int c = 0; c < 3; c++) {
        const unsigned value = seen(out, format, stride, x, y, c);
        if (!have_reference) reference[c][y][x] = value;
        if (value != reference[c][y][x]) {
          failures++, printf("%s: pixel %d, %d of %d is %u instead of %u\n", what, x, y, c, value, reference[c][y][x]);
          return;
        }
      }
  have_reference = 1;
  if (format == IDN_RGBA8 || format == IDN_BGRA8)
    for (int y = 0; y < IDN_SIZE; y++)
      for (int x = 0; x < IDN_SIZE; x++)
        if (out[y * stride + 4 * x + 3] != 0x33) { failures++, printf("%s: alpha was written\n", what); return; }
  for (int y = 0; y + 1 < IDN_SIZE; y++)
    for (size_t i = row(format); i < stride; i++)
      if (out[y * stride + i] != 0x33) { failures++, printf("%s: a gap was written\n", what); return; }
}

static void one(const idn_model *model, int from, int to, int shown, size_t gap, int in_place, void *arena) {
  const size_t strides[3] = {row(from) + gap, row(to) + gap, row(shown) + gap};
  unsigned char *in = filled(extent(from, strides[0], 3)), *out = in_place ? in : filled(extent(to, strides[1], 3));
  unsigned char *mask = shown == IDN_RGB8 ? 0 : filled(extent(shown, strides[2], 1));
  draw(in, from, strides[0]);
  const idn_image a = {in, strides[0], from}, b = {out, strides[1], to}, m = {mask, strides[2], shown};
  char what[80];
  snprintf(what, sizeof what, "%d to %d, mask %d, gap %d%s", from, to, shown, (int)gap, in_place ? ", in place" : "");
  const int status = idn_run(model, &a, &b, &m, arena, IDN_ARENA_BYTES(1));
  if (status) failures++, printf("%s: %s\n", what, idn_error(status));
  else judge(out, to, strides[1], what);
  free(in), free(mask);
  if (!in_place) free(out);
}

int main(int argc, char **argv) {
  void *weights = aligned_alloc(64, IDN_WEIGHTS_BYTES), *arena = aligned_alloc(64, IDN_ARENA_BYTES(1)), *memory = aligned_alloc(64, IDN_EXPANDED_BYTES);
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : 0;
  idn_model model;
  if (!weights || !arena || !memory || !file || fread(weights, 1, IDN_WEIGHTS_BYTES, file) != IDN_WEIGHTS_BYTES) return 101;
  fclose(file);
  if (idn_open(&model, weights, IDN_WEIGHTS_BYTES, memory, IDN_EXPANDED_BYTES)) return 102;
  for (int cpu = model.cpu; cpu >= 0; cpu--) {
    if (idn_set_cpu(&model, cpu)) return 103;
    have_reference = 0;
    for (int from = IDN_PLANES; from <= IDN_BGRA8; from++)
      for (int to = IDN_PLANES; to <= IDN_BGRA8; to++)
        for (int shown = 0; shown < 3; shown++) { /* planes, none (as 1), gray */
          const int mask = shown == 2 ? IDN_GRAY8 : shown;
          for (size_t gap = 0; gap <= 12; gap += 12) one(&model, from, to, mask, gap, 0, arena);
          if (from == to) one(&model, from, to, mask, 4, 1, arena);
        }
  }
  free(weights), free(memory), free(arena);
  return failures > 99 ? 99 : failures;
}
