/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code of hostile guests: random instructions that decode, with recipes among them that reach what random operands
 * rarely do: MSRs, ports, selectors, control and debug registers, far transfers, devices, and code that changes itself.
 */
#include <string.h>

#include "fuzz.h"
#include "x86/insn.h"
#include "x86/ops.h"

#define POOL_PAGES 48

static u8 pool[3][POOL_PAGES][PAGE_SIZE];

struct emit {
	struct fuzz_random *r;
	enum code_size size;
	u8 *at;
	unsigned n, room;
};

static void byte(struct emit *e, u8 b)
{
	if (e->n < e->room)
		e->at[e->n++] = b;
}

static void bytes(struct emit *e, const char *b, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		byte(e, (u8)b[k]);
}
#define BYTES(e, s) bytes(e, s, sizeof(s) - 1)

static void imm(struct emit *e, u64 x, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		byte(e, (u8)(x >> (8 * k)));
}

/* MOV register 0..7, value; REX.W sometimes. */
static void set_reg(struct emit *e, unsigned reg, u64 value)
{
	if (e->size == CODE_16)
		byte(e, 0x66);
	bool wide = e->size == CODE_64 && value >> 32;
	if (wide)
		byte(e, 0x48);
	byte(e, (u8)(0xb8 + reg));
	imm(e, value, wide ? 8 : 4);
}

static void recipe_msr(struct emit *e)
{
	static const u32 msrs[] = { 0x1b,	0x10,	    0x3b,	0x174,	    0x175,	0x176,	    0x1a0,
				    0x1d9,	0x277,	    0x2ff,	0x200,	    0x201,	0x250,	    0x400,
				    0x6e0,	0x800,	    0x808,	0x80b,	    0x80f,	0x830,	    0x832,
				    0x838,	0x83e,	    0x83f,	0xda0,	    0xc0000080, 0xc0000081, 0xc0000082,
				    0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103 };
	u32 msr = percent(e->r, 90) ? msrs[below(e->r, ARRAY_SIZE(msrs))] : (u32)(0x800 + below(e->r, 0x40));

	set_reg(e, RCX, msr);
	if (percent(e->r, 30)) {
		BYTES(e, "\x0f\x32");
		BYTES(e, "\x0f\xba\xf8"); /* BTC EAX, n */
		byte(e, (u8)below(e->r, 32));
	} else {
		set_reg(e, RAX, nasty(e->r, BIT(21)) & 0xffffffff);
		set_reg(e, RDX, percent(e->r, 70) ? 0 : (u32)rnd(e->r));
	}
	BYTES(e, "\x0f\x30");
}

static void recipe_port(struct emit *e)
{
	static const u16 ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x40,  0x42,  0x43, 0x61,
				     0x70, 0x71, 0x64, 0x60, 0x3f8, 0xcf8, 0xcfc, 0xf0, 0x600 };
	u16 port = percent(e->r, 80) ? (u16)(ports[below(e->r, ARRAY_SIZE(ports))] + below(e->r, 8)) : (u16)rnd(e->r);

	set_reg(e, RDX, port);
	if (percent(e->r, 30)) {
		set_reg(e, RCX, 1 + below(e->r, 300));
		set_reg(e, percent(e->r, 50) ? RSI : RDI, nasty(e->r, BIT(21)));
		byte(e, percent(e->r, 50) ? 0xf3 : 0xf2);
		byte(e, (u8)(0x6c + below(e->r, 4)));
		return;
	}
	set_reg(e, RAX, percent(e->r, 50) ? below(e->r, 256) : rnd(e->r) & 0xffffffff);
	byte(e, (u8)(0xec + below(e->r, 4)));
}

/* MOV from CRn or DRn, flip a bit, move back. */
static void recipe_control(struct emit *e)
{
	static const u8 crs[] = { 0, 0, 3, 4, 4, 8 };
	bool debug = percent(e->r, 30);
	u8 n = debug ? (u8)below(e->r, 8) : crs[below(e->r, ARRAY_SIZE(crs))];
	u8 modrm = (u8)(0xc0 | (n & 7) << 3), op = debug ? 0x21 : 0x20;

	if (n == 8 && e->size == CODE_64)
		byte(e, 0x44);
	byte(e, 0x0f), byte(e, op), byte(e, modrm);
	if (debug && percent(e->r, 70)) {
		set_reg(e, RAX, n == 7 ? rnd(e->r) & 0xffff00ff : nasty(e->r, BIT(21)) & 0xffffffff);
	} else {
		BYTES(e, "\x0f\xba\xf8");
		byte(e, (u8)below(e->r, 32));
	}
	if (n == 8 && e->size == CODE_64)
		byte(e, 0x44);
	byte(e, 0x0f), byte(e, op + 2), byte(e, modrm);
}

