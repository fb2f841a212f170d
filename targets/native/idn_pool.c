/* idn_pool: threads for idn_run_parallel, on POSIX. An example of its callback, and what mfs-edge measures with.

   Workers spin for a moment after a task, since the stages of a frame follow one another within microseconds, and
   sleep otherwise. */
#include "idn_pool.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

struct idn_pool {
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_t threads[64];
  int started, quit;
  atomic_int round, left;
  idn_task task;
  void *work;
  int count;
};

typedef struct {
  idn_pool *pool;
  int index;
} seat;

static void *worker(void *given) {
  seat own = *(seat *)given;
  free(given);
  idn_pool *pool = own.pool;
  for (int seen = 0;;) {
    for (int spin = 0; spin < 20000 && atomic_load_explicit(&pool->round, memory_order_acquire) == seen; spin++) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->round) == seen && !pool->quit) pthread_cond_wait(&pool->wake, &pool->lock);
    seen = atomic_load(&pool->round);
    const int quit = pool->quit, count = pool->count;
    const idn_task task = pool->task;
    void *work = pool->work;
    pthread_mutex_unlock(&pool->lock);
    if (quit) return NULL;
    if (own.index < count) task(work, own.index);
    atomic_fetch_sub_explicit(&pool->left, 1, memory_order_release);
  }
}

idn_pool *idn_pool_new(int threads) {
  idn_pool *pool = calloc(1, sizeof *pool);
  if (!pool) return NULL;
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->wake, NULL);
  for (int i = 1; i < threads && i < 64; i++) {
    seat *own = malloc(sizeof *own);
    if (!own) break;
    own->pool = pool;
    own->index = i;
    if (pthread_create(&pool->threads[pool->started], NULL, worker, own)) {
      free(own);
      break;
    }
    pool->started++;
  }
  return pool;
}

int idn_pool_size(const idn_pool *pool) { return pool->started + 1; }

void idn_pool_parallel(void *user, idn_task task, void *work, int count) {
  idn_pool *pool = user;
  pthread_mutex_lock(&pool->lock);
  pool->task = task;
  pool->work = work;
  pool->count = count;
  atomic_store(&pool->left, pool->started);
  atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  task(work, 0);
  for (int i = pool->started + 1; i < count; i++) task(work, i);
  for (int spin = 0; atomic_load_explicit(&pool->left, memory_order_acquire); spin++)
    if (spin > 20000) sched_yield();
}

void idn_pool_free(idn_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  pool->quit = 1;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  for (int i = 0; i < pool->started; i++) pthread_join(pool->threads[i], NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}
