/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What 64-bit code does not have, and 16- and 32-bit code does differently: no oracle runs it, so here the expected results are written
 * down, or computed the way the manual's pseudocode does (SDM vol. 2). Flat 32-bit protected mode without paging, or 16-bit
 * segments; code at CODE_AT, data at DATA_AT, stack below STACK_TOP.
 */
#include <stdio.h>
#include <string.h>

#include "emulate/emulate.h"
#include "emulate/vector.h"
#include "guest.h"
#include "legacy.h"
#include "machine/flags.h"

#define CODE_AT	  0x10000u
#define DATA_AT	  0x12000u
#define STACK_TOP 0x13800u
#define NO_FAULT  0xff

struct lab {
	struct guest g;
	struct vcpu *v;
	unsigned failed;
	u8 vector;
	bool seen[NR_OPS];
	const char *what;
};

/* ---- running ---- */
static void set_segments(struct vcpu *v, bool wide, bool wide_stack)
{
	u32 common = AR_P | AR_S | AR_G | 3 << AR_DPL_SHIFT;

	for (unsigned s = 0; s < NR_SEG; s++)
		v->seg[s] = (struct segment){ .limit = ~0u, .ar = common | AR_DB | 0x3, .selector = 0x2b };
	v->seg[SEG_CS].ar = common | 0xb | (wide ? AR_DB : 0);
	v->seg[SEG_SS].ar = common | 0x3 | (wide_stack ? AR_DB : 0);
	/* 16-bit code has 16-bit pointers: its data segments begin where the pages are. */
	if (!wide)
		for (unsigned s = 0; s < NR_SEG; s++)
			v->seg[s].base = 0x10000;
}

static void reset(struct lab *l, const char *what, bool wide, bool wide_stack)
{
	struct vcpu *v = l->v;

	l->what = what;
	memset(v->r, 0, sizeof(v->r));
	v->cr0 = CR0_PE | CR0_ET | CR0_NE;
	v->cr4 = 0;
	v->efer = 0;
	v->rflags = FL_1 | FL_IF;
	v->lazy.kind = FLAGS_KNOWN;
	v->cpl = 3;
	set_segments(v, wide, wide_stack);
	vcpu_update_mode(v);
	mmu_flush_all(v);
	mmu_update_view(v);
	v->r[RSP] = wide_stack ? STACK_TOP : STACK_TOP - 0x10000;
	v->rip = wide ? CODE_AT : 0;
	memset(l->g.data, 0xee, DATA_LEN);
}

/* One instruction. What faults leaves its vector in l->vector. */
static void step(struct lab *l, const u8 *bytes, unsigned n)
{
	struct vcpu *v = l->v;
	static struct insn i;
	jmp_buf landing;
	u8 padded[15] = { 0 };

	memcpy(padded, bytes, n);
	l->vector = NO_FAULT;
	if (insn_decode(&i, NULL, padded, 15, v->code_size, (unsigned)v->rip & 0xfff) != DECODE_OK) {
		l->vector = EXC_UD;
		return;
	}
	l->seen[i.op] = true;
	v->unwind = &landing;
	v->cur = &i;
	if (setjmp(landing)) {
		l->vector = v->event.vector;
		v->event.valid = false;
	} else {
		op_exec[i.op](v, &i);
		if (!(i.flags & INSN_END))
			v->rip += i.len;
	}
	v->stop_now = false;
	v->unwind = NULL;
}
#define STEP(l, ...) step(l, (const u8[]){ __VA_ARGS__ }, sizeof((u8[]){ __VA_ARGS__ }))

static void expect(struct lab *l, const char *name, u64 got, u64 want)
{
	if (got == want)
		return;
	printf("legacy: %s: %s is %llx, expected %llx\n", l->what, name, (unsigned long long)got,
	       (unsigned long long)want);
	l->failed++;
}

static void expect_flags(struct lab *l, u32 mask, u32 want)
{
	expect(l, "flags", flags_get(l->v) & mask, want & mask);
}

