/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The architectural state of a CPU as rows, for copying it from one side to the other, comparing and telling. Each row is memory
 * without padding. Flags and MXCSR are apart, as engines keep them in several places.
 */
#include <string.h>

#include "emulate/vector.h"
#include "engines/dbt/check-internal.h"

struct row {
	const char *name; /* with %u: the number of the element */
	size_t at, size, count, stride;
	unsigned first; /* number of element 0 */
};

#define ONE(name, field)                                                                       \
	{                                                                                      \
		name, offsetof(struct vcpu, field), sizeof(((struct vcpu *)0)->field), 1, 0, 0 \
	}
#define ARRAY(name, field)                                                                             \
	{                                                                                              \
		name, offsetof(struct vcpu, field), sizeof(((struct vcpu *)0)->field[0]),              \
			ARRAY_SIZE(((struct vcpu *)0)->field), sizeof(((struct vcpu *)0)->field[0]), 0 \
	}
#define SEGMENT_BYTES (offsetof(struct segment, selector) + 2)
#define TABLE_BYTES   (offsetof(struct table_reg, limit) + 2)

/* clang-format off */
static const struct row rows[] = {
	ONE("rip", rip),
	ONE("rax", r[RAX]), ONE("rcx", r[RCX]), ONE("rdx", r[RDX]), ONE("rbx", r[RBX]),
	ONE("rsp", r[RSP]), ONE("rbp", r[RBP]), ONE("rsi", r[RSI]), ONE("rdi", r[RDI]),
	{ "r%u", offsetof(struct vcpu, r[8]), 8, 8, 8, 8 },
	{ "ymm%u", offsetof(struct vcpu, v), 32, 16, 32, 0 },
	{ "segment register %u", offsetof(struct vcpu, seg), SEGMENT_BYTES, NR_SEG, sizeof(struct segment), 0 },
	{ "ldtr", offsetof(struct vcpu, ldtr), SEGMENT_BYTES, 1, 0, 0 },
	{ "tr", offsetof(struct vcpu, tr), SEGMENT_BYTES, 1, 0, 0 },
	{ "gdtr", offsetof(struct vcpu, gdtr), TABLE_BYTES, 1, 0, 0 },
	{ "idtr", offsetof(struct vcpu, idtr), TABLE_BYTES, 1, 0, 0 },
	ONE("cpl", cpl), ONE("mode", mode), ONE("code size", code_size),
	ONE("halted", halted), ONE("waits for SIPI", wait_sipi), ONE("blocks NMIs", nmi_blocked),
	ONE("pending debug trap", pending_db),
	{ "x87 register %u", offsetof(struct vcpu, x87.fpr), 10, 8, sizeof(struct f80), 0 },
	ONE("x87 control word", x87.cw), ONE("x87 status word", x87.sw), ONE("x87 tags", x87.tag),
	ONE("x87 opcode", x87.fop), ONE("x87 cs", x87.fcs), ONE("x87 ds", x87.fds), ONE("x87 ip", x87.fip), ONE("x87 dp", x87.fdp),
	ONE("cr0", cr0), ONE("cr2", cr2), ONE("cr3", cr3), ONE("cr4", cr4), ONE("efer", efer), ONE("xcr0", xcr0),
	ONE("pkru", pkru), ONE("pkrs", pkrs), ARRAY("dr%u", dr), ARRAY("pdpte%u", pdpte),
	ONE("MSRs", msr), ONE("tsc offset", tsc_offset), ONE("monitored line", monitor_gpa), ONE("its sum", monitor_sum),
	ONE("random sequence", random),
	ONE("simd_ok", simd_ok),
};
/* clang-format on */

static u64 rflags_of(const struct vcpu *v)
{
	return (v->rflags & ~(u64)FL_ARITH) | flags_get(v);
}

void state_copy(struct vcpu *to, const struct vcpu *from)
{
	for (unsigned k = 0; k < ARRAY_SIZE(rows); k++) {
		const struct row *r = &rows[k];
		for (unsigned n = 0; n < r->count; n++)
			memcpy((u8 *)to + r->at + n * r->stride, (const u8 *)from + r->at + n * r->stride, r->size);
	}
	to->rflags = from->rflags;
	flags_set(to, flags_get(from));
	to->mxcsr = simd_get_mxcsr((struct vcpu *)from);
	to->simd_trap = from->simd_trap;
	to->shadow = from->shadow;
	to->shadow_ss = from->shadow_ss;
	to->event = from->event;
}

