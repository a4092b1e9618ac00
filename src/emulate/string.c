/* SPDX-License-Identifier: Apache-2.0 */
/*
 * String instructions. Repeated ones work in spans: runs of elements within one page of plain RAM at either end, done
 * by host loads and stores; what is not plain (page crossings, MMIO, watchpoints, decoded code, odd segments) goes an element
 * at a time. After each span the index registers and rCX are committed, so that a fault in the middle is precise and the
 * instruction can be left at any span: it returns with RIP unchanged after REP_BYTES, or earlier if the engine has
 * something to look at. Flags of CMPS and SCAS are committed on leaving, never before a fault (SDM vol. 2, REP).
 */
#include <string.h>

#include "emulate/operand.h"

#define REP_BYTES 65536u
#define SPAN_COST 256 /* in such bytes, of a span however short: one that is no plain RAM is one element, and slow */

struct string {
	unsigned size; /* bytes of an element */
	unsigned asize; /* bytes of the index registers in use */
	bool down; /* DF: from high to low addresses */
	bool compared, ended;
	u64 a, b; /* last pair that was compared */
};

/* What every family does: up to count elements (at least one); returns how many were done, index registers committed. */
typedef u64 span_fn(struct vcpu *v, const struct insn *i, struct string *s, u64 count);

static u64 index_of(const struct vcpu *v, const struct string *s, enum gpr reg)
{
	return reg_read(v, SLOT(reg), s->asize);
}

static void advance(struct vcpu *v, const struct string *s, enum gpr reg, u64 n)
{
	u64 bytes = n * s->size;

	reg_write(v, SLOT(reg), s->asize, index_of(v, s, reg) + (s->down ? -bytes : bytes));
}

/* Bytes from ea up to the end of what the segment lets through, ea itself being good; 0 says element by element. */
static u64 segment_room(const struct vcpu *v, unsigned seg, u64 ea)
{
	const struct segment *s = &v->seg[seg];

	if (v->code_size == CODE_64)
		return PAGE_SIZE;
	if ((s->ar & (AR_CODE | AR_EXPAND_DOWN)) == AR_EXPAND_DOWN)
		return 0;
	return ea <= s->limit ? (u64)s->limit - ea + 1 : 0;
}

/* How many of count elements, the first at seg:ea = gla, lie in its page, its segment and before ea wraps round; at least 1. */
static u64 span_length(const struct vcpu *v, const struct string *s, unsigned seg, u64 ea, u64 gla, u64 count)
{
	u64 off = gla & ~PAGE_MASK, room = PAGE_SIZE - off, limit = segment_room(v, seg, ea);

	if (count == 1 || room < s->size || limit < s->size)
		return 1;
	if (s->down)
		return MIN(MIN(off, ea) / s->size + 1, count);
	room = MIN(room, limit);
	if (s->asize < 8)
		room = MIN(room, mask_size(s->asize) - ea + 1);
	return MAX(MIN(room / s->size, count), 1);
}

/* Lowest address of n elements, the first at gla. */
static u64 span_low(const struct string *s, u64 gla, u64 n)
{
	return s->down ? gla - (n - 1) * s->size : gla;
}

/* Host address of element 0 of the span, or NULL; faults as the access to element 0 would. */
static u8 *span_read(struct vcpu *v, const struct string *s, u64 gla, u64 n)
{
	if (n == 1)
		return NULL;
	if (s->down)
		mmu_probe_read(v, gla, s->size, MMU_EXPLICIT);
	u8 *low = mmu_direct_read(v, span_low(s, gla, n), (unsigned)n * s->size, MMU_EXPLICIT);
	return low && s->down ? low + (n - 1) * s->size : low;
}

static u8 *span_write(struct vcpu *v, const struct string *s, u64 gla, u64 n)
{
	if (n == 1)
		return NULL;
	if (s->down)
		mmu_probe_write(v, gla, s->size, MMU_EXPLICIT);
	u8 *low = mmu_direct_write(v, span_low(s, gla, n), (unsigned)n * s->size, MMU_EXPLICIT);
	return low && s->down ? low + (n - 1) * s->size : low;
}

static s64 stride(const struct string *s)
{
	return s->down ? -(s64)s->size : (s64)s->size;
}

