/* Every wrong call: its own error code, and nothing that was handed over has changed.

   usage: wrong_calls idn.weights other.weights
   other.weights: of another base of the same network. Prints a line per case that fails; exits with how many did. */
#include "idn.h"
#include "idn_pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW (IDN_SIZE * sizeof(float))
#define HEADER 64

enum { WEIGHTS, OTHER, MEMORY, ARENA, IN, OUT, MASK, MODEL, BLOCKS };
static unsigned char *block[BLOCKS];
static size_t length[BLOCKS];
static int failures, cases;

static uint64_t hash(void) {
  uint64_t h = UINT64_C(14695981039346656037);
  for (int b = 0; b < BLOCKS; b++)
    for (size_t i = 0; i < length[b]; i++) h = (h ^ block[b][i]) * UINT64_C(1099511628211);
  return h;
}

/* malloc'd so that a sanitiser or valgrind sees the first byte outside. */
static void new_block(int which, size_t bytes) {
  length[which] = bytes;
  block[which] = aligned_alloc(IDN_ALIGNMENT, (bytes + 63) / 64 * 64);
  if (!block[which]) exit(100);
  memset(block[which], 0x5C, (bytes + 63) / 64 * 64);
}

static uint64_t before;
static void expect(const char *name, int status, int wanted) {
  cases++;
  if (status != wanted) failures++, printf("%s: %d (%s) instead of %d (%s)\n", name, status, idn_error(status), wanted, idn_error(wanted));
  if (hash() != before) failures++, printf("%s: something was written\n", name), before = hash();
}

typedef struct {
  const char *name;
  size_t at;
  unsigned value; /* 32 bits, as this machine writes them */
  int status;
} edit;
static const edit edits[] = {
    {"magic", 0, 0x58585858, IDN_EMAGIC},       {"an identity's magic", 0, 0x494e4449, IDN_EMAGIC},
    {"version 0", 4, 0, IDN_EVERSION},          {"a later version", 4, 99, IDN_EVERSION},
    {"byte order", 8, 0x04030201, IDN_EENDIAN}, {"no byte order", 8, 0, IDN_EVERSION},
    {"header", 12, 65, IDN_EVERSION},           {"network", 16, 1, IDN_ENETWORK},
    {"network, high", 20, 1, IDN_ENETWORK},     {"body", 32, 0, IDN_ENETWORK},
    {"body, high", 36, 0xffffffffu, IDN_ENETWORK}, {"sum", 40, 1, IDN_ECHECKSUM},
    {"first number", HEADER, 0x12345678, IDN_ECHECKSUM},
};

static void put(unsigned char *at, unsigned value) { memcpy(at, &value, 4); }

/* Each edit of a header at `start`, and back. */
static void edited(const char *what, size_t start, int (*open)(void)) {
  for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
    const edit *e = edits + i;
    unsigned char *at = block[WEIGHTS] + start + e->at, held[4];
    memcpy(held, at, 4);
    int wanted = e->status;
    unsigned value = e->value;
    if (start && value == 0x494e4449) value = 0x574e4449; /* the weights' magic on an identity */
    put(at, value);
    before = hash();
    char name[80];
    snprintf(name, sizeof name, "%s: %s", what, e->name);
    expect(name, open(), wanted);
    memcpy(at, held, 4);
  }
  before = hash();
}

static idn_model *model;
static int opened(idn_model *m, const void *weights, size_t bytes) { return idn_open(m, weights, bytes, block[MEMORY], length[MEMORY]); }
static int set(idn_model *m, const void *identity, size_t bytes) { return idn_set_identity(m, identity, bytes, block[MEMORY], length[MEMORY]); }
static int open_all(void) { return opened(model, block[WEIGHTS], length[WEIGHTS]); }
static unsigned char *own;
static int open_identity(void) { return set(model, own, IDN_IDENTITY_BYTES); }

static void never(void *user, idn_task task, void *work, int count) {
  (void)user, (void)task, (void)work, (void)count;
  failures++, printf("the callback was called\n");
}