static u32 data32(struct lab *l, u32 at)
{
	u32 x;
	memcpy(&x, l->g.data + (at - DATA_AT), 4);
	return x;
}

static u16 data16(struct lab *l, u32 at)
{
	return (u16)data32(l, at);
}

static void put32(struct lab *l, u32 at, u32 x)
{
	memcpy(l->g.data + (at - DATA_AT), &x, 4);
}

/* ---- decimal adjustment, all of AL with both flags, by the manual's pseudocode ---- */
static u32 result_flags(u8 r)
{
	return (r ? 0 : FL_ZF) | (r & 0x80 ? FL_SF : 0) | (__builtin_parity(r) ? 0 : FL_PF);
}

static void one_adjust(struct lab *l, u8 opcode, u16 ax, u32 flags)
{
	u8 al = (u8)ax, old = al;
	bool cf = flags & FL_CF, af = flags & FL_AF, low = (al & 15) > 9 || af;
	u32 want = 0, mask = FL_CF | FL_AF;
	u16 result = ax;

	switch (opcode) {
	case 0x37: /* AAA */
		result = low ? (u16)(ax + 0x106) & 0xff0f : ax & 0xff0f;
		want = low ? FL_CF | FL_AF : 0;
		break;
	case 0x3f: /* AAS */
		result = low ? (u16)((u16)(ax - 6) - 0x100) & 0xff0f : ax & 0xff0f;
		want = low ? FL_CF | FL_AF : 0;
		break;
	default: { /* DAA 27, DAS 2F */
		int sign = opcode == 0x27 ? 1 : -1;
		bool carry = false;
		if (low) {
			carry = cf || (sign > 0 ? al > 0xf9 : al < 6);
			al = (u8)(al + sign * 6);
			want |= FL_AF;
		}
		if (old > 0x99 || cf) {
			al = (u8)(al + sign * 0x60);
			carry = true;
		}
		want |= (carry ? FL_CF : 0) | result_flags(al);
		mask |= FL_SF | FL_ZF | FL_PF;
		result = (u16)((ax & 0xff00) | al);
	}
	}
	reset(l, opcode == 0x37 ? "AAA" : opcode == 0x3f ? "AAS" : opcode == 0x27 ? "DAA" : "DAS", true, true);
	l->v->r[RAX] = 0xabcd0000u | ax;
	l->v->rflags |= flags;
	step(l, &opcode, 1);
	expect(l, "EAX", l->v->r[RAX], 0xabcd0000u | result);
	expect_flags(l, mask, want);
}

static void decimal(struct lab *l)
{
	static const u8 opcodes[] = { 0x27, 0x2f, 0x37, 0x3f };

	for (unsigned k = 0; k < 4; k++)
		for (unsigned al = 0; al < 256; al++)
			for (unsigned f = 0; f < 4; f++)
				one_adjust(l, opcodes[k], (u16)(0x3f00 | al),
					   (f & 1 ? FL_CF : 0) | (f & 2 ? FL_AF : 0));
	for (unsigned al = 0; al < 256; al++)
		for (unsigned base = 0; base < 256; base += 5) {
			reset(l, "AAM", true, true);
			l->v->r[RAX] = 0x7700 | al;
			STEP(l, 0xd4, (u8)base);
			expect(l, "vector", l->vector, base ? NO_FAULT : EXC_DE);
			if (base) {
				expect(l, "AX", l->v->r[RAX], al / base << 8 | al % base);
				expect_flags(l, FL_SF | FL_ZF | FL_PF, result_flags((u8)(al % base)));
			}
			reset(l, "AAD", true, true);
			l->v->r[RAX] = 0x1700 | al;
			STEP(l, 0xd5, (u8)base);
			expect(l, "AX", l->v->r[RAX], (u8)(al + 0x17 * base));
			expect_flags(l, FL_SF | FL_ZF | FL_PF, result_flags((u8)(al + 0x17 * base)));
		}
}

