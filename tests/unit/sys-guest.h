/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for tests of system semantics: one vCPU over a real machine and MMU, tables built by hand, instructions
 * given as bytes and executed one at a time. A fault is reported, not delivered.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "emulate/descriptor.h"

enum {
	GDT = 0x1000,
	IDT = 0x2000,
	TSS_A = 0x3000,
	TSS_B = 0x3100,
	TSS_C = 0x3200,
	LDT = 0x3300,
	STACK0 = 0x8000,
	STACK1 = 0x8800,
	STACK3 = 0x9000,
	CODE = 0x10000,
	HANDLER = 0x11000,
	PML4 = 0x20000,
	RAM = 0x400000
};

/* Selectors of the GDT that guest_protected() builds. */
enum {
	CS0 = 0x08,
	DS0 = 0x10,
	CS3 = 0x1b,
	DS3 = 0x23,
	SEL_A = 0x28,
	SEL_B = 0x30,
	SEL_C = 0x38,
	CS_CONF = 0x40,
	CS16 = 0x48,
	CS_ABSENT = 0x50,
	GATE0 = 0x5b,
	TASK_GATE = 0x63,
	SEL_LDT = 0x68,
	CS1 = 0x71,
	DS1 = 0x79,
	GATE1 = 0x83,
	CS64 = 0x88,
	CS64_3 = 0x93,
	DS_DOWN = 0x98,
	GATE_SAME = 0xa0,
	DS_ABSENT = 0xa8,
	CS_SMALL = 0xb0,
	GATE64 = 0xbb /* two slots */,
	GDT_END = 0xc8
};

#define OK (-1)

struct guest {
	struct machine *m;
	struct vcpu *v;
	struct insn insn;
	jmp_buf landing;
};

static inline u8 *at(struct guest *g, u64 gpa)
{
	return g->m->ram + gpa;
}
static inline u32 get32(struct guest *g, u64 gpa)
{
	return *(u32_una *)at(g, gpa);
}
static inline u64 get64(struct guest *g, u64 gpa)
{
	return *(u64_una *)at(g, gpa);
}
static inline void put32(struct guest *g, u64 gpa, u32 x)
{
	*(u32_una *)at(g, gpa) = x;
}
static inline void put64(struct guest *g, u64 gpa, u64 x)
{
	*(u64_una *)at(g, gpa) = x;
}
static inline void put16(struct guest *g, u64 gpa, u16 x)
{
	*(u16_una *)at(g, gpa) = x;
}

static inline u64 seg_desc(u32 base, u32 limit20, u32 ar)
{
	return (limit20 & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)ar << 40 | (u64)(limit20 >> 16) << 48 |
	       (u64)(base >> 24) << 56;
}
static inline u64 gate_desc(u16 selector, u32 offset, unsigned type, unsigned dpl, unsigned count)
{
	return (offset & 0xffff) | (u64)selector << 16 | (u64)(count | (0x80 | dpl << 5 | type) << 8) << 32 |
	       (u64)(offset >> 16) << 48;
}
static inline void set_gdt(struct guest *g, u16 selector, u64 d)
{
	put64(g, GDT + (selector & ~7u), d);
}
static inline void set_idt(struct guest *g, unsigned vector, u64 d)
{
	put64(g, IDT + 8 * vector, d);
}

/* Executes one instruction at CS:RIP; OK or the vector that it raised. */
static inline int run_bytes(struct guest *g, const u8 *bytes, unsigned n)
{
	struct vcpu *v = g->v;
	u64 gpa = v->code_size == CODE_64 ? v->rip : (u32)(v->seg[SEG_CS].base + v->rip);

	memcpy(at(g, gpa), bytes, n);
	u8 window[15] = { 0 };
	memcpy(window, bytes, n);
	assert_int_equal(insn_decode(&g->insn, NULL, window, 15, v->code_size, (unsigned)(gpa & 0xfff)), DECODE_OK);
	assert_int_equal(g->insn.len, n);
	v->cur = &g->insn;
	v->unwind = &g->landing;
	v->event.valid = false;
	if (setjmp(g->landing))
		return v->event.vector;
	op_exec[g->insn.op](v, &g->insn);
	if (!(g->insn.flags & INSN_END))
		v->rip = vcpu_next_rip(v, &g->insn);
	return OK;
}
#define RUN(g, ...) run_bytes(g, (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

/* Delivers an event at the current RIP; OK or the vector of the fault on the way. */
static inline int deliver_to(struct guest *g, struct cpu_event ev)
{
	g->v->unwind = &g->landing;
	ev.valid = true;
	g->v->event = ev;
	if (setjmp(g->landing))
		return g->v->event.vector;
	deliver_event(g->v);
	assert_false(g->v->event.valid);
	return OK;
}