static bool same(const struct row *r, const struct vcpu *a, const struct vcpu *b, unsigned n)
{
	return !memcmp((const u8 *)a + r->at + n * r->stride, (const u8 *)b + r->at + n * r->stride, r->size);
}

static bool row_same(const struct row *r, const struct vcpu *a, const struct vcpu *b)
{
	if (r->size == r->stride)
		return !memcmp((const u8 *)a + r->at, (const u8 *)b + r->at, r->size * r->count);
	for (unsigned n = 0; n < r->count; n++)
		if (!same(r, a, b, n))
			return false;
	return true;
}

/* STI done in place has no shadow while nothing waits to be delivered; that of MOV SS must be the same. */
static bool shadow_same(const struct vcpu *v, const struct vcpu *f)
{
	return (v->shadow && v->shadow_ss) == (f->shadow && f->shadow_ss) && (!v->shadow || f->shadow);
}

static bool event_same(const struct cpu_event *a, const struct cpu_event *b)
{
	return a->valid == b->valid &&
	       (!a->valid || (a->vector == b->vector && a->type == b->type && a->has_error == b->has_error &&
			      (!a->has_error || a->error == b->error) && (a->vector != EXC_PF || a->cr2 == b->cr2)));
}

bool state_same(struct check *c)
{
	struct vcpu *v = c->v, *f = c->f;

	for (unsigned k = 0; k < ARRAY_SIZE(rows); k++)
		if (unlikely(!row_same(&rows[k], v, f)))
			return false;
	return rflags_of(v) == rflags_of(f) && simd_get_mxcsr(v) == simd_get_mxcsr(f) && shadow_same(v, f) &&
	       event_same(&v->event, &f->event);
}

/* ---- telling ---- */

/* Most significant byte first, as numbers are written. */
static void put_bytes(struct text *out, const u8 *p, size_t size)
{
	for (size_t k = size; k-- > 0;)
		text_printf(out, "%02x", p[k]);
}

static void tell_row(const struct row *r, const struct vcpu *v, const struct vcpu *f, struct text *out)
{
	for (unsigned n = 0; n < r->count; n++) {
		size_t size = MIN(r->size, 32u), skip = 0;
		const u8 *a = (const u8 *)v + r->at + n * r->stride, *b = (const u8 *)f + r->at + n * r->stride;

		if (same(r, v, f, n))
			continue;
		if (r->size > size) /* of something long the first part that differs */
			while (a[skip] == b[skip])
				skip++;
		skip &= ~(size_t)7;
		size = MIN(size, r->size - skip);
		text_puts(out, "  ");
		text_printf(out, r->name, r->first + n); /* the names are constants of this file */
		if (skip)
			text_printf(out, " + %zu", skip);
		text_puts(out, ": dbt ");
		put_bytes(out, a + skip, size);
		text_puts(out, ", reference ");
		put_bytes(out, b + skip, size);
		text_puts(out, "\n");
	}
}

static void tell_number(const char *name, u64 a, u64 b, struct text *out)
{
	if (a != b)
		text_printf(out, "  %s: dbt %#llx, reference %#llx\n", name, (unsigned long long)a,
			    (unsigned long long)b);
}

static void tell_event(const char *who, const struct cpu_event *e, struct text *out)
{
	if (e->valid)
		text_printf(out, "  %s: event %u, error code %#x, CR2 %#llx\n", who, e->vector, e->error,
			    (unsigned long long)e->cr2);
	else
		text_printf(out, "  %s: no event\n", who);
}

void state_tell(struct check *c, struct text *out)
{
	struct vcpu *v = c->v, *f = c->f;

	for (unsigned k = 0; k < ARRAY_SIZE(rows); k++)
		tell_row(&rows[k], v, f, out);
	tell_number("rflags", rflags_of(v), rflags_of(f), out);
	tell_number("mxcsr", simd_get_mxcsr(v), simd_get_mxcsr(f), out);
	if (!shadow_same(v, f))
		tell_number("interrupt shadow", v->shadow | v->shadow_ss << 1, f->shadow | f->shadow_ss << 1, out);
	if (!event_same(&v->event, &f->event)) {
		tell_event("dbt", &v->event, out);
		tell_event("reference", &f->event, out);
	}
}