static void salc(struct lab *l)
{
	for (unsigned cf = 0; cf < 2; cf++) {
		reset(l, "SALC", true, true);
		l->v->r[RAX] = 0x12345678;
		l->v->rflags |= cf;
		STEP(l, 0xd6);
		expect(l, "EAX", l->v->r[RAX], cf ? 0x123456ff : 0x12345600);
	}
}

/* ---- stack ---- */
static void push_all(struct lab *l, bool wide)
{
	struct vcpu *v = l->v;
	unsigned size = wide ? 4 : 2;
	u32 sp = STACK_TOP - 8 * size;

	reset(l, wide ? "PUSHAD" : "PUSHA", true, true);
	for (unsigned k = 0; k < 8; k++)
		if (k != RSP)
			v->r[k] = 0x11110000u * (k + 1) + k;
	if (wide)
		STEP(l, 0x60);
	else
		STEP(l, 0x66, 0x60);
	expect(l, "ESP", v->r[RSP], sp);
	for (unsigned k = 0; k < 8; k++) { /* EAX highest */
		u32 at = sp + (7 - k) * size, want = k == RSP ? STACK_TOP : 0x11110000u * (k + 1) + k;
		expect(l, "pushed", wide ? data32(l, at) : data16(l, at), wide ? want : (u16)want);
	}
	l->what = wide ? "POPAD" : "POPA";
	for (unsigned k = 0; k < 8; k++)
		if (k != RSP)
			v->r[k] = 0xffff0000u;
	if (wide)
		STEP(l, 0x61);
	else
		STEP(l, 0x66, 0x61);
	for (unsigned k = 0; k < 8; k++)
		expect(l, "popped", v->r[k], k == RSP ? STACK_TOP : wide ? 0x11110000u * (k + 1) + k : 0xffff0000u + k);
}

static void stack(struct lab *l)
{
	struct vcpu *v = l->v;

	push_all(l, true);
	push_all(l, false);

	reset(l, "PUSH in a 16-bit stack keeps ESP's upper half", true, false);
	v->seg[SEG_SS].base = 0x10000;
	v->r[RSP] = 0xabcd3800;
	v->r[RAX] = 0x12345678;
	STEP(l, 0x50);
	expect(l, "ESP", v->r[RSP], 0xabcd37fc);
	expect(l, "pushed", data32(l, 0x137fc), 0x12345678);

	reset(l, "PUSH below SP 0 wraps", true, false);
	v->seg[SEG_SS].base = DATA_AT + 0x1000 - 0x10000;
	v->r[RSP] = 0x50000;
	v->r[RAX] = 0x87654321;
	STEP(l, 0x66, 0x50);
	expect(l, "ESP", v->r[RSP], 0x5fffe);
	expect(l, "pushed", data16(l, DATA_AT + 0xffe), 0x4321);

	reset(l, "ENTER and LEAVE, 16 bits", false, false);
	v->r[RBP] = 0x99993000;
	STEP(l, 0xc8, 0x10, 0x00, 0x00);
	expect(l, "ESP", v->r[RSP], STACK_TOP - 0x10000 - 2 - 0x10);
	expect(l, "EBP", v->r[RBP], 0x99990000u | (STACK_TOP - 0x10000 - 2));
	STEP(l, 0xc9);
	expect(l, "ESP", v->r[RSP], STACK_TOP - 0x10000);
	expect(l, "EBP", v->r[RBP], 0x99993000);
}

