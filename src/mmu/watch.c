/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data breakpoints (DR0 to DR3, SDM vol. 3, 17.2.4): pages that have one get no TLB entries, so every access to them comes
 * through the slow path, which compares. A hit is a trap: it is delivered after the instruction. Watchpoints of a debugger
 * outside the guest (machine_debug) are found the same way and end up in v->debug instead.
 */
#include "mmu/mmu-internal.h"

/* R/W and LEN of breakpoint n in DR7. */
static unsigned kind_of(u64 dr7, unsigned n)
{
	return dr7 >> (16 + 4 * n) & 3;
}
static unsigned len_of(u64 dr7, unsigned n)
{
	static const u8 len[] = { 1, 2, 8, 4 };
	return len[dr7 >> (18 + 4 * n) & 3];
}
static bool is_data(u64 dr7, unsigned n)
{
	return kind_of(dr7, n) == 1 || kind_of(dr7, n) == 3;
}
static bool enabled(u64 dr7, unsigned n)
{
	return dr7 >> (2 * n) & 3;
}

void mmu_update_watchpoints(struct vcpu *v)
{
	bool any = v->machine->debug.watches;

	for (unsigned n = 0; n < 4; n++)
		any |= enabled(v->dr[7], n) && is_data(v->dr[7], n);
	if (any || v->mmu->watching)
		mmu_flush_all(v);
	v->mmu->watching = any;
}

/* The first watchpoint of these kinds that has a byte of [gla, gla + len). */
static const struct debug_point *watched_from_outside(const struct machine *m, u64 gla, u64 len, unsigned kinds)
{
	for (unsigned i = 0; i < m->debug.count; i++) {
		const struct debug_point *p = &m->debug.point[i];

		if (p->kind >= POINT_WRITE && kinds >> p->kind & 1 && p->gla <= gla + (len - 1) &&
		    gla <= p->gla + (p->len - 1))
			return p;
	}
	return NULL;
}

bool watch_on_page(const struct vcpu *v, u64 gla)
{
	for (unsigned n = 0; n < 4; n++)
		if (enabled(v->dr[7], n) && is_data(v->dr[7], n) && (v->dr[n] ^ gla) >> PAGE_SHIFT == 0)
			return true;
	return v->machine->debug.watches && watched_from_outside(v->machine, gla & PAGE_MASK, PAGE_SIZE, ~0u);
}

/* Several may be touched by one instruction: the first is told. */
static void watch_check_outside(struct vcpu *v, u64 gla, unsigned len, bool write)
{
	unsigned kinds = 1u << POINT_ACCESS | 1u << (write ? POINT_WRITE : POINT_READ);
	const struct debug_point *p = watched_from_outside(v->machine, gla, len, kinds);

	if (!p || v->debug.stop == STOP_WATCH)
		return;
	v->debug.stop = STOP_WATCH;
	v->debug.watch_gla = p->gla;
	v->debug.watch_kind = p->kind;
	v->stop_now = true;
}

/* DR6 shows every breakpoint whose condition is met, enabled or not; only enabled ones trap. */
void watch_check(struct vcpu *v, u64 gla, unsigned len, bool write)
{
	u32 met = 0;
	bool trap = false;

	if (v->machine->debug.watches)
		watch_check_outside(v, gla, len, write);
	for (unsigned n = 0; n < 4; n++) {
		unsigned width = len_of(v->dr[7], n);
		u64 at = v->dr[n] & ~(u64)(width - 1);
		if (!is_data(v->dr[7], n) || (!write && kind_of(v->dr[7], n) == 1))
			continue;
		if (gla < at + width && at < gla + len) {
			met |= 1u << n;
			trap |= enabled(v->dr[7], n);
		}
	}
	if (trap) {
		v->pending_db |= met;
		v->stop_now = true;
	}
}
