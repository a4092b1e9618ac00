/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: two slots over the machine's RAM, and which of its pages the vCPUs write. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm-internal.h"

/*
 * Where Intel's CPUs without "unrestricted guest" get a TSS and a page table for real mode: four pages that no device has
 * and no map of memory calls RAM.
 */
#define IDENTITY_MAP 0xfeffc000ull
#define REAL_TSS     0xfeffd000ull

enum { SLOT_LOW, SLOT_HIGH };

static int set_slot(const struct machine *m, const struct kvm_vm *vm, u32 slot, u32 flags, struct error *err)
{
	bool high = slot == SLOT_HIGH;
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = high ? HIGH_RAM_BASE : 0,
		.memory_size = high ? m->high_size : m->low_size,
		.userspace_addr = (u64)(high ? m->ram + m->low_size : m->ram),
	};

	if (region.memory_size && ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return error_set(err, errno, "KVM does not take %llu MiB of memory at %#llx: %s",
				 (unsigned long long)region.memory_size >> 20,
				 (unsigned long long)region.guest_phys_addr, strerror(errno));
	return 0;
}

int memory_add(const struct machine *m, const struct kvm_vm *vm, struct error *err)
{
	u64 identity = IDENTITY_MAP;
	int r;

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 || ioctl(vm->fd, KVM_SET_TSS_ADDR, REAL_TSS) < 0)
		return error_set(err, errno, "KVM does not take the place of its real-mode helpers: %s",
				 strerror(errno));
	r = set_slot(m, vm, SLOT_LOW, 0, err);
	return r ? r : set_slot(m, vm, SLOT_HIGH, 0, err);
}

/* ---- writes ---- */
int kvm_log_writes(struct machine *m, bool on, struct error *err)
{
	u32 flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	int r = set_slot(m, m->engine, SLOT_LOW, flags, err);

	return r ? r : set_slot(m, m->engine, SLOT_HIGH, flags, err);
}

static int take_slot(const struct kvm_vm *vm, u32 slot, u64 size, u64 *bitmap, struct error *err)
{
	u64 words = ((size >> PAGE_SHIFT) + 63) / 64;
	u64 *bits = size ? calloc(words, sizeof(*bits)) : NULL;
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bits };
	int r = 0;

	if (!size)
		return 0;
	if (!bits)
		return error_set(err, ENOMEM, "no memory for the log of written pages");
	if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
		r = error_set(err, errno, "KVM does not say which pages were written: %s", strerror(errno));
	for (u64 i = 0; i < words && !r; i++)
		bitmap[i] |= bits[i];
	free(bits);
	return r;
}

/* Memory above 4 GiB follows a whole number of words of pages below it. */
_Static_assert(LOW_RAM_LIMIT % (64 << PAGE_SHIFT) == 0,
	       "a bitmap of all RAM is one of low RAM and then one of high RAM");

int kvm_take_written(struct machine *m, u64 *bitmap, struct error *err)
{
	const struct kvm_vm *vm = m->engine;
	int r = take_slot(vm, SLOT_LOW, m->low_size, bitmap, err);

	return r ? r : take_slot(vm, SLOT_HIGH, m->high_size, bitmap + (m->low_size >> PAGE_SHIFT) / 64, err);
}
