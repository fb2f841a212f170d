/* Every wrong call: its own error code, and nothing that was handed over has changed. Every format: the same payload.

   usage: enrol_wrong_calls enrol.weights
   Prints a line per case that fails; exits with how many did. */
#include "enrol.h"
#include "enrol_pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW (ENROL_SIZE * sizeof(float))
#define IDENTITY ((ENROL_PAYLOAD_BYTES + 63) / 64 * 64 + 64)

enum { WEIGHTS, ARENA, CROP, PAYLOAD, MODEL, SAME, BLOCKS };
static unsigned char *block[BLOCKS];
static size_t length[BLOCKS];
static int failures, cases;
static uint64_t before;

static uint64_t hash(void) {
  uint64_t h = UINT64_C(14695981039346656037);
  for (int b = 0; b < BLOCKS; b++)
    for (size_t i = 0; i < length[b]; i++) h = (h ^ block[b][i]) * UINT64_C(1099511628211);
  return h;
}

/* malloc'd so that a sanitiser or valgrind sees the first byte outside. */
static void new_block(int which, size_t bytes) {
  length[which] = bytes;
  block[which] = aligned_alloc(ENROL_ALIGNMENT, (bytes + 63) / 64 * 64);
  if (!block[which]) exit(100);
  memset(block[which], 0x5C, (bytes + 63) / 64 * 64);
}

static void expect(const char *name, int status, int wanted) {
  cases++;
  if (status != wanted) failures++, printf("%s: %d (%s) instead of %d (%s)\n", name, status, enrol_error(status), wanted, enrol_error(wanted));
  if (hash() != before) failures++, printf("%s: something was written\n", name), before = hash();
}

static void put(unsigned char *at, unsigned value) { memcpy(at, &value, 4); }

typedef struct {
  const char *name;
  size_t at;
  unsigned value;
  int status;
} edit;

static void damaged(enrol_model *model) {
  const edit edits[] = {
      {"magic", 0, 0x58585858, ENROL_EMAGIC},       {"version", 4, 99, ENROL_EVERSION},
      {"byte order", 8, 0x04030201, ENROL_EENDIAN}, {"no byte order", 8, 0, ENROL_EVERSION},
      {"header", 12, 65, ENROL_EVERSION},           {"network", 16, 1, ENROL_ENETWORK},
      {"body", 24, 0, ENROL_ENETWORK},              {"sum", 32, 1, ENROL_ECHECKSUM},
      {"first number", 64, 0x12345678, ENROL_ECHECKSUM}, {"last number", ENROL_WEIGHTS_BYTES - 4, 0x12345678, ENROL_ECHECKSUM},
  };
  for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
    unsigned kept;
    memcpy(&kept, block[WEIGHTS] + edits[i].at, 4);
    put(block[WEIGHTS] + edits[i].at, edits[i].value);
    before = hash();
    expect(edits[i].name, enrol_open(model, block[WEIGHTS], ENROL_WEIGHTS_BYTES), edits[i].status);
    put(block[WEIGHTS] + edits[i].at, kept);
  }
  before = hash();
  expect("a cut header", enrol_open(model, block[WEIGHTS], 63), ENROL_ESHORT);
  expect("a cut file", enrol_open(model, block[WEIGHTS], ENROL_WEIGHTS_BYTES - 1), ENROL_ESHORT);
  expect("no file", enrol_open(model, block[WEIGHTS], 0), ENROL_ESHORT);
  expect("weights aside", enrol_open(model, block[WEIGHTS] + 4, ENROL_WEIGHTS_BYTES), ENROL_EALIGN);
  expect("no model", enrol_open(0, block[WEIGHTS], ENROL_WEIGHTS_BYTES), ENROL_ENULL);
  expect("no weights", enrol_open(model, 0, ENROL_WEIGHTS_BYTES), ENROL_ENULL);
}

