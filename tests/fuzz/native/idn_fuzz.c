/* libFuzzer on the generated C: edited weights and identities, and pictures, arenas and workers of any kind.

   An input is a `plan` and then edits of the weights, [place, value] of four bytes each. Most edits would end at the
   checksum, so a plan may have it put right: then the numbers are anything, NaN included, and a frame is computed.
   What is checked beside the sanitisers: every status is one of the header's, and on an error nothing was written.
   $IDN_FUZZ_WEIGHTS names sound weights. */
#include "idn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 64
#define SHARED (IDN_WEIGHTS_BYTES - IDN_IDENTITY_BYTES - HEADER)
#define MOST ((size_t)1 << 20) /* bytes of a picture that is handed over */

typedef struct {
  uint8_t kind, stage, cpu, workers;     /* kind: bits, see below */
  int8_t format[3];                      /* of in, out, mask */
  uint8_t missing;                       /* bits: which pointers are null */
  uint16_t stride[3];                    /* added to a row; 0xffff: shorter, 0xfffe: beyond memory */
  uint16_t arena_less, weights_less;     /* bytes, as memory_less */
  uint8_t arena_off, weights_off, identity_off, image_off, memory_off, memory_less;
} plan;
enum { SUMS = 1, BASES = 2, IDENTITY = 4, BY_STAGE = 8, PARALLEL = 16, SECOND = 32, HEADERS = 64 };

static unsigned char *sound;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  const char *name = getenv("IDN_FUZZ_WEIGHTS");
  FILE *file = name ? fopen(name, "rb") : 0;
  sound = malloc(IDN_WEIGHTS_BYTES);
  if (!file || !sound || fread(sound, 1, IDN_WEIGHTS_BYTES, file) != IDN_WEIGHTS_BYTES) abort();
  fclose(file);
  return 0;
}

/* As idn_sum; the harness sees the header alone. */
static uint64_t sum(const unsigned char *p, size_t bytes) {
  uint64_t h[4], total = 0;
  for (uint64_t i = 0; i < 4; i++) h[i] = UINT64_C(14695981039346656037) + i;
  for (; bytes >= 32; bytes -= 32, p += 32)
    for (int i = 0; i < 4; i++) {
      uint64_t word;
      memcpy(&word, p + 8 * i, 8);
      h[i] = (h[i] ^ word) * UINT64_C(1099511628211);
      h[i] ^= h[i] >> 29;
    }
  for (int i = 0; i < 4; i++) total = total * 31 + h[i];
  return total;
}

static void repair(unsigned char *data, int kind) {
  unsigned char *own = data + HEADER + SHARED;
  if (kind & HEADERS) memcpy(data, sound, HEADER), memcpy(own, sound + HEADER + SHARED, HEADER);
  const uint64_t base = sum(data + HEADER, SHARED), identity = sum(own + HEADER, IDN_IDENTITY_BYTES - HEADER);
  if (kind & SUMS) memcpy(data + 40, &base, 8), memcpy(own + 40, &identity, 8);
  if (kind & BASES) memcpy(data + 24, &base, 8), memcpy(own + 24, &base, 8);
}

static void check(int status) {
  if (status > 0 || status < IDN_EMEMORY || !strcmp(idn_error(status), "unknown")) abort();
}

/* A block of `bytes` whose start is `off` behind a multiple of 64, and its end the end of what was allocated. */
static unsigned char *block(size_t bytes, size_t off, unsigned char **owner) {
  *owner = aligned_alloc(64, (bytes + off + 63) / 64 * 64);
  if (!*owner) exit(0);
  memset(*owner, 0x5C, (bytes + off + 63) / 64 * 64);
  return *owner + off;
}

static size_t row(int format) {
  static const size_t channels[5] = {0, 3, 4, 4, 1};
  return format == IDN_PLANES ? IDN_SIZE * sizeof(float) : format > 0 && format < 5 ? IDN_SIZE * channels[format] : 16;
}

typedef struct {
  unsigned char *data;
  size_t bytes;
  idn_image image;
} picture;