static u16 selector(struct emit *e)
{
	return (u16)(below(e->r, 64) << 3 | (percent(e->r, 30) ? 4 : 0) | (percent(e->r, 50) ? 3 : 0));
}

static void recipe_selector(struct emit *e)
{
	static const char *const loads[] = { "\x8e\xd0",     "\x8e\xd8",     "\x8e\xc0",     "\x8e\xe0",
					     "\x8e\xe8",     "\x0f\x00\xd0", "\x0f\x00\xd8", "\x0f\x00\xe0",
					     "\x0f\x02\xc8", "\x0f\x03\xc8" };
	unsigned k = (unsigned)below(e->r, ARRAY_SIZE(loads));

	set_reg(e, RAX, selector(e));
	bytes(e, loads[k], k < 5 ? 2 : 3);
}

static void recipe_far(struct emit *e)
{
	u32 offset = (u32)(LOW_CODE + below(e->r, 0x8000));

	switch (below(e->r, 6)) {
	case 0: /* CALL or JMP far, direct; in 64-bit code no instruction */
		byte(e, percent(e->r, 50) ? 0x9a : 0xea);
		imm(e, offset, e->size == CODE_16 ? 2 : 4);
		imm(e, selector(e), 2);
		break;
	case 1: /* RETF by a frame of our own */
		byte(e, 0x68), imm(e, selector(e), e->size == CODE_16 ? 2 : 4);
		byte(e, 0x68), imm(e, offset, e->size == CODE_16 ? 2 : 4);
		byte(e, 0xcb);
		break;
	case 2: /* IRET by one */
		for (unsigned k = 0; k < 5; k++) {
			u64 x = k == 2 ? rnd(e->r) & 0x3fffff : k == 3 || k == 0 ? selector(e) : offset;
			byte(e, 0x68), imm(e, x, e->size == CODE_16 ? 2 : 4);
		}
		if (e->size == CODE_64)
			byte(e, 0x48);
		byte(e, 0xcf);
		break;
	case 3: byte(e, 0xcd), byte(e, (u8)rnd(e->r)); break;
	case 4: byte(e, 0x0f), byte(e, percent(e->r, 50) ? 0x05 : percent(e->r, 50) ? 0x34 : 0x35); break;
	default: /* CALL or JMP far [mem] in the GDT's neighbourhood */
		set_reg(e, RBX, GDT_AT + below(e->r, 0x4000));
		byte(e, 0xff), byte(e, percent(e->r, 50) ? 0x1b : 0x2b);
	}
}

/* Tables and pointers through memory: LGDT, LIDT, INVLPG, SGDT, XSAVE, XRSTOR, FXRSTOR, MONITOR. */
static void recipe_memory(struct emit *e)
{
	static const char *const ops[] = { "\x0f\x01\x13", "\x0f\x01\x1b", "\x0f\x01\x3b", "\x0f\x01\x03",
					   "\x0f\xae\x23", "\x0f\xae\x2b", "\x0f\xae\x0b", "\x0f\xae\x03",
					   "\x0f\xae\x33", "\x0f\xc7\x2b", "\x0f\xc7\x1b", "\x0f\xc7\x23",
					   "\x0f\x01\xc8", "\x0f\x01\xd1" };
	u64 at = percent(e->r, 50) ? XSAVE_AT : nasty(e->r, BIT(21)) & ~63ull;

	set_reg(e, RBX, percent(e->r, 20) ? at + PAGE_SIZE - 64 * below(e->r, 12) : at);
	set_reg(e, RAX, rnd(e->r) & 7);
	set_reg(e, RDX, 0);
	bytes(e, ops[below(e->r, ARRAY_SIZE(ops))], 3);
}

/* Stores to devices, to page tables, to the code around: MOV or a locked operation. */
static void recipe_store(struct emit *e)
{
	static const u32 bases[] = { 0xfee00000, 0xfec00000, 0xfed00000, TABLES, GDT_AT,
				     IDT_AT,	 LOW_CODE,   HIGH_CODE,	 0xb8000 };
	u32 base = bases[below(e->r, ARRAY_SIZE(bases))];

	set_reg(e, RBX, base + (base >= 0xfec00000 ? below(e->r, 64) * 16 : below(e->r, 0x4000)));
	set_reg(e, RAX, nasty(e->r, BIT(21)));
	if (percent(e->r, 15))
		byte(e, 0xf0), byte(e, 0x01);
	else
		byte(e, percent(e->r, 70) ? 0x89 : percent(e->r, 50) ? 0x8b : 0x87);
	byte(e, 0x03);
}