static void bound(struct lab *l)
{
	static const struct {
		s32 index, low, high;
		u8 vector;
	} cases[] = { { 5, 0, 9, NO_FAULT }, { 0, 0, 9, NO_FAULT },   { 9, 0, 9, NO_FAULT }, { 10, 0, 9, EXC_BR },
		      { -1, 0, 9, EXC_BR },  { -4, -5, 0, NO_FAULT }, { -6, -5, 0, EXC_BR } };

	for (unsigned k = 0; k < ARRAY_SIZE(cases); k++) {
		reset(l, "BOUND", true, true);
		l->v->r[RCX] = (u32)cases[k].index;
		put32(l, DATA_AT, (u32)cases[k].low);
		put32(l, DATA_AT + 4, (u32)cases[k].high);
		l->v->r[RBX] = DATA_AT;
		STEP(l, 0x62, 0x0b);
		expect(l, "vector", l->vector, cases[k].vector);
		reset(l, "BOUND, 16 bits", true, true);
		l->v->r[RCX] = 0x70000 | (u16)cases[k].index;
		put32(l, DATA_AT, (u16)cases[k].low | (u32)cases[k].high << 16);
		l->v->r[RBX] = DATA_AT;
		STEP(l, 0x66, 0x62, 0x0b);
		expect(l, "vector", l->vector, cases[k].vector);
	}
	reset(l, "BOUND with a register", true, true);
	STEP(l, 0x62, 0xc1);
	expect(l, "vector", l->vector, EXC_UD);
}

/* ---- control transfers ---- */
static void branches(struct lab *l)
{
	struct vcpu *v = l->v;

	reset(l, "JCXZ looks at CX alone", true, true);
	v->r[RCX] = 0x10000;
	STEP(l, 0x67, 0xe3, 0x10);
	expect(l, "EIP", v->rip, CODE_AT + 0x13);
	reset(l, "JECXZ", true, true);
	v->r[RCX] = 0x10000;
	STEP(l, 0xe3, 0x10);
	expect(l, "EIP", v->rip, CODE_AT + 2);
	reset(l, "LOOP with CX", true, true);
	v->r[RCX] = 0x70001;
	STEP(l, 0x67, 0xe2, 0x10);
	expect(l, "EIP", v->rip, CODE_AT + 3);
	expect(l, "ECX", v->r[RCX], 0x70000);
	reset(l, "JMP with a 16-bit operand cuts EIP", true, true);
	v->seg[SEG_CS].base = 0;
	STEP(l, 0x66, 0xe9, 0x10, 0x20);
	expect(l, "EIP", v->rip, 0x2014);
	reset(l, "CALL and RET, 16 bits", false, false);
	v->rip = 0x1f00;
	STEP(l, 0xe8, 0x00, 0x10);
	expect(l, "IP", v->rip, 0x2f03);
	expect(l, "SP", v->r[RSP], STACK_TOP - 0x10000 - 2);
	expect(l, "return address", data16(l, STACK_TOP - 2), 0x1f03);
	STEP(l, 0xc2, 0x04, 0x00);
	expect(l, "IP", v->rip, 0x1f03);
	expect(l, "SP", v->r[RSP], STACK_TOP - 0x10000 + 4);
	reset(l, "JMP backwards past IP 0 wraps", false, false);
	v->rip = 2;
	STEP(l, 0xe9, 0xf0, 0xff);
	expect(l, "IP", v->rip, 0xfff5);
}