typedef struct {
  const char *name;
  int which, format; /* which picture */
  size_t stride;
  int offset; /* of its data */
  int status;
} picture;
static const picture pictures[] = {
    {"in without data", IN, IDN_PLANES, ROW, -1, IDN_ENULL},
    {"out without data", OUT, IDN_PLANES, ROW, -1, IDN_ENULL},
    {"in: no stride", IN, IDN_PLANES, 0, 0, IDN_ESTRIDE},
    {"in: stride shorter", IN, IDN_PLANES, ROW - 4, 0, IDN_ESTRIDE},
    {"in: stride not whole floats", IN, IDN_PLANES, ROW + 2, 0, IDN_ESTRIDE},
    {"out: stride shorter", OUT, IDN_PLANES, ROW - 4, 0, IDN_ESTRIDE},
    {"out: stride not whole floats", OUT, IDN_PLANES, ROW + 1, 0, IDN_ESTRIDE},
    {"in: RGB stride", IN, IDN_RGB8, IDN_SIZE * 3 - 1, 0, IDN_ESTRIDE},
    {"in: RGBA stride", IN, IDN_RGBA8, IDN_SIZE * 4 - 1, 0, IDN_ESTRIDE},
    {"out: RGB stride", OUT, IDN_RGB8, IDN_SIZE * 3 - 1, 0, IDN_ESTRIDE},
    {"out: BGRA stride", OUT, IDN_BGRA8, IDN_SIZE * 4 - 1, 0, IDN_ESTRIDE},
    {"mask: stride shorter", MASK, IDN_PLANES, ROW - 4, 0, IDN_ESTRIDE},
    {"mask: gray stride", MASK, IDN_GRAY8, IDN_SIZE - 1, 0, IDN_ESTRIDE},
    {"in: stride beyond memory", IN, IDN_PLANES, SIZE_MAX / 4 * 4, 0, IDN_ESTRIDE},
    {"out: stride beyond memory", OUT, IDN_RGB8, SIZE_MAX, 0, IDN_ESTRIDE},
    {"mask: stride beyond memory", MASK, IDN_GRAY8, SIZE_MAX / IDN_SIZE + 2, 0, IDN_ESTRIDE},
    {"in: gray", IN, IDN_GRAY8, ROW, 0, IDN_EFORMAT},
    {"in: no format", IN, -1, ROW, 0, IDN_EFORMAT},
    {"in: format 5", IN, 5, ROW, 0, IDN_EFORMAT},
    {"out: gray", OUT, IDN_GRAY8, ROW, 0, IDN_EFORMAT},
    {"out: format", OUT, 1 << 30, ROW, 0, IDN_EFORMAT},
    {"mask: RGB", MASK, IDN_RGB8, ROW, 0, IDN_EFORMAT},
    {"mask: RGBA", MASK, IDN_RGBA8, ROW, 0, IDN_EFORMAT},
    {"mask: format", MASK, 77, ROW, 0, IDN_EFORMAT},
    {"in misaligned", IN, IDN_PLANES, ROW, 1, IDN_EALIGN},
    {"out misaligned", OUT, IDN_PLANES, ROW, 2, IDN_EALIGN},
    {"mask misaligned", MASK, IDN_PLANES, ROW, 3, IDN_EALIGN},
};

/* All three ways to compute, which must agree on what is wrong. */
static void refused(const char *name, const idn_model *m, const idn_image *in, const idn_image *out, const idn_image *mask, void *arena, size_t bytes, int wanted) {
  const char *stage = "unset";
  expect(name, idn_run(m, in, out, mask, arena, bytes), wanted);
  expect(name, idn_run_parallel(m, in, out, mask, arena, bytes, 1, never, 0), wanted);
  expect(name, idn_run_stage(m, in, out, mask, arena, bytes, 0, &stage), wanted);
  if (strcmp(stage, "unset")) failures++, printf("%s: a stage was named\n", name);
}

