/* SPDX-License-Identifier: Apache-2.0 */
/* Two outcomes of one case, side by side. What a manual leaves open is left out: see meaning.c for what, and why. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "case.h"
#include "x86/bits.h"
#include "x86/ops.h"

struct report {
	char *at, *end;
	unsigned count;
};

__attribute__((format(printf, 2, 3))) static void differ(struct report *r, const char *fmt, ...)
{
	va_list ap;

	r->count++;
	va_start(ap, fmt);
	int n = vsnprintf(r->at, (size_t)(r->end - r->at), fmt, ap);
	va_end(ap);
	r->at += n < r->end - r->at ? n : r->end - r->at - 1;
}

static const char *const gpr_names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					   "r8",  "r9",	 "r10", "r11", "r12", "r13", "r14", "r15" };

static bool is_memory_fault(u8 vector)
{
	return vector == EXC_PF || vector == EXC_GP || vector == EXC_SS || vector == EXC_AC;
}

static void compare_fault(struct report *r, const struct outcome *a, const struct outcome *b)
{
	u32 error = ~0u;

	/* Which of the two comes first is the CPU's choice (SDM vol. 3, table 6-2). */
	if ((a->vector == EXC_AC && b->vector == EXC_PF) || (a->vector == EXC_PF && b->vector == EXC_AC))
		return;
	/* Bytes that are undefined before the page's end, if one knows. */
	if (a->vector == EXC_PF && a->error & PF_I && b->vector == EXC_UD)
		return;
	if (a->loose & LOOSE_LONG && b->vector == EXC_UD)
		return;
	if (a->loose & LOOSE_ORDER && a->vector == EXC_SS && b->vector == EXC_GP)
		return;
	if (a->loose & LOOSE_STRUCT && is_memory_fault(a->vector) && is_memory_fault(b->vector) &&
	    a->vector != b->vector)
		return;
	if (a->vector != b->vector) {
		differ(r, "  vector    %u, host %u\n", a->vector, b->vector);
		return;
	}
	/* Linux reports faults above user space as protection violations, so as not to tell what is mapped. */
	if (a->vector == EXC_PF && b->cr2 >= 0x7ffffffff000)
		error &= ~PF_P;
	if (a->loose & LOOSE_STRUCT)
		return;
	if (is_memory_fault(a->vector) && (a->error ^ b->error) & error && !(a->loose & LOOSE_STRUCT))
		differ(r, "  error     %x, host %x\n", a->error, b->error);
	if (a->vector == EXC_PF && (a->cr2 ^ b->cr2) & (a->loose & LOOSE_STRUCT ? PAGE_MASK : ~0ull))
		differ(r, "  cr2       %llx, host %llx\n", (unsigned long long)a->cr2, (unsigned long long)b->cr2);
}

static void compare_integer(struct report *r, const struct outcome *a, const struct outcome *b)
{
	/* RF is in what a fault pushes and not in the state; IOPL and the VM bits are not a user's. */
	u64 flags = (FL_ARITH & ~a->undefined) | FL_TF | FL_DF | FL_IF | FL_NT | FL_AC | FL_ID;
	u64 mask = a->loose & LOOSE_UPPER ? 0xffffffff : ~0ull;

	if (a->out.rip != b->out.rip)
		differ(r, "  rip       %llx, host %llx\n", (unsigned long long)a->out.rip,
		       (unsigned long long)b->out.rip);
	if (!(a->loose & LOOSE_RESULT) && (a->out.rflags ^ b->out.rflags) & flags)
		differ(r, "  rflags    %llx, host %llx (undefined %x)\n", (unsigned long long)a->out.rflags,
		       (unsigned long long)b->out.rflags, a->undefined);
	for (unsigned k = 0; k < 16 && !(a->loose & LOOSE_RESULT); k++)
		if ((a->out.r[k] ^ b->out.r[k]) & mask)
			differ(r, "  %-9s %016llx, host %016llx\n", gpr_names[k], (unsigned long long)a->out.r[k],
			       (unsigned long long)b->out.r[k]);
}

/* Intel and AMD both promise a relative error of at most 1.5 * 2^-12: two such results are within twice that. */
static bool near_lane(const u8 *x, const u8 *y)
{
	float a, b;

	memcpy(&a, x, 4);
	memcpy(&b, y, 4);
	if (!memcmp(x, y, 4) || (isnan(a) && isnan(b)))
		return true;
	return signbit(a) == signbit(b) && fabsf(a - b) <= ldexpf(3.0f, -12) * fabsf(b);
}

static bool same_vector(const u8 *x, const u8 *y, u32 loose)
{
	if (!(loose & LOOSE_RCP))
		return !memcmp(x, y, 32);
	for (unsigned k = 0; k < 32; k += 4)
		if (!near_lane(x + k, y + k))
			return false;
	return true;
}