/* ---- addresses ---- */
static void addresses(struct lab *l)
{
	/* LEA AX, [...] in 16-bit code (SDM vol. 2, table 2-1), with BX 1000, BP 200, SI 30, DI 4. */
	static const struct {
		u8 modrm;
		u16 want;
	} forms[] = { { 0x00, 0x1030 }, { 0x01, 0x1004 }, { 0x02, 0x230 },  { 0x03, 0x204 },
		      { 0x04, 0x30 },	{ 0x05, 0x4 },	  { 0x06, 0xfff0 }, { 0x07, 0x1000 },
		      { 0x46, 0x1f0 },	{ 0x47, 0xff0 },  { 0x86, 0x1f0 },  { 0x80, 0x1020 } };

	for (unsigned k = 0; k < ARRAY_SIZE(forms); k++) {
		reset(l, "LEA with 16-bit addressing", false, false);
		l->v->r[RBX] = 0x1000;
		l->v->r[RBP] = 0x200;
		l->v->r[RSI] = 0x30;
		l->v->r[RDI] = 4;
		STEP(l, 0x8d, forms[k].modrm, 0xf0, 0xff);
		expect(l, "AX", l->v->r[RAX], forms[k].want);
	}
	reset(l, "a 16-bit address wraps", false, false);
	l->v->r[RBX] = 0xfff0;
	l->v->r[RSI] = 0x3010;
	put32(l, 0x13000, 0xcafe1234);
	STEP(l, 0x8b, 0x00);
	expect(l, "AX", l->v->r[RAX], 0x1234);
	reset(l, "MOVSB with SI and DI", true, true);
	l->v->r[RSI] = 0xdead2000 & 0xffff0000;
	l->v->r[RDI] = 0xbeefffff;
	for (unsigned s = 0; s < NR_SEG; s++)
		if (s != SEG_CS)
			l->v->seg[s].base = s == SEG_ES ? DATA_AT + 0x800 - 0xffff : DATA_AT;
	put32(l, DATA_AT, 0x5a);
	STEP(l, 0x67, 0xa4);
	expect(l, "ESI", l->v->r[RSI], 0xdead0001);
	expect(l, "EDI", l->v->r[RDI], 0xbeef0000);
	expect(l, "moved", data16(l, DATA_AT + 0x800) & 0xff, 0x5a);
	reset(l, "INC EAX, one byte", true, true);
	l->v->r[RAX] = 0x7fffffff;
	STEP(l, 0x40);
	expect(l, "EAX", l->v->r[RAX], 0x80000000);
	expect_flags(l, FL_OF | FL_SF | FL_ZF, FL_OF | FL_SF);
	reset(l, "past the segment's limit", true, true);
	l->v->seg[SEG_DS].limit = DATA_AT + 2;
	l->v->seg[SEG_DS].ar &= ~AR_G;
	l->v->r[RBX] = DATA_AT;
	STEP(l, 0x8b, 0x03);
	expect(l, "vector", l->vector, EXC_GP);
	reset(l, "past the stack segment's limit", true, true);
	l->v->seg[SEG_SS].limit = 0x1000;
	STEP(l, 0x50);
	expect(l, "vector", l->vector, EXC_SS);
	reset(l, "expand-down segment", true, true);
	l->v->seg[SEG_DS].ar |= AR_EXPAND_DOWN;
	l->v->seg[SEG_DS].limit = DATA_AT;
	l->v->r[RBX] = DATA_AT;
	STEP(l, 0x8b, 0x03);
	expect(l, "vector", l->vector, EXC_GP);
	l->v->r[RBX] = DATA_AT + 1;
	STEP(l, 0x8b, 0x03);
	expect(l, "vector", l->vector, NO_FAULT);
	reset(l, "write to a read-only segment", true, true);
	l->v->seg[SEG_DS].ar &= ~AR_WRITE;
	l->v->r[RBX] = DATA_AT;
	STEP(l, 0x89, 0x03);
	expect(l, "vector", l->vector, EXC_GP);
}

/* Rows that only this table reaches. */
static const u16 rows[] = { OP_AAA,   OP_AAS,	 OP_AAM,  OP_AAD,   OP_DAA,   OP_DAS, OP_SALC,
			    OP_PUSHA, OP_PUSHAD, OP_POPA, OP_POPAD, OP_BOUND, OP_JCXZ };

bool legacy_covers(u16 op)
{
	for (unsigned k = 0; k < ARRAY_SIZE(rows); k++)
		if (rows[k] == op)
			return true;
	return false;
}

unsigned legacy_test(void)
{
	static struct lab lab;
	struct error err;

	if (guest_open(&lab.g) || mmu_create(lab.g.v, &err)) {
		printf("legacy: no machine\n");
		return 1;
	}
	lab.v = lab.g.v;
	decimal(&lab);
	salc(&lab);
	stack(&lab);
	bound(&lab);
	branches(&lab);
	addresses(&lab);
	for (unsigned k = 0; k < ARRAY_SIZE(rows); k++)
		if (!lab.seen[rows[k]]) {
			printf("legacy: %s never ran\n", op_facts[rows[k]].name);
			lab.failed++;
		}
	mmu_destroy(lab.v);
	guest_close(&lab.g);
	printf("legacy: %u failures\n", lab.failed);
	return lab.failed;
}
