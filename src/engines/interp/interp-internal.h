/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the interpreter is built.
 *
 * Guest code is decoded once into records (struct insn), which lie in traces: runs of instructions of one page in program
 * order. A record's `run` is its handler; a handler does its instruction and tail-calls the next record's, so the host stack
 * stays flat and the two arguments stay in registers. Handlers come in two kinds: fast ones, specialised by operand form
 * and size (handlers-*.c), and run_generic()/run_end(), which call src/emulate. A fast handler that meets anything
 * unusual (TLB miss, MMIO, code page) has changed nothing yet and tail-calls the generic one.
 *
 * Inside a page, direct branches point at their target's record. Everything else goes through the jump cache, keyed by
 * linear address and code space (mmu.h), and behind it the page's table of records by offset (code.c).
 *
 * Flags that a later instruction of the trace overwrites before anything can look are not computed (trace.c).
 *
 * Counting: record i of a trace has i->n instructions before it. v->left - i->n is the number of instructions
 * that may still run before i; a jump from i to t does v->left -= i->n + 1 - t->n, so nothing is counted between.
 */
#pragma once
#include "emulate/emulate.h"
#include "machine/machine.h"

#define JUMP_CACHE_BITS 14
struct jump_entry {
	u64 key; /* linear address ^ code space */
	const struct insn *rec;
};

/* Decoded instructions of one RAM page for one code size. */
struct code_page {
	struct code_page *next; /* same page, another code size */
	u64 index; /* of the RAM page */
	u8 code_size;
	bool settled; /* nobody stores here unnoticed: mmu_code_settled(epoch) */
	u64 epoch;
	u64 covered[64]; /* bit set: this byte belongs to a decoded instruction */
	u32 entry[4096]; /* by offset: index of the record in the arena, 0: none */
};

/* An instruction that lies across two pages is decoded from a copy, compared each time it runs. */
struct cross_entry {
	u64 gla;
	u8 bytes[16];
	u8 code_size;
	struct insn insn;
};
#define CROSS_ENTRIES 64

#define ARENA_RECORDS (1u << 22)
#define TRACE_MAX     64
#define QUANTUM	      16384 /* instructions between looks at events */

struct interp {
	struct jump_entry jump[3][1u << JUMP_CACHE_BITS]; /* by code size */
	struct cross_entry cross[CROSS_ENTRIES];
	struct insn none; /* v->cur while no instruction is under way */
	struct insn single; /* the instruction being executed outside the arena; n is 0 */
	struct insn *arena;
	u32 arena_used;
	u32 flushes; /* how often the arena was emptied: a record kept over a lookup may be gone */
	struct code_page **pages;
	u64 page_count;
	struct code_page *spare;

	s64 quantum; /* what v->left began with */
	u64 base_insns; /* instructions executed before this quantum */
	bool deterministic, delivering;
	bool at_break; /* a record that stands for a breakpoint was met: one of the debugger's may be at rip */
	struct cpu_event first; /* what is being delivered */
	struct tracer *tracer; /* --trace */
	struct error *err;
};

static inline struct interp *interp_of(const struct vcpu *v)
{
	return v->engine;
}

/* ---- code.c ---- */
int code_create(struct vcpu *v, struct error *err);
void code_destroy(struct vcpu *v);
/* The record of the instruction at linear address gla in the current mode; decodes it if need be, faults as a fetch. */
const struct insn *code_lookup(struct vcpu *v, u64 gla);
/* The record at offset off of the page that `from` lies in, for a lasting link from it; NULL if that cannot be vouched for. */
const struct insn *code_link(struct vcpu *v, const struct insn *from, unsigned off);
void code_forget_range(struct vcpu *v, u64 page_index, unsigned offset, unsigned len);
void code_forget_all(struct vcpu *v);
extern const struct mmu_hooks code_hooks;
/* Decodes at bytes and gates by the CPU model: false is #UD. */
enum decode_status code_decode(struct vcpu *v, struct insn *i, struct insn_info *info, const u8 *bytes, unsigned n,
			       unsigned off);

/* ---- trace.c ---- */
/* Decodes a trace beginning at offset off of a page whose bytes are at host; enters its records into the page's table. */
void trace_build(struct vcpu *v, struct code_page *p, const u8 *host, unsigned off);

/* ---- select.c ---- */
/* The handler for record i, whose arithmetic flags somebody may read if flags_live; next is the record after it or NULL. */
insn_run_fn *select_handler(const struct vcpu *v, const struct insn *i, bool flags_live);
insn_run_fn *select_fused(const struct insn *i, const struct insn *next);

/* ---- run.c: handlers that are no particular instruction's ---- */
insn_run_fn run_generic, run_end, run_through, run_goto, run_page_end, run_cross, run_invalid, run_uncached, run_break;
/* Takes direct branch i, whose target is not linked. run_jump: to a linear address, i being a finished branch. */
insn_run_fn run_branch;
void run_jump(struct vcpu *v, const struct insn *i, u64 rip);
/* Back to the loop, before record i or after it. */
insn_run_fn run_leave_before, run_leave_after;
/* Goes on at v->rip: returns to the loop if something is to be looked at, else tail-calls the record there. */
void run_continue(struct vcpu *v);
/* Executes exactly one instruction at v->rip by src/emulate; v->rip is then the next one, and v->cur the one executed. */
void run_step(struct vcpu *v);

/* ---- tracer.c ---- */
struct tracer *tracer_open(struct vcpu *v, const char *path, struct error *err);
void tracer_close(struct tracer *t);
void tracer_before(struct tracer *t, struct vcpu *v);
void tracer_after(struct tracer *t, struct vcpu *v);
void tracer_event(struct tracer *t, struct vcpu *v);

static inline bool insn_is_jcc(const struct insn *i)
{
	return (unsigned)(i->op - OP_JO) < 16;
}
/* Memory operands that the record does not show: the stack's, and those of string instructions. */
static inline bool insn_has_hidden_memory(const struct insn *i)
{
	return (i->op >= OP_PUSH && i->op <= OP_LEAVE) || (i->op >= OP_MOVSB && i->op <= OP_SCASQ) || i->op == OP_XLAT;
}
/* Rows that end traces because they may unmask interrupts or change the view of memory; control falls through. */
static inline bool insn_changes_flags_only(const struct insn *i)
{
	return i->op == OP_CLI || i->op == OP_STI || i->op == OP_CLAC || i->op == OP_STAC || i->op == OP_POPFQ;
}
static inline unsigned jump_hash(u64 gla)
{
	return (unsigned)(gla ^ gla >> JUMP_CACHE_BITS) & ((1u << JUMP_CACHE_BITS) - 1);
}
/* Linear address of an instruction pointer. */
static inline u64 code_linear(const struct vcpu *v, u64 rip)
{
	return v->code_size == CODE_64 ? rip : (u32)(v->seg[SEG_CS].base + rip);
}
