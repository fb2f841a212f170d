/* Threads for idn_run_parallel: pool = idn_pool_new(n); idn_run_parallel(..., idn_pool_size(pool), idn_pool_parallel, pool). */
#ifndef IDN_POOL_H
#define IDN_POOL_H
#include "idn.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct idn_pool idn_pool;
idn_pool *idn_pool_new(int threads); /* the caller is one of them; null without memory */
int idn_pool_size(const idn_pool *pool);
void idn_pool_parallel(void *pool, idn_task task, void *work, int count);
void idn_pool_free(idn_pool *pool);
#ifdef __cplusplus
}
#endif
#endif
