/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the guest fuzzer share: random numbers, the layout of a hostile guest's memory, and who fills in what.
 * A run is a function of its seed alone.
 */
#pragma once
#include "machine/machine.h"

/* Guest physical addresses; the low 2 MiB are mostly mapped one to one. */
enum {
	LOW_CODE = 0x1000,
	TABLES = 0x10000, /* page tables, 64 pages */
	GDT_AT = 0x60000,
	IDT_AT = 0x62000,
	LDT_AT = 0x63000,
	TSS_AT = 0x64000,
	XSAVE_AT = 0x68000,
	HIGH_CODE = 0x100000,
	TABLE_PAGES = 64
};

struct fuzz_random {
	u64 state;
};
u64 rnd(struct fuzz_random *r);
/* 0..n-1 */
static inline u64 below(struct fuzz_random *r, u64 n)
{
	return rnd(r) % n;
}
static inline bool percent(struct fuzz_random *r, unsigned p)
{
	return below(r, 100) < p;
}
/* Values that tend to hurt: addresses of RAM, devices and tables, ends of pages, extremes, small counts. */
u64 nasty(struct fuzz_random *r, u64 ram_size);

/* fuzz-code.c: pages of instructions of code size `size`, made anew for each `series`. */
void code_pool(u64 series);
void code_fill(struct fuzz_random *r, struct machine *m, enum code_size size);

/* fuzz-state.c */
void tables_fill(struct fuzz_random *r, struct machine *m, bool long_mode);
enum cpu_mode state_pick_mode(struct fuzz_random *r, enum code_size *size);
void state_fill(struct fuzz_random *r, struct vcpu *v, enum cpu_mode mode, enum code_size size);