static void runs(const enrol_model *m) {
  void *a = block[ARENA], *p = block[PAYLOAD];
  const size_t A = ENROL_ARENA_BYTES, P = ENROL_PAYLOAD_BYTES;
  const enrol_image good = {block[CROP], ROW, ENROL_PLANES};
  const enrol_model closed = {0, 0};
  enrol_image image = good;
  expect("never opened", enrol_run(&closed, &good, p, P, a, A), ENROL_ENULL);
  expect("no model", enrol_run(0, &good, p, P, a, A), ENROL_ENULL);
  expect("no crop", enrol_run(m, 0, p, P, a, A), ENROL_ENULL);
  expect("no payload", enrol_run(m, &good, 0, P, a, A), ENROL_ENULL);
  expect("no arena", enrol_run(m, &good, p, P, 0, A), ENROL_ENULL);
  image.data = 0, expect("no pixels", enrol_run(m, &image, p, P, a, A), ENROL_ENULL), image = good;
  image.data = block[CROP] + 1, expect("floats aside", enrol_run(m, &image, p, P, a, A), ENROL_EALIGN), image = good;
  expect("arena aside", enrol_run(m, &good, p, P, (char *)a + 4, A), ENROL_EALIGN);
  expect("a small arena", enrol_run(m, &good, p, P, a, A - 1), ENROL_EARENA);
  expect("a small payload", enrol_run(m, &good, p, P - 1, a, A), ENROL_EPAYLOAD);
  const int formats[] = {-1, 4, 99};
  for (int i = 0; i < 3; i++) image.format = formats[i], expect("a format", enrol_run(m, &image, p, P, a, A), ENROL_EFORMAT);
  image = good;
  const size_t strides[] = {0, ROW - 1, ROW + 1, (size_t)-1, PTRDIFF_MAX};
  for (int i = 0; i < 5; i++) image.stride = strides[i], expect("a stride", enrol_run(m, &image, p, P, a, A), ENROL_ESTRIDE);
  image = good;
  for (int format = ENROL_RGB8; format <= ENROL_BGRA8; format++) {
    image.format = format, image.stride = ENROL_SIZE * (format == ENROL_RGB8 ? 3 : 4) - 1;
    expect("a stride of bytes", enrol_run(m, &image, p, P, a, A), ENROL_ESTRIDE);
  }
  const int workers[] = {0, -1, ENROL_MAX_WORKERS + 1};
  for (int i = 0; i < 3; i++) expect("workers", enrol_run_parallel(m, &good, p, P, a, A, workers[i], enrol_pool_parallel, 0), ENROL_EWORKERS);
  expect("no callback", enrol_run_parallel(m, &good, p, P, a, A, 1, 0, 0), ENROL_ENULL);
  expect("a stage before the first", enrol_run_stage(m, &good, p, P, a, A, -1, 0), ENROL_ESTAGE);
  expect("a stage behind the last", enrol_run_stage(m, &good, p, P, a, A, ENROL_STAGES, 0), ENROL_ESTAGE);
}

static void cpus(enrol_model *m) {
  expect("no such processor", enrol_set_cpu(m, -1), ENROL_ECPU);
  expect("no such processor", enrol_set_cpu(m, 3), ENROL_ECPU);
  expect("no model", enrol_set_cpu(0, 0), ENROL_ENULL);
}

static void identities(void) {
  const struct { uint32_t version, order, header; uint64_t network, base, bytes; } told = {2, 0x01020304, 64, 7, 9, IDENTITY - 64};
  memcpy(block[SAME], "IDNI", 4);
  memcpy(block[SAME] + 4, &told.version, 4), memcpy(block[SAME] + 8, &told.order, 4), memcpy(block[SAME] + 12, &told.header, 4);
  memcpy(block[SAME] + 16, &told.network, 8), memcpy(block[SAME] + 24, &told.base, 8), memcpy(block[SAME] + 32, &told.bytes, 8);
  const void *p = block[PAYLOAD];
  const edit edits[] = {
      {"an identity's magic", 0, 0x58585858, ENROL_EMAGIC}, {"its version", 4, 3, ENROL_EVERSION},
      {"its byte order", 8, 0x04030201, ENROL_EENDIAN},     {"its header", 12, 63, ENROL_EVERSION},
      {"its size", 32, IDENTITY, ENROL_ENETWORK},
  };
  for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
    unsigned kept;
    memcpy(&kept, block[SAME] + edits[i].at, 4);
    put(block[SAME] + edits[i].at, edits[i].value);
    before = hash();
    expect(edits[i].name, enrol_identity(block[SAME], IDENTITY, p, ENROL_PAYLOAD_BYTES), edits[i].status);
    put(block[SAME] + edits[i].at, kept);
  }
  before = hash();
  expect("no identity", enrol_identity(0, IDENTITY, p, ENROL_PAYLOAD_BYTES), ENROL_ENULL);
  expect("no payload", enrol_identity(block[SAME], IDENTITY, 0, ENROL_PAYLOAD_BYTES), ENROL_ENULL);
  expect("a cut identity", enrol_identity(block[SAME], IDENTITY - 1, p, ENROL_PAYLOAD_BYTES), ENROL_ESHORT);
  expect("a cut header", enrol_identity(block[SAME], 63, p, ENROL_PAYLOAD_BYTES), ENROL_ESHORT);
  expect("a cut payload", enrol_identity(block[SAME], IDENTITY, p, ENROL_PAYLOAD_BYTES - 1), ENROL_EPAYLOAD);
}