static void wrong_frames(const idn_image *in, const idn_image *out, const idn_image *mask) {
  const size_t room = IDN_ARENA_BYTES(1);
  void *arena = block[ARENA];
  for (int i = 0; i < 5; i++) /* each null in turn */
    refused("null", i == 0 ? 0 : model, i == 1 ? 0 : in, i == 2 ? 0 : out, i == 3 ? 0 : mask, i == 4 ? 0 : arena, room, IDN_ENULL);
  const idn_model unset = {0};
  refused("a model that was never opened", &unset, in, out, mask, arena, room, IDN_ENULL);
  const size_t steps[] = {1, 4, 32, 60};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    refused("arena misaligned", model, in, out, mask, (char *)arena + steps[i], room - 64, IDN_EALIGN);
  const size_t sizes[] = {0, 1, 64, room / 2, room - 1};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) refused("arena small", model, in, out, mask, arena, sizes[i], IDN_EARENA);
  for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
    const picture *p = pictures + i;
    const idn_image wrong = {p->offset < 0 ? 0 : block[p->which] + p->offset, p->stride, p->format};
    refused(p->name, model, p->which == IN ? &wrong : in, p->which == OUT ? &wrong : out, p->which == MASK ? &wrong : mask, arena, room, p->status);
  }
  const int workers[] = {0, -1, IDN_MAX_WORKERS + 1, 1 << 30, -(1 << 30)};
  for (int i = 0; i < 5; i++) expect("workers", idn_run_parallel(model, in, out, mask, arena, SIZE_MAX, workers[i], never, 0), IDN_EWORKERS);
  expect("arena for more workers", idn_run_parallel(model, in, out, mask, arena, IDN_ARENA_BYTES(2) - 1, 2, never, 0), IDN_EARENA);
  expect("no callback", idn_run_parallel(model, in, out, mask, arena, room, 1, 0, 0), IDN_ENULL);
  const int stages[] = {-1, IDN_STAGES, 1 << 30};
  for (int i = 0; i < 3; i++) expect("stage", idn_run_stage(model, in, out, mask, arena, room, stages[i], 0), IDN_ESTAGE);
}

static void read_all(const char *name, int which) {
  FILE *file = fopen(name, "rb");
  if (!file || fread(block[which], 1, length[which], file) != length[which]) exit(101);
  fclose(file);
}

static void wrong_memory(void) {
  expect("open: no memory", idn_open(model, block[WEIGHTS], IDN_WEIGHTS_BYTES, 0, IDN_EXPANDED_BYTES), IDN_ENULL);
  expect("identity: no memory", idn_set_identity(model, own, IDN_IDENTITY_BYTES, 0, IDN_EXPANDED_BYTES), IDN_ENULL);
  const size_t steps[] = {1, 4, 16, 32}, less[] = {0, 64, IDN_EXPANDED_BYTES - 1};
  for (int i = 0; i < 4; i++) {
    unsigned char *at = block[MEMORY] + steps[i];
    expect("open: memory misaligned", idn_open(model, block[WEIGHTS], IDN_WEIGHTS_BYTES, at, IDN_EXPANDED_BYTES), IDN_EALIGN);
    expect("identity: memory misaligned", idn_set_identity(model, own, IDN_IDENTITY_BYTES, at, IDN_EXPANDED_BYTES), IDN_EALIGN);
  }
  for (int i = 0; i < 3; i++) {
    expect("open: memory small", idn_open(model, block[WEIGHTS], IDN_WEIGHTS_BYTES, block[MEMORY], less[i]), IDN_EMEMORY);
    expect("identity: memory small", idn_set_identity(model, own, IDN_IDENTITY_BYTES, block[MEMORY], less[i]), IDN_EMEMORY);
  }
  /* What is not wrong: an identity may lie anywhere, and the same one expands to the same bytes. */
  unsigned char *copy = malloc(IDN_IDENTITY_BYTES + 3);
  if (!copy) exit(100);
  memcpy(copy + 3, own, IDN_IDENTITY_BYTES);
  expect("identity: at any address", set(model, copy + 3, IDN_IDENTITY_BYTES), IDN_OK);
  free(copy);
}

