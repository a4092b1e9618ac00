/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads that do requests with calls that block. The first thread is there from the start, others as they are needed. */
#pragma once
#include "machine/blockdev.h"

struct pool;
/* work() runs on a thread of the pool, without locks, and completes r. */
struct pool *pool_new(void (*work)(void *arg, struct disk_request *r), void *arg, struct error *err);
void pool_submit(struct pool *p, struct disk_request *r); /* any thread; never blocks for long */
void pool_free(struct pool *p); /* all requests have been completed; NULL is fine */
