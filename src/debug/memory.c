/* SPDX-License-Identifier: Apache-2.0 */
/* A debugger's accesses to guest memory, a page at a time. */
#include "debug/memory.h"

#include "mmu/mmu.h"

/* Not an alias of one: the page walk looks at as many bits as there are levels. */
static bool is_linear(const struct vcpu *v, u64 addr)
{
	return v->efer & EFER_LMA ? (u64)((s64)(addr << 16) >> 16) == addr : !(addr >> 32);
}

/* Physical address of a byte, and how many bytes from it on lie in the same page. False: nothing is mapped. */
static bool locate(struct vcpu *v, enum address_space space, u64 addr, u64 *gpa, size_t *room)
{
	*room = PAGE_SIZE - (addr & ~PAGE_MASK);
	if (space == LINEAR)
		return is_linear(v, addr) && mmu_translate(v, addr, gpa);
	*gpa = addr;
	return true;
}

size_t debug_read(struct vcpu *v, enum address_space space, u64 addr, void *buf, size_t len)
{
	size_t done = 0, n;
	u64 gpa;

	while (done < len && locate(v, space, addr + done, &gpa, &n)) {
		n = MIN(n, len - done);
		if (machine_read(v->machine, gpa, (u8 *)buf + done, n))
			break;
		done += n;
	}
	return done;
}

size_t debug_write(struct vcpu *v, enum address_space space, u64 addr, const void *buf, size_t len)
{
	size_t done = 0, n;
	u64 gpa;

	while (done < len && locate(v, space, addr + done, &gpa, &n)) {
		n = MIN(n, len - done);
		if (machine_write(v->machine, gpa, (const u8 *)buf + done, n))
			break;
		done += n;
	}
	return done;
}