static void compare_vectors(struct report *r, const struct outcome *a, const struct outcome *b)
{
	for (unsigned k = 0; k < 16; k++) {
		const u64 *x = (const u64 *)a->out.v[k], *y = (const u64 *)b->out.v[k];
		if (!same_vector(a->out.v[k], b->out.v[k], a->loose))
			differ(r,
			       "  ymm%-6u %016llx_%016llx_%016llx_%016llx\n       host "
			       "%016llx_%016llx_%016llx_%016llx\n",
			       k, (unsigned long long)x[3], (unsigned long long)x[2], (unsigned long long)x[1],
			       (unsigned long long)x[0], (unsigned long long)y[3], (unsigned long long)y[2],
			       (unsigned long long)y[1], (unsigned long long)y[0]);
	}
	/* Unmasked overflow and underflow: whether the result is also inexact depends on an exponent that is not kept. */
	u32 mxcsr = a->vector == EXC_XM && a->out.mxcsr & ~(a->out.mxcsr >> 7) & 0x18 ? ~0x20u : ~0u;
	if ((a->vector == EXC_XM || a->vector == EXC_AC) && a->loose & LOOSE_TRAPPED)
		mxcsr = ~0x3fu;
	if ((a->out.mxcsr ^ b->out.mxcsr) & mxcsr)
		differ(r, "  mxcsr     %x, host %x\n", a->out.mxcsr, b->out.mxcsr);
}

static bool same_st(const struct x87_image *a, const struct x87_image *b, unsigned k, u32 loose)
{
	if (a->st[k].e == b->st[k].e && a->st[k].m == b->st[k].m)
		return true;
	if (!(loose & LOOSE_X87_ULP) || (a->st[k].e ^ b->st[k].e) & 0x8000)
		return false;
	s64 apart = (s64)(a->st[k].m - b->st[k].m);
	if (a->st[k].e != b->st[k].e) /* on either side of a power of two */
		return (u16)(a->st[k].e - b->st[k].e + 1) <= 2 && (a->st[k].m << 1) + 4 - (b->st[k].m << 1) <= 8;
	return apart >= -2 && apart <= 2;
}

static void compare_x87(struct report *r, const struct outcome *a, const struct outcome *b)
{
	const struct x87_image *x = &a->out.x87, *y = &b->out.x87;
	/* C1 after a transcendental says whether its last place was rounded up: as open as that place. So is precision. */
	u16 sw = a->loose & LOOSE_X87_ULP ? (u16)~0x0220 : 0xffff;

	if (a->loose & LOOSE_C1)
		sw &= (u16)~0x0200;

	if (x->cw != y->cw)
		differ(r, "  fcw       %x, host %x\n", x->cw, y->cw);
	if ((x->sw ^ y->sw) & sw)
		differ(r, "  fsw       %x, host %x\n", x->sw, y->sw);
	if (x->tag != y->tag)
		differ(r, "  ftag      %x, host %x\n", x->tag, y->tag);
	for (unsigned k = 0; k < 8; k++)
		if (!same_st(x, y, k, a->loose))
			differ(r, "  st%u       %04x:%016llx, host %04x:%016llx\n", k, x->st[k].e,
			       (unsigned long long)x->st[k].m, y->st[k].e, (unsigned long long)y->st[k].m);
}

static bool in_hole(const struct outcome *o, u64 gla)
{
	for (unsigned k = 0; k < ARRAY_SIZE(o->holes); k++)
		if (gla - o->holes[k].gla < o->holes[k].len)
			return true;
	return false;
}

static void compare_data(struct report *r, const struct outcome *a, const struct outcome *b)
{
	unsigned shown = 0;

	if (!memcmp(a->data, b->data, DATA_LEN) || a->loose & (LOOSE_RESULT | LOOSE_MEMORY))
		return;
	for (unsigned k = 0; k < DATA_LEN && shown < 16; k++)
		if (a->data[k] != b->data[k] && !in_hole(a, DATA_GLA + k)) {
			u64 x, y;
			k &= ~7u;
			memcpy(&x, a->data + k, 8);
			memcpy(&y, b->data + k, 8);
			differ(r, "  [%llx] %016llx, host %016llx\n", (unsigned long long)DATA_GLA + k,
			       (unsigned long long)x, (unsigned long long)y);
			shown++;
			k += 7;
		}
}

unsigned compare(const struct testcase *t, const struct outcome *a, const struct outcome *b, char *text, size_t size)
{
	static const char *const hows[] = { "fault", "skip", "hang", "death", "system call" };
	struct report r = { text, text + size, 0 };

	*text = 0;
	if (b->how != HOW_FAULT || a->how != HOW_FAULT) {
		if (a->how != b->how)
			differ(&r, "  ends with %s, host %s\n", hows[a->how], hows[b->how]);
		return r.count;
	}
	/* AMD's MXCSR has a bit more, MM. */
	if (a->vector == EXC_GP && b->vector != EXC_GP && b->out.mxcsr & 0x20000)
		return 0;
	/* Whether 16 and 32 bytes' alignment counts is up to the CPU (SDM vol. 3, 6.15, #AC). */
	if (a->loose & (LOOSE_ORDER | LOOSE_TRAPPED) && b->vector == EXC_AC)
		return 0;
	if (a->loose & LOOSE_MASKED && is_memory_fault(b->vector) &&
	    (a->vector != b->vector || a->out.rip != b->out.rip))
		return 0;
	compare_fault(&r, a, b);
	compare_integer(&r, a, b);
	if (!(a->loose & LOOSE_RESULT) || a->loose & LOOSE_RCP) {
		compare_vectors(&r, a, b);
		if (!(a->loose & LOOSE_X87))
			compare_x87(&r, a, b);
		compare_data(&r, a, b);
	}
	return r.count;
}
