/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A case of the differential instruction test: input state, code and memory; and its outcome on one side. Plain data without
 * pointers, as it crosses to the host's child process in shared memory.
 *
 * Both sides see the same linear memory: code (two pages, read and execute, filled with INT3 but for the case's
 * bytes), data (two pages, read and write), one read-only page, nothing else. A case ends with a fault: the
 * INT3 that follows its instructions, if nothing worse.
 */
#pragma once
#include "util/types.h"
#include "x86/bits.h"
#include "x86/insn.h"

#define CODE_GLA  0x20000000ull
#define CODE_LEN  0x2000u
#define DATA_GLA  0x20100000ull
#define DATA_LEN  0x2000u
#define RO_GLA	  0x20103000ull
#define RO_LEN	  0x1000u
#define FS_BASE	  (DATA_GLA + 0x640)
#define GS_BASE	  (DATA_GLA + 0x1308)
#define CODE_FILL 0xcc
#define CODE_MAX  120 /* 8 instructions of 15 bytes */
#define INSNS_MAX 8
#define STEPS_MAX 64 /* instructions that a case may take, with what its jumps run into */

struct x87_image {
	u16 cw, sw;
	u8 tag; /* abridged, by physical register */
	struct {
		u64 m;
		u16 e;
	} st[8]; /* relative to TOP, as FXSAVE has it */
};

struct image {
	u64 r[16];
	u64 rip, rflags;
	u32 mxcsr;
	struct x87_image x87;
	u8 v[16][32];
};

/* 32-bit code (narrow.c), with segments of 4 GiB from 0 on, but for what is named; FS and GS have their bases. */
enum narrow { WIDE, NARROW_FLAT, NARROW_NO_FS, NARROW_SHORT_GS, NARROW_DS_BASE, NARROW_LAST = NARROW_DS_BASE };

struct testcase {
	u8 narrow; /* enum narrow */
	u64 seed, index;
	struct image in;
	u16 op; /* row that it is about, or OP_NONE: raw bytes or a mixed sequence */
	u16 code_off; /* of the first instruction in the code pages */
	u8 code_len;
	u8 code[CODE_MAX];
	u8 data[DATA_LEN];
};

enum how { HOW_FAULT, HOW_SKIP, HOW_HANG, HOW_DIED, HOW_SYSCALL };

/* What a comparison must know of the instructions that ran. */
#define LOOSE_RCP     0x01u /* approximations: within 1.5 * 2^-12 of the truth */
#define LOOSE_X87_ULP 0x02u /* transcendental: the last two places of the mantissa */
#define LOOSE_RESULT  0x04u /* the CPU's own business (RDTSC): registers and memory are not compared */
#define LOOSE_UPPER   0x08u /* BSF, BSR of zero, 32 bits: whether the upper half is cleared */
#define LOOSE_MEMORY  0x10u /* memory is not compared */
#define LOOSE_C1      0x20u /* x87 condition bit 1 */
#define LOOSE_STRUCT  0x40u /* moved in pieces: which faults first is open, and CR2 any address of the page */
#define LOOSE_MASKED  0x80u /* masked store: whether bytes that are not stored may fault is open */
#define LOOSE_ORDER   0x200u /* #SS or #GP, and #AC or nothing, are both right */
#define LOOSE_TRAPPED 0x400u /* exception flags beside the unmasked one that is raised */
#define LOOSE_LONG    0x800u /* more than 15 bytes, and perhaps undefined: #GP or #UD */
#define LOOSE_X87     0x100u /* x87 state is not compared */

struct outcome {
	u8 how; /* enum how; the rest is good for HOW_FAULT */
	u8 vector; /* INT3 included */
	u32 error;
	u64 cr2;
	struct image out;
	u8 data[DATA_LEN];
	/* Our side only. */
	const char *skip; /* why, a literal */
	u32 undefined; /* FL_* that the instructions leave undefined */
	u32 undefined_before; /* the same before the last one */
	u32 loose; /* LOOSE_* */
	u8 steps;
	struct {
		u64 gla;
		unsigned len;
	} holes[4]; /* memory that is not compared */
	u16 ops[STEPS_MAX]; /* rows that ran, faulting one included */
};

/* ---- values.c: random numbers with a liking for edges ---- */
struct rng {
	u64 s[2];
};
void rng_seed(struct rng *r, u64 seed, u64 index);
u64 rng_next(struct rng *r);
static inline u64 rng_below(struct rng *r, u64 n)
{
	return (u64)(((unsigned __int128)rng_next(r) * n) >> 64);
}
static inline bool rng_chance(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}
u64 value_int(struct rng *r, unsigned bits);
u64 value_float(struct rng *r, unsigned bits); /* 16, 32 or 64 */
void value_float80(struct rng *r, u64 *m, u16 *e);

/* ---- forms.c: every encoding of every row ---- */
struct form {
	u16 op;
	u8 vex; /* 0 legacy, 1 VEX.128 or LZ, 2 VEX.256 */
	u8 map; /* 0 one byte, 1 0F, 2 0F38, 3 0F3A */
	u8 prefix; /* 0 none, 1 66, 2 F3, 3 F2 */
	u8 w, opcode, modrm;
	bool has_modrm, asize; /* asize: prefix 67 is part of it (JECXZ) */
};
struct forms {
	struct form *all;
	unsigned count;
	unsigned first[512 * 4]; /* forms of row op are all[first[op]] .. all[first[op + 1]]; sized for NR_OPS */
};
int forms_find(struct forms *f);

/* ---- generate.c ---- */
void generate(const struct forms *f, struct testcase *t, u64 seed, u64 index, u16 op);

/* ---- host.c: the oracle ---- */
#define BATCH 64
struct exchange { /* in shared memory */
	unsigned count, next;
	struct testcase in[BATCH];
	struct outcome out[BATCH];
};
struct host;
struct host *host_start(void);
/* Runs host_exchange(h)->in[0..count). false: no child can be started. */
bool host_run(struct host *h);
void host_stop(struct host *h);
struct exchange *host_exchange(struct host *h);
bool host_has(unsigned feature); /* enum feature */

/* ---- our side ---- */
struct backend {
	const char *name;
	int (*start)(void);
	void (*run)(const struct testcase *t, struct outcome *o);
	void (*stop)(void);
};
extern const struct backend backend_exec, backend_interp, backend_dbt;

/* ---- compare.c ---- */
/* Writes what differs to `text`, a line each; returns how many differences. */
unsigned compare(const struct testcase *t, const struct outcome *ours, const struct outcome *host, char *text,
		 size_t size);