/* ---- MOVS ---- */
/* Element by element where a source element is the destination of an earlier one, which memmove would not propagate. */
static void copy_span(const struct string *s, u8 *to, const u8 *from, u64 n)
{
	u64 bytes = n * s->size, ahead = s->down ? (u64)(from - to) : (u64)(to - from);

	if (ahead - 1 < bytes - 1) {
		for (; n; n--, to += stride(s), from += stride(s))
			host_store(to, s->size, host_load(from, s->size));
		return;
	}
	if (s->down) {
		to -= bytes - s->size;
		from -= bytes - s->size;
	}
	memmove(to, from, bytes);
}

static u64 movs_span(struct vcpu *v, const struct insn *i, struct string *s, u64 count)
{
	u64 si = index_of(v, s, RSI), di = index_of(v, s, RDI);
	u64 from = segment_linear(v, i->seg, si, s->size, SEG_READ);
	u64 n = span_length(v, s, i->seg, si, from, count);
	const u8 *src = span_read(v, s, from, n);
	u64 value = src ? 0 : mmu_load(v, from, s->size, MMU_EXPLICIT);
	u64 to = segment_linear(v, SEG_ES, di, s->size, SEG_WRITE);

	n = src ? MIN(n, span_length(v, s, SEG_ES, di, to, n)) : 1;
	u8 *dst = span_write(v, s, to, n);
	if (src && dst) {
		copy_span(s, dst, src, n);
	} else {
		n = 1;
		mmu_store(v, to, s->size, src ? host_load(src, s->size) : value, MMU_EXPLICIT);
	}
	advance(v, s, RSI, n);
	advance(v, s, RDI, n);
	return n;
}

/* ---- STOS ---- */
static void fill_span(const struct string *s, u8 *low, u64 n, u64 value)
{
	if (s->size == 1 || (value & mask_size(s->size)) == (u8)value * (mask_size(s->size) / 0xff)) {
		memset(low, (u8)value, n * s->size);
		return;
	}
	for (u64 k = 0; k < n; k++)
		host_store(low + k * s->size, s->size, value);
}

static u64 stos_span(struct vcpu *v, const struct insn *i, struct string *s, u64 count)
{
	u64 di = index_of(v, s, RDI);
	u64 to = segment_linear(v, SEG_ES, di, s->size, SEG_WRITE);
	u64 n = span_length(v, s, SEG_ES, di, to, count);
	u8 *dst = span_write(v, s, to, n);

	if (dst) {
		fill_span(s, s->down ? dst - (n - 1) * s->size : dst, n, v->r[RAX]);
	} else {
		n = 1;
		mmu_store(v, to, s->size, v->r[RAX] & mask_size(s->size), MMU_EXPLICIT);
	}
	advance(v, s, RDI, n);
	return n;
}

/* ---- LODS: the last element stays ---- */
static u64 lods_span(struct vcpu *v, const struct insn *i, struct string *s, u64 count)
{
	u64 si = index_of(v, s, RSI);
	u64 from = segment_linear(v, i->seg, si, s->size, SEG_READ);
	u64 n = span_length(v, s, i->seg, si, from, count);
	const u8 *src = span_read(v, s, from, n);
	u64 value;

	if (src) {
		value = host_load(src + (s64)(n - 1) * stride(s), s->size);
	} else {
		n = 1;
		value = mmu_load(v, from, s->size, MMU_EXPLICIT);
	}
	reg_write(v, SLOT(RAX), s->size, value);
	advance(v, s, RSI, n);
	return n;
}

/* ---- CMPS, SCAS ---- */
/* Whether the pair (a, b) ends the repetition: REPE goes on while equal, REPNE while not. */
static bool compare(const struct insn *i, struct string *s, u64 a, u64 b)
{
	s->a = a;
	s->b = b;
	s->compared = true;
	s->ended = (a == b) != !(i->flags & INSN_REPNE);
	return s->ended;
}

