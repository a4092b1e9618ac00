/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's registers by name and number, as debuggers have them: read whole, written with the checks that keep the vCPU a
 * possible one. In two sets: of a 64-bit processor, and of a 32-bit one, whose registers are the lower halves.
 */
#pragma once
#include "machine/machine.h"

enum reg_kind {
	REG_GPR,
	REG_IP,
	REG_FLAGS,
	REG_SELECTOR,
	REG_ST,
	REG_X87, /* index: enum x87_field */
	REG_BASE, /* index: SEG_FS, SEG_GS */
	REG_KERNEL_GS,
	REG_CR,
	REG_EFER,
	REG_XMM,
	REG_MXCSR,
	REG_YMM_HIGH
};
enum x87_field { X87_CW, X87_SW, X87_TAG, X87_FCS, X87_FIP, X87_FDS, X87_FDP, X87_FOP };
/* Which list of gdb's a register belongs to (GDB manual, "Standard Target Features"). */
enum reg_feature { FEATURE_CORE, FEATURE_SEGMENTS, FEATURE_SYSTEM, FEATURE_SSE, FEATURE_AVX, NR_REG_FEATURES };

struct reg {
	char name[12];
	u8 bytes; /* 4, 8, 10 or 16 */
	u8 kind; /* enum reg_kind */
	u8 index;
	u8 feature;
};
#define REGS_MAX      96
#define REG_MAX_BYTES 16
struct reg_set {
	bool wide; /* 64-bit */
	unsigned count;
	struct reg reg[REGS_MAX]; /* in the order of their numbers */
};

/* Without AVX registers if the CPU model has none. */
void reg_set_build(struct reg_set *s, bool wide, const struct cpu_model *model);
/* By name, in lower case; NULL if there is none. */
const struct reg *reg_find(const struct reg_set *s, const char *name);
/* Little-endian, reg->bytes of them. */
void debug_reg_read(struct vcpu *v, const struct reg *r, u8 *out);
/* Its value, or the lower 64 bits. */
u64 debug_reg_value(struct vcpu *v, const struct reg *r);
/* False: the vCPU cannot have that value, or not by being told; nothing has changed then. */
bool debug_reg_write(struct vcpu *v, const struct reg *r, const u8 *in);