static inline void load_flat(struct vcpu *v, unsigned seg, u16 selector, u32 ar)
{
	v->seg[seg] = (struct segment){ .limit = ~0u, .ar = ar, .selector = selector };
}

static inline int guest_new(void **state)
{
	static const struct machine_config config = {
		.ram_size = RAM, .cpus = 1, .deterministic = true, .model = cpu_models
	};
	struct guest *g = calloc(1, sizeof(*g));
	struct error err;

	g->m = machine_new(&config, &err);
	assert_non_null(g->m);
	g->v = g->m->vcpu[0];
	assert_int_equal(mmu_create(g->v, &err), 0);
	*state = g;
	return 0;
}

static inline int guest_free(void **state)
{
	struct guest *g = *state;

	mmu_destroy(g->v);
	machine_free(g->m);
	free(g);
	return 0;
}

static inline void guest_tables(struct guest *g)
{
	set_gdt(g, CS0, seg_desc(0, 0xfffff, 0xc09a));
	set_gdt(g, DS0, seg_desc(0, 0xfffff, 0xc092));
	set_gdt(g, CS3, seg_desc(0, 0xfffff, 0xc0fa));
	set_gdt(g, DS3, seg_desc(0, 0xfffff, 0xc0f2));
	set_gdt(g, SEL_A, seg_desc(TSS_A, 0xff, 0x008b));
	set_gdt(g, SEL_B, seg_desc(TSS_B, 0x67, 0x0089));
	set_gdt(g, SEL_C, seg_desc(TSS_C, 0x2b, 0x0081));
	set_gdt(g, CS_CONF, seg_desc(0, 0xfffff, 0xc09e));
	set_gdt(g, CS16, seg_desc(0, 0xffff, 0x009a));
	set_gdt(g, CS_ABSENT, seg_desc(0, 0xfffff, 0xc01a));
	set_gdt(g, GATE0, gate_desc(CS0, HANDLER, SYS_CALL32, 3, 0));
	set_gdt(g, TASK_GATE, gate_desc(SEL_B, 0, SYS_TASK_GATE, 3, 0));
	set_gdt(g, SEL_LDT, seg_desc(LDT, 0x1f, 0x0082));
	set_gdt(g, CS1, seg_desc(0, 0xfffff, 0xc0ba));
	set_gdt(g, DS1, seg_desc(0, 0xfffff, 0xc0b2));
	set_gdt(g, GATE1, gate_desc(CS1, HANDLER, SYS_CALL32, 3, 3));
	set_gdt(g, CS64, seg_desc(0, 0xfffff, 0xa09a));
	set_gdt(g, CS64_3, seg_desc(0, 0xfffff, 0xa0fa));
	set_gdt(g, DS_DOWN, seg_desc(0, 0x7, 0xc096));
	set_gdt(g, GATE_SAME, gate_desc(CS0, HANDLER, SYS_CALL16, 0, 0));
	set_gdt(g, DS_ABSENT, seg_desc(0, 0xfffff, 0xc012));
	set_gdt(g, CS_SMALL, seg_desc(0, 0xfff, 0x409a));
	set_gdt(g, GATE64, gate_desc(CS64, HANDLER, SYS_CALL32, 3, 0));
	put64(g, GDT + (GATE64 & ~7u) + 8, 0);
	put32(g, TSS_A + 4, STACK0);
	put32(g, TSS_A + 8, DS0);
	put32(g, TSS_A + 12, STACK1);
	put32(g, TSS_A + 16, DS1);
	put16(g, TSS_A + 102, 0x68);
}

/* 32-bit protected mode, paging off, at level cpl. */
static inline struct vcpu *guest_protected(void **state, unsigned cpl)
{
	struct guest *g = *state;
	struct vcpu *v = g->v;
	u32 dpl = cpl << AR_DPL_SHIFT;

	memset(g->m->ram, 0, RAM);
	vcpu_reset(v);
	guest_tables(g);
	v->cr0 = CR0_PE | CR0_ET;
	v->gdtr = (struct table_reg){ GDT, GDT_END + 7 };
	v->idtr = (struct table_reg){ IDT, 0x7ff };
	v->tr = (struct segment){ TSS_A, 0xff, 0x8b, SEL_A };
	v->ldtr = segment_null(0);
	for (unsigned s = 0; s < NR_SEG; s++)
		load_flat(v, s, cpl ? DS3 : DS0, 0xc093 | dpl);
	load_flat(v, SEG_CS, cpl ? CS3 : CS0, 0xc09b | dpl);
	v->r[RSP] = cpl ? STACK3 : STACK0;
	v->rip = CODE;
	v->rflags = FL_1 | FL_IF;
	v->stop_now = false;
	v->events = 0;
	set_cpl(v, (u8)cpl);
	mmu_flush_all(v);
	vcpu_update_mode(v);
	return v;
}
