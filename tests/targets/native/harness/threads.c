/* One model in many threads at once, each with an arena of its own and a pool beside it: all pictures are equal.

   usage: threads idn.weights
   Meant for ThreadSanitizer; it compares the pictures itself, too. */
#include "idn.h"
#include "idn_pool.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIXELS (3 * IDN_SIZE * IDN_SIZE)
#define CALLERS 3

static idn_model model;
static float image[PIXELS], expected[PIXELS];

static void *room(size_t bytes) {
  void *found = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!found) exit(100);
  memset(found, 0xFF, bytes);
  return found;
}

static void *caller(void *given) {
  const int threads = *(int *)given;
  idn_pool *pool = idn_pool_new(threads);
  const int workers = idn_pool_size(pool);
  void *arena = room(IDN_ARENA_BYTES(workers));
  float *out = room(sizeof expected);
  const idn_image a = {image, IDN_SIZE * sizeof(float), IDN_PLANES}, b = {out, IDN_SIZE * sizeof(float), IDN_PLANES}, none = {0};
  long wrong = 0;
  for (int turn = 0; turn < 3; turn++) {
    memset(out, 0, sizeof expected);
    if (idn_run_parallel(&model, &a, &b, &none, arena, IDN_ARENA_BYTES(workers), workers, idn_pool_parallel, pool)) wrong++;
    wrong += memcmp(out, expected, sizeof expected) != 0;
  }
  idn_pool_free(pool);
  free(arena), free(out);
  return (void *)wrong;
}

int main(int argc, char **argv) {
  void *weights = room(IDN_WEIGHTS_BYTES), *arena = room(IDN_ARENA_BYTES(1)), *memory = room(IDN_EXPANDED_BYTES);
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : 0;
  if (!file || fread(weights, 1, IDN_WEIGHTS_BYTES, file) != IDN_WEIGHTS_BYTES) return 101;
  fclose(file);
  for (int i = 0; i < PIXELS; i++) image[i] = (float)(i * 37 % 256) / 255;
  if (idn_open(&model, weights, IDN_WEIGHTS_BYTES, memory, IDN_EXPANDED_BYTES)) return 102;
  const idn_image a = {image, IDN_SIZE * sizeof(float), IDN_PLANES}, b = {expected, IDN_SIZE * sizeof(float), IDN_PLANES}, none = {0};
  if (idn_run(&model, &a, &b, &none, arena, IDN_ARENA_BYTES(1))) return 103;
  pthread_t threads[CALLERS];
  int counts[CALLERS] = {1, 2, 7};
  long wrong = 0;
  for (int i = 0; i < CALLERS; i++)
    if (pthread_create(threads + i, 0, caller, counts + i)) return 104;
  void *more = room(IDN_EXPANDED_BYTES);
  idn_model next = model; /* another identity is made ready while frames are computed */
  const char *identity = (const char *)weights + IDN_WEIGHTS_BYTES - IDN_IDENTITY_BYTES;
  for (int i = 0; i < 20; i++) wrong += idn_set_identity(&next, identity, IDN_IDENTITY_BYTES, more, IDN_EXPANDED_BYTES) != IDN_OK;
  wrong += memcmp(model.identity, next.identity, IDN_EXPANDED_BYTES) != 0;
  for (int i = 0; i < CALLERS; i++) {
    void *told;
    pthread_join(threads[i], &told);
    wrong += (long)told;
  }
  for (int i = 0; i < 20; i++) idn_pool_free(idn_pool_new(i)); /* ended before it has begun */
  idn_pool_free(0);
  free(weights), free(memory), free(more), free(arena);
  if (wrong) printf("%ld pictures differ\n", wrong);
  return wrong != 0;
}
