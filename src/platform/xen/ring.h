/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings between a front end and ours (xen/io/ring.h): the header's macros with our barriers. The front end's indices are read
 * once, by ring_index(), and checked; requests are copied before anything in them is looked at.
 */
#pragma once
#include <stdatomic.h>

#include "util/types.h"

#define xen_mb()  atomic_thread_fence(memory_order_seq_cst)
#define xen_rmb() atomic_thread_fence(memory_order_acquire)
#define xen_wmb() atomic_thread_fence(memory_order_release)
#include <xen/io/ring.h>

static inline u32 ring_index(const u32 *index)
{
	return __atomic_load_n(index, __ATOMIC_SEQ_CST);
}