static void wrong_weights(void) {
  const size_t bytes = IDN_WEIGHTS_BYTES;
  expect("open: null model", opened(0, block[WEIGHTS], bytes), IDN_ENULL);
  expect("open: null weights", opened(model, 0, bytes), IDN_ENULL);
  const size_t shorter[] = {0, 1, HEADER - 1, HEADER, bytes / 2, bytes - 1};
  for (int i = 0; i < 6; i++) expect("open: short", opened(model, block[WEIGHTS], shorter[i]), IDN_ESHORT);
  const size_t steps[] = {1, 4, 16, 32};
  for (int i = 0; i < 4; i++) expect("open: misaligned", opened(model, block[WEIGHTS] + steps[i], bytes - 64), IDN_EALIGN);
  edited("weights", 0, open_all);
  edited("the identity in weights", bytes - IDN_IDENTITY_BYTES, open_all);
  expect("identity: null model", set(0, own, IDN_IDENTITY_BYTES), IDN_ENULL);
  expect("identity: null", set(model, 0, IDN_IDENTITY_BYTES), IDN_ENULL);
  const size_t less[] = {0, 63, 64, IDN_IDENTITY_BYTES - 1};
  for (int i = 0; i < 4; i++) expect("identity: short", set(model, own, less[i]), IDN_ESHORT);
  idn_model unset = {0};
  expect("identity: a model that was never opened", set(&unset, own, IDN_IDENTITY_BYTES), IDN_ENULL);
  wrong_memory();
  expect("identity: whole weights", set(model, block[WEIGHTS], bytes), IDN_EMAGIC);
  edited("identity", bytes - IDN_IDENTITY_BYTES, open_identity);
  expect("identity: of another base", set(model, block[OTHER] + bytes - IDN_IDENTITY_BYTES, IDN_IDENTITY_BYTES), IDN_EBASE);
  const int cpus[] = {-1, 3, 1 << 30};
  for (int i = 0; i < 3; i++) expect("cpu", idn_set_cpu(model, cpus[i]), IDN_ECPU);
  expect("cpu: null", idn_set_cpu(0, 0), IDN_ENULL);
}

int main(int argc, char **argv) {
  if (argc != 3) return 102;
  new_block(WEIGHTS, IDN_WEIGHTS_BYTES), new_block(OTHER, IDN_WEIGHTS_BYTES), new_block(ARENA, IDN_ARENA_BYTES(1));
  new_block(MEMORY, IDN_EXPANDED_BYTES);
  new_block(IN, 3 * IDN_SIZE * ROW), new_block(OUT, 3 * IDN_SIZE * ROW), new_block(MASK, IDN_SIZE * ROW), new_block(MODEL, sizeof *model);
  read_all(argv[1], WEIGHTS), read_all(argv[2], OTHER);
  model = (idn_model *)(void *)block[MODEL];
  own = block[WEIGHTS] + IDN_WEIGHTS_BYTES - IDN_IDENTITY_BYTES;
  if (open_all()) return 103;
  length[MODEL] = offsetof(idn_model, cpu) + sizeof model->cpu; /* what pads it out holds anything */
  before = hash();
  wrong_weights();
  const idn_image in = {block[IN], ROW, IDN_PLANES}, out = {block[OUT], ROW, IDN_PLANES}, mask = {block[MASK], ROW, IDN_PLANES};
  wrong_frames(&in, &out, &mask);
  if (idn_run(model, &in, &out, &mask, block[ARENA], IDN_ARENA_BYTES(1))) failures++, printf("a right call fails\n");
  if (hash() == before) failures++, printf("a right call writes nothing\n"); /* so the hash sees what is written */
  for (int b = 0; b < BLOCKS; b++) free(block[b]);
  printf("%d cases, %d failures\n", cases, failures);
  return failures > 99 ? 99 : failures;
}