static void recipe_string(struct emit *e)
{
	static const u8 ops[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };

	set_reg(e, RCX, percent(e->r, 80) ? below(e->r, 5000) : nasty(e->r, BIT(21)));
	set_reg(e, RSI, nasty(e->r, BIT(21)));
	set_reg(e, RDI, nasty(e->r, BIT(21)));
	byte(e, percent(e->r, 30) ? 0xfd : 0xfc);
	if (percent(e->r, 30))
		byte(e, 0x67);
	byte(e, percent(e->r, 60) ? 0xf3 : 0xf2);
	byte(e, ops[below(e->r, ARRAY_SIZE(ops))]);
}

/* Keeps a run going: a usable stack, interrupts on, a loop. */
static void recipe_survive(struct emit *e)
{
	switch (below(e->r, 4)) {
	case 0: set_reg(e, RSP, 0x70000 + below(e->r, 0x8000)); break;
	case 1: byte(e, 0xfb); break;
	case 2: byte(e, 0xeb), byte(e, (u8)below(e->r, 40)); break;
	default: byte(e, 0xe2), byte(e, (u8)(0xf0 - below(e->r, 60))); break;
	}
}

/* Any instruction that decodes, with displacements kept small half of the time. */
static void random_insn(struct emit *e)
{
	static const u8 escapes[] = { 0x0f, 0xc5, 0xc4, 0x66, 0xf3, 0xf2, 0x48, 0xd9, 0xdf, 0xf0 };

	for (unsigned tries = 0; tries < 30; tries++) {
		struct insn i;
		u8 b[15];
		unsigned k = 0;
		for (unsigned j = 0; j < 15; j += 8) {
			u64 x = rnd(e->r);
			memcpy(b + j, &x, MIN(8, 15 - j));
		}
		if (percent(e->r, 50))
			b[k++] = escapes[below(e->r, ARRAY_SIZE(escapes))];
		if (k && percent(e->r, 50))
			b[k++] = 0x0f;
		for (k += 2; k < 15 && percent(e->r, 70); k++)
			b[k] &= 0x0f;
		if (insn_decode(&i, NULL, b, 15, e->size, 0) != DECODE_OK)
			continue;
		if (i.op == OP_HLT && percent(e->r, 95))
			continue;
		bytes(e, (const char *)b, i.len);
		return;
	}
}

static void emit_code(struct fuzz_random *r, enum code_size size, u8 *at, unsigned room)
{
	static void (*const recipes[])(struct emit *) = { recipe_msr,	   recipe_port,	  recipe_control,
							  recipe_selector, recipe_far,	  recipe_memory,
							  recipe_store,	   recipe_string, recipe_survive };
	struct emit e = { r, size, at, 0, room };

	while (e.n < room) {
		if (percent(r, 12))
			recipes[below(r, ARRAY_SIZE(recipes))](&e);
		else if (percent(r, 2))
			byte(&e, (u8)rnd(r));
		else
			random_insn(&e);
	}
}

void code_pool(u64 series)
{
	static u64 made = ~0ull;
	struct fuzz_random r = { series * 0x9e3779b97f4a7c15ull + 1 };

	if (made == series)
		return;
	made = series;

	for (unsigned size = 0; size < 3; size++)
		for (unsigned k = 0; k < POOL_PAGES; k++)
			emit_code(&r, (enum code_size)size, pool[size][k], PAGE_SIZE);
}

/* RAM: mostly pages of the pool for the code size in use, some fresh code in each, some pages of noise. */
void code_fill(struct fuzz_random *r, struct machine *m, enum code_size size)
{
	for (u64 gpa = 0; gpa < m->low_size; gpa += PAGE_SIZE) {
		u8 *page = ram_ptr(m, gpa, PAGE_SIZE);
		unsigned kind = (unsigned)below(r, 100);
		if (kind < 85) {
			enum code_size s = kind < 80 ? size : (enum code_size)below(r, 3);
			memcpy(page, pool[s][below(r, POOL_PAGES)], PAGE_SIZE);
			if (percent(r, 15))
				emit_code(r, s, page + below(r, PAGE_SIZE - 64), 64);
		} else if (kind < 93) {
			for (unsigned k = 0; k < PAGE_SIZE; k += 8)
				memcpy(page + k, &(u64){ rnd(r) }, 8);
		}
	}
}