/* The same picture in every format and on several workers, in memory that ends where it must. */
static void formats(const enrol_model *m, enrol_pool *pool) {
  const size_t plane = (size_t)ENROL_SIZE * ENROL_SIZE;
  unsigned char *first = malloc(ENROL_PAYLOAD_BYTES);
  float *planes = malloc(3 * plane * sizeof *planes);
  if (!first || !planes) exit(100);
  for (size_t i = 0; i < 3 * plane; i++) planes[i] = (float)(i * 37 % 256) * (1.0f / 255.0f);
  for (int format = ENROL_PLANES; format <= ENROL_BGRA8; format++) {
    const size_t step = format == ENROL_RGB8 ? 3 : 4;
    unsigned char *bytes = malloc(step * plane);
    if (!bytes) exit(100);
    for (size_t i = 0; i < plane; i++)
      for (size_t c = 0; c < 3; c++) bytes[i * step + (format == ENROL_BGRA8 ? 2 - c : c)] = (unsigned char)((i + c * plane) * 37 % 256);
    const int floats = format == ENROL_PLANES;
    const enrol_image crop = {floats ? (void *)planes : (void *)bytes, floats ? ROW : step * ENROL_SIZE, format};
    memset(block[PAYLOAD], 0x11, length[PAYLOAD]);
    const int status = enrol_run_parallel(m, &crop, block[PAYLOAD], ENROL_PAYLOAD_BYTES, block[ARENA], ENROL_ARENA_BYTES, enrol_pool_size(pool), enrol_pool_parallel, pool);
    if (floats) memcpy(first, block[PAYLOAD], ENROL_PAYLOAD_BYTES);
    cases++;
    if (status || memcmp(first, block[PAYLOAD], ENROL_PAYLOAD_BYTES)) failures++, printf("format %d: another payload, %d\n", format, status);
    free(bytes);
  }
  free(first), free(planes);
}

int main(int argc, char **argv) {
  if (argc != 2) return 100;
  new_block(WEIGHTS, ENROL_WEIGHTS_BYTES), new_block(ARENA, ENROL_ARENA_BYTES), new_block(CROP, 3 * ENROL_SIZE * ROW);
  new_block(PAYLOAD, ENROL_PAYLOAD_BYTES), new_block(MODEL, sizeof(enrol_model)), new_block(SAME, IDENTITY);
  FILE *file = fopen(argv[1], "rb");
  if (!file || fread(block[WEIGHTS], 1, ENROL_WEIGHTS_BYTES, file) != ENROL_WEIGHTS_BYTES) return 100;
  fclose(file);
  enrol_model *model = (enrol_model *)(void *)block[MODEL];
  damaged(model);
  if (enrol_open(model, block[WEIGHTS], ENROL_WEIGHTS_BYTES)) return 100;
  before = hash();
  runs(model);
  cpus(model);
  identities();
  enrol_pool *pool = enrol_pool_new(3);
  formats(model, pool);
  enrol_pool_free(pool);
  for (int b = 0; b < BLOCKS; b++) free(block[b]);
  printf("%d cases, %d failures\n", cases, failures);
  return failures;
}