static u64 cmps_span(struct vcpu *v, const struct insn *i, struct string *s, u64 count)
{
	u64 si = index_of(v, s, RSI), di = index_of(v, s, RDI), k = 0;
	u64 one = segment_linear(v, i->seg, si, s->size, SEG_READ);
	u64 n = span_length(v, s, i->seg, si, one, count);
	const u8 *p = span_read(v, s, one, n);
	u64 a = p ? host_load(p, s->size) : mmu_load(v, one, s->size, MMU_EXPLICIT);
	u64 two = segment_linear(v, SEG_ES, di, s->size, SEG_READ);

	n = p ? MIN(n, span_length(v, s, SEG_ES, di, two, n)) : 1;
	const u8 *q = span_read(v, s, two, n);
	if (p && q) {
		while (!compare(i, s, host_load(p, s->size), host_load(q, s->size)) && k < n - 1) {
			k++;
			p += stride(s);
			q += stride(s);
		}
	} else {
		compare(i, s, a, mmu_load(v, two, s->size, MMU_EXPLICIT));
	}
	advance(v, s, RSI, k + 1);
	advance(v, s, RDI, k + 1);
	return k + 1;
}

static u64 scas_span(struct vcpu *v, const struct insn *i, struct string *s, u64 count)
{
	u64 di = index_of(v, s, RDI), a = reg_read(v, SLOT(RAX), s->size), k = 0;
	u64 gla = segment_linear(v, SEG_ES, di, s->size, SEG_READ);
	u64 n = span_length(v, s, SEG_ES, di, gla, count);
	const u8 *p = span_read(v, s, gla, n);

	if (p) {
		while (!compare(i, s, a, host_load(p, s->size)) && k < n - 1) {
			k++;
			p += stride(s);
		}
	} else {
		compare(i, s, a, mmu_load(v, gla, s->size, MMU_EXPLICIT));
	}
	advance(v, s, RDI, k + 1);
	return k + 1;
}

/* ---- repetition ---- */
static void commit_flags(struct vcpu *v, const struct string *s)
{
	if (s->compared)
		flags_lazy(v, FLAGS_SUB, s->size, sign_extend(s->a, s->size), sign_extend(s->b, s->size));
}

/* Interrupts, debug traps and stale code are seen between iterations (SDM vol. 2, REP; vol. 3, 17.3.1.4 for TF). */
static bool must_pause(const struct vcpu *v, u64 done)
{
	return done >= REP_BYTES || v->stop_now || steps_iterations(v) ||
	       atomic_load_explicit(&v->events, memory_order_relaxed);
}

static void repeat(struct vcpu *v, const struct insn *i, struct string *s, span_fn *span)
{
	u64 count, done = 0;

	while ((count = index_of(v, s, RCX)) && !s->ended) {
		if (done && must_pause(v, done)) {
			commit_flags(v, s);
			return;
		}
		u64 n = span(v, i, s, steps_iterations(v) ? 1 : MIN(count, REP_BYTES / s->size));
		reg_write(v, SLOT(RCX), s->asize, count - n);
		done += MAX(n * s->size, SPAN_COST);
	}
	commit_flags(v, s);
	v->rip = vcpu_next_rip(v, i);
}

static void string(struct vcpu *v, const struct insn *i, unsigned log2_size, span_fn *span)
{
	struct string s = { 1u << log2_size, asize_bytes(i), v->rflags & FL_DF };

	if (i->flags & (INSN_REP | INSN_REPNE)) {
		repeat(v, i, &s, span);
		return;
	}
	span(v, i, &s, 1);
	commit_flags(v, &s);
}

_Static_assert(OP_MOVSQ - OP_MOVSB == 3 && OP_STOSQ - OP_STOSB == 3 && OP_LODSQ - OP_LODSB == 3 &&
		       OP_CMPSQ - OP_CMPSB == 3 && OP_SCASQ - OP_SCASB == 3,
	       "rows in the order of sizes");

void exec_movs(struct vcpu *v, const struct insn *i)
{
	string(v, i, i->op - OP_MOVSB, movs_span);
}

void exec_stos(struct vcpu *v, const struct insn *i)
{
	string(v, i, i->op - OP_STOSB, stos_span);
}

void exec_lods(struct vcpu *v, const struct insn *i)
{
	string(v, i, i->op - OP_LODSB, lods_span);
}

void exec_cmps(struct vcpu *v, const struct insn *i)
{
	string(v, i, i->op - OP_CMPSB, cmps_span);
}

void exec_scas(struct vcpu *v, const struct insn *i)
{
	string(v, i, i->op - OP_SCASB, scas_span);
}
