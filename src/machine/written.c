/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of RAM have been written: what the engine says of its vCPUs, and what devices have told machine_written(). The
 * devices' bitmap is made once and stays until the machine goes, as a device may be setting a bit when logging ends.
 */
#include <errno.h>
#include <stdlib.h>

#include "machine/machine.h"

static int make_bitmap(struct machine *m, struct error *err)
{
	_Atomic u64 *bits = atomic_load(&m->written);

	if (!bits)
		bits = calloc(ram_bitmap_words(m), sizeof(*bits));
	if (!bits)
		return error_set(err, ENOMEM, "no memory to note which pages are written");
	for (u64 i = 0; i < ram_bitmap_words(m); i++)
		atomic_store_explicit(&bits[i], 0, memory_order_relaxed);
	atomic_store_explicit(&m->written, bits, memory_order_release);
	return 0;
}

int machine_log_writes(struct machine *m, bool on, struct error *err)
{
	int r;

	if (!atomic_load(&m->running) || !m->vcpu_ops->log_writes)
		return error_set(err, ENOTSUP, "the engine does not tell which pages a guest writes");
	r = on ? make_bitmap(m, err) : 0;
	return r ? r : m->vcpu_ops->log_writes(m, on, err);
}

int machine_take_written(struct machine *m, u64 *bitmap, struct error *err)
{
	_Atomic u64 *bits = atomic_load(&m->written);

	if (!bits)
		return error_set(err, EINVAL, "writes are not being logged");
	for (u64 i = 0; i < ram_bitmap_words(m); i++)
		bitmap[i] |= atomic_exchange_explicit(&bits[i], 0, memory_order_relaxed);
	return m->vcpu_ops->take_written(m, bitmap, err);
}