/* As large as its format and stride say, to the byte. */
static picture drawn(const plan *p, int which) {
  const int format = p->format[which];
  const size_t width = row(format), rows = (format == IDN_PLANES && which < 2 ? 3 : 1) * IDN_SIZE, off = (p->image_off >> (2 * which)) & 3;
  picture made = {0};
  size_t stride = width + p->stride[which] % 512;
  if (format == IDN_PLANES && p->stride[which] % 8) stride = stride / 4 * 4;
  made.bytes = (rows - 1) * stride + width + off;
  if (p->stride[which] == 0xffff) stride = width - 1;
  if (p->stride[which] == 0xfffe) stride = SIZE_MAX / 4 * 4;
  if (made.bytes > MOST) exit(0);
  made.data = malloc(made.bytes);
  if (!made.data) exit(0);
  for (size_t i = 0; i < made.bytes; i++) made.data[i] = (unsigned char)(i * 31 + which);
  made.image = (idn_image){p->missing >> which & 1 ? 0 : made.data + off, stride, format};
  return made;
}

static void in_turn(void *user, idn_task task, void *work, int count) {
  (void)user;
  while (count--) task(work, count); /* any order will do */
}

static void frames(const plan *p, idn_model *model) {
  picture in = drawn(p, 0), out = drawn(p, 1), mask = drawn(p, 2);
  const int workers = p->workers % 8 == 7 ? p->workers - 100 : p->workers % 4 + 1;
  const size_t room = IDN_ARENA_BYTES(workers > 0 && workers <= IDN_MAX_WORKERS ? workers : 1) - p->arena_less % 300;
  unsigned char *owner, *arena = block(room, p->arena_off % 3 ? 0 : p->arena_off % 64, &owner), *held = malloc(out.bytes + mask.bytes);
  if (!held) exit(0);
  memcpy(held, out.data, out.bytes), memcpy(held + out.bytes, mask.data, mask.bytes);
  void *given = p->missing & 8 ? 0 : arena;
  const idn_image *missing = p->missing & 16 ? 0 : &mask.image;
  int status;
  if (p->kind & BY_STAGE) status = idn_run_stage(model, &in.image, &out.image, missing, given, room, (int8_t)p->stage, 0);
  else if (p->kind & PARALLEL) status = idn_run_parallel(model, &in.image, &out.image, missing, given, room, workers, p->missing & 32 ? 0 : in_turn, 0);
  else status = idn_run(model, &in.image, &out.image, missing, given, room);
  check(status);
  if (status && (memcmp(held, out.data, out.bytes) || memcmp(held + out.bytes, mask.data, mask.bytes))) abort();
  free(in.data), free(out.data), free(mask.data), free(owner), free(held);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  plan p = {0};
  memcpy(&p, data, size < sizeof p ? size : sizeof p);
  unsigned char *owner, *weights = block(IDN_WEIGHTS_BYTES, p.weights_off % 3 ? 0 : p.weights_off % 64, &owner);
  memcpy(weights, sound, IDN_WEIGHTS_BYTES);
  for (size_t at = sizeof p; at + 8 <= size; at += 8) {
    uint32_t place;
    memcpy(&place, data + at, 4);
    memcpy(weights + place % (IDN_WEIGHTS_BYTES / 4) * 4, data + at + 4, 4);
  }
  repair(weights, p.kind);
  const size_t small = IDN_EXPANDED_BYTES - p.memory_less % 80;
  unsigned char *room, *memory = block(small, p.memory_off % 3 ? 0 : p.memory_off % 64, &room), *held = malloc(small);
  if (!held) exit(0);
  memcpy(held, memory, small);
  idn_model model, before;
  memset(&model, 0x11, sizeof model);
  before = model;
  int status = idn_open(p.missing & 64 ? 0 : &model, p.missing & 128 ? 0 : weights, IDN_WEIGHTS_BYTES - p.weights_less % 128, memory, small);
  check(status);
  if (status && (memcmp(&before, &model, sizeof model) || memcmp(held, memory, small))) abort();
  if (!status) {
    before = model;
    status = idn_set_cpu(&model, (int8_t)p.cpu);
    check(status);
    if (status && memcmp(&before, &model, sizeof model)) abort();
    if (p.kind & IDENTITY) {
      before = model;
      unsigned char *own, *identity = block(IDN_IDENTITY_BYTES, p.identity_off % 3 ? 0 : p.identity_off % 64, &own);
      memcpy(identity, (p.kind & SECOND ? sound : weights) + HEADER + SHARED, IDN_IDENTITY_BYTES);
      memcpy(held, memory, small);
      status = idn_set_identity(&model, identity, IDN_IDENTITY_BYTES - p.identity_off / 64, memory, small);
      check(status);
      if (status && (memcmp(&before, &model, sizeof model) || memcmp(held, memory, small))) abort();
      frames(&p, &model);
      free(own);
    } else frames(&p, &model);
  }
  free(owner), free(room), free(held);
  return 0;
}
