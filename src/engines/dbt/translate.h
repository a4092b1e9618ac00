/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the translator share: the block being translated, and who does which instructions. */
#pragma once
#include "engines/dbt/dbt-internal.h"
#include "engines/dbt/raw.h"

#define SLOW_JUMPS   8
#define REGION_INSNS 256 /* at least BLOCK_INSNS */

struct code_region;

/* A check in a plain block that several accesses share: of [base + lo, base + hi), base being a value's name. */
struct share {
	u32 base;
	bool live, write;
	s64 lo, hi;
	unsigned left; /* accesses to come */
};
/* An access of a plain block by a register and a displacement. */
struct shared_access {
	u32 base;
	u8 k, n, reg; /* instruction, bytes, register */
	u8 branches; /* in the block, in front of it */
	bool write, stack; /* stack: base is what RSP holds, but for a constant */
	s32 disp;
	s64 off;
};
struct shares { /* share.c */
	bool on;
	u8 held; /* the one whose delta is in s2, too; SHARES: none */
	struct share s[SHARES]; /* deltas are in words.shared */
	unsigned n;
	struct shared_access a[2 * BLOCK_INSNS];
};

struct tr {
	struct vcpu *v;
	struct dbt *d;
	struct block *b;
	struct emit *h, *c; /* the block itself; what it rarely needs */
	struct insn insn[REGION_INSNS];
	struct insn_info info[REGION_INSNS];
	const u8 *bytes[REGION_INSNS];
	u32 live[REGION_INSNS]; /* arithmetic flags that somebody may look at behind it */
	u8 native[REGION_INSNS]; /* enum native */
	u64 at[REGION_INSNS]; /* where its code begins */
	u8 crossing[16]; /* bytes of an instruction across pages */
	unsigned n, k; /* instructions; the current one */
	unsigned end; /* offset behind the last one */
	bool end_crosses; /* there lies an instruction across pages */
	unsigned half; /* of the address space in which this code ran first */
	bool uses_vec, uses_x87, uses_page;
	u32 page; /* a place: see tr_load_page(). 0: there is none */
	bool wide; /* 64-bit code; else 32-bit code with flat segments */
	/* Guest registers that live in memory here, as a mask, and their host registers for the translator's use: s1 never holds
	 * anything from one instruction to the next, s2 and the others may (window.c). */
	u32 outs;
	u8 s1, s2;
	struct code_region *region; /* NULL: a plain block */
	struct shares shares; /* of a plain block */
	/* Where the guest's live arithmetic flags are now. */
	bool host_ok, mem_ok;
	/* Jumps of the current instruction to its slow path. */
	u8 *slow[SLOW_JUMPS];
	unsigned nslow;
	u32 slow_outs; /* outs where they are */
	s32 sp; /* what the host's RSP is short of the guest's */
	struct site *site; /* of the current instruction */
};

/* What is true between blocks: the registers in memory are OUT_A and OUT_B. */
#define CANONICAL_OUTS (1u << OUT_A | 1u << OUT_B)

/* Bytes of an address, and of what stacks and near branches have by default; and as osize and asize have it. */
static inline unsigned tr_word(const struct tr *t)
{
	return t->wide ? 8 : 4;
}
static inline unsigned tr_word_log(const struct tr *t)
{
	return t->wide ? 3 : 2;
}
static inline unsigned tr_cpl(const struct tr *t)
{
	return t->b->mode >> MODE_CPL_SHIFT & 3;
}

enum native { NATIVE_NONE, NATIVE_COPY, NATIVE_VECTOR, NATIVE_SPECIAL, NATIVE_SYSTEM, NATIVE_X87 };

/* A block's count of entries: a u16 that a step is added to until it carries. */
#define HEAT_SIZE 2
#define HEAT_FULL (1 << 8 * HEAT_SIZE)
static inline s32 heat_step(const struct dbt *d)
{
	return (HEAT_FULL + d->heat - 1) / d->heat;
}

/* To a thunk of C's with its argument, registers as between blocks. */
static inline void tr_to_c(struct emit *e, const void *arg, u64 thunk)
{
	e_mov_imm32(e, OUT_A, (u32)(u64)arg);
	e_jmp(e, thunk);
}

/* ---- translate.c ---- */
bool tr_ends_block(const struct insn *i); /* control does not run on behind it, or not here */
void tr_insn(struct tr *t); /* the current instruction */

/* ---- tell.c ---- */
/* A translation is complete; its parts began at hot and cold. */
void tell_translation(const struct tr *t, u64 gla, u64 hot, u64 cold);

u32 tr_live_before(const struct tr *t, unsigned k);
/* A debugger's breakpoint may be at that offset of the page: no translation goes there. */
bool tr_breaks_at(const struct tr *t, unsigned off);
/* Saves flags that are in EFLAGS alone and wanted from the current instruction on: what follows destroys EFLAGS. */
void tr_save_flags(struct tr *t, unsigned with);
void tr_save_flags_spilled(struct tr *t); /* destroys no register */
/* EFLAGS gets the guest's flags; `with` is destroyed. */
void tr_want_flags(struct tr *t, unsigned with);
void tr_want_flags_spilled(struct tr *t); /* destroys no register */
/* The current instruction has left its flags in EFLAGS. */
void tr_flags_written(struct tr *t);
/* Instructions behind the current one that were counted with it: count.c. */
unsigned tr_uncounted(const struct tr *t);
struct site *tr_site(struct tr *t); /* the current instruction's */
/*
 * The linear address of the block's page. SLOT_CODE has it as data: what a jump stores there comes from its target's address, a return's from what
 * the call before has pushed, that from SLOT_CODE. So that this is no chain that runs through all calls and returns, a block has a word of its own
 * beside, which is compared when it is entered.
 */
void tr_load_page(struct tr *t, unsigned reg);
void tr_slow_jump(struct tr *t, unsigned cc); /* to its slow path */
void tr_slow_jump_at(struct tr *t, u8 *at); /* the same of a jump that is there */
/* All of the current instruction by src/emulate; by a thunk that takes its site, and goes on there or at site.resume. */
void tr_helper(struct tr *t);
void tr_call(struct tr *t, u64 thunk);
/* In the cold part, by a thunk that has registers loaded; then on to `then`, or what comes next. */
void tr_load_then(struct tr *t, u64 thunk, u64 then);

/* The state between blocks from this region's, and back, written to e; nothing if they are the same. Flags are kept. */
void tr_to_canonical(const struct tr *t, struct emit *e);
void tr_from_canonical(const struct tr *t, struct emit *e);
/* Makes it so for good: the current instruction ends its stretch of code. Returns whether there was something to do. */
bool tr_leave_region(struct tr *t);
void tr_leave_region_with(struct tr *t, unsigned reg); /* and OUT_A gets what reg, one of outs, holds */
static inline bool tr_is_canonical(const struct tr *t)
{
	return t->outs == CANONICAL_OUTS;
}

/* ---- translate-mem.c ---- */
/* The place of a slot's field. */
#define SLOT_FIELD(place, field) ((place) + (u32)offsetof(struct slot, field))
bool tr_can_address(const struct insn *i);
bool tr_only_reads(const struct insn *i); /* an integer instruction stores nothing to operand 0 */
bool tr_writes_memory(const struct insn *i); /* a copied instruction's memory operand */
/*
 * The checked memory operand of the current instruction, as host memory. It is addressed by none of the registers in
 * `avoid`, a mask of those in outs, of which at least one must be left. EFLAGS may be destroyed: host_ok says.
 */
struct mem tr_address(struct tr *t, u32 avoid, bool write, unsigned align);
/* Linear address of the memory operand into a, and the effective one. Flags are kept by the latter. */
void tr_linear(struct tr *t, unsigned a, const struct insn *i);
void tr_effective(struct tr *t, unsigned a, const struct insn *i);
/* Register number of guest register reg, loaded into the host register if it lives in memory. */
void tr_load_out(struct tr *t, unsigned reg);
/*
 * The compare with the TLB: a, a linear address, becomes the offset in the page, b its entry; returns the jump if there is none. EFLAGS is
 * destroyed. Behind it one of: a is the host address, where i, unless NULL, has led to what it was; the operand i itself, with a.
 */
u8 *tr_tlb_compare(struct tr *t, unsigned a, unsigned b, unsigned n, bool write);
void tr_tlb_host(struct tr *t, unsigned a, unsigned b, const struct insn *i);
struct mem tr_tlb_operand(struct tr *t, unsigned a, unsigned b, const struct insn *i);
/* In the cold part, where the compare found another page in the TLB's slot: the access's may have been displaced. `back` is in front of the
 * compare; returns the jump for when it was not. */
u8 *tr_try_displaced(struct tr *t, unsigned a, unsigned b, bool write, u64 back);
/*
 * The compare of s1 with the slots of the stack's pages: s2 becomes the delta. `back` computes s1, for when a slot has been filled; returns the
 * jump, in the cold part, for when none could be. Of more than STACK_SPAN bytes, `across` are jumps for when they lie across pages.
 */
#define STACK_SPAN 8
u8 *tr_stack_delta(struct tr *t, u64 back, unsigned span, u8 *across[2]);
/* Its address is one register, which is in the host's, and a displacement. */
bool tr_is_base_alone(const struct tr *t, const struct insn *i);
/*
 * The compare with a use's slot: a, a linear address, becomes the offset in what the slot covers. What does not pass fills the slot, out of
 * line, and looks again at use->back, which computes a; returns the jump, in the cold part, for when it cannot be filled.
 */
u8 *tr_compare_slot(struct tr *t, unsigned a, struct slot_use *use, bool write);
/* The compare with a slot: a, a linear address, becomes the offset in what it covers; returns the jump where it does not. */
u8 *tr_slot_test(const struct tr *t, struct emit *e, unsigned a, u32 slot);
/* In the cold part, where that did not pass: to a thunk that fills the slot and tries again; returns the jump for when it could not. */
u8 *tr_slot_fill(const struct tr *t, unsigned a, u32 slot, struct slot_use *use, u64 thunk);
/* CPUs leave some undefined flags as they were: where flags are exact, these are. */
static inline void tr_open_flags(struct tr *t, unsigned k)
{
	if (unlikely(t->d->exact_flags))
		t->info[k].flags_maybe |= t->info[k].flags_undefined;
}
static inline bool reg_is_out(const struct tr *t, unsigned reg)
{
	return reg < NR_GPR && t->outs >> reg & 1;
}

/* A register for the translator that m is not addressed by, or NO_REG. */
unsigned tr_beside(struct tr *t, const struct mem *m);

/* ---- translate-stack.c ---- */
/* A checked operand of n bytes at [RSP or RBP + disp]. */
struct mem tr_stack(struct tr *t, unsigned base, s32 disp, unsigned n, bool write);
bool tr_push(struct tr *t, const struct insn *i);
bool tr_pop(struct tr *t, const struct insn *i);
bool tr_leave(struct tr *t);
void tr_flush_sp(struct tr *t); /* RSP is the guest's */
/* How many instructions from the current one on are PUSHs, or POPs, that are done together; 0: none. */
unsigned tr_stack_run(const struct tr *t);
void tr_stack_many(struct tr *t, unsigned n); /* those; the current one is the one behind them then */

/* ---- window.c ---- */
/* To a plain block for the current instruction, by that jump; flags are in memory if anybody wants them. use: what did not pass, or NULL. */
void tr_bail(struct tr *t, u8 *jump, const struct slot_use *use);
/* The host register of an out is about to be used for something else. */
void tr_clobber(struct tr *t, unsigned reg);
void windows_forget(struct tr *t); /* C has run, or control comes from elsewhere */

/* ---- share.c ---- */
void shares_begin(struct tr *t);
void shares_clobber(struct tr *t, unsigned reg);
void shares_forget(struct tr *t);
/* C has done the current instruction, which is one of those that are translated: what was true before still is, or C does not come back. */
void shares_resume(struct tr *t);
/* The operand i of n bytes by a check that it shares with others, as tr_address() would; false: it shares none. */
bool share_operand(struct tr *t, const struct insn *i, unsigned n, bool write, u32 avoid, struct mem *m);
/* Of n PUSHs or POPs from the current instruction on, RSP as it is before them: the delta is in s2 then. */
bool share_run(struct tr *t, bool push, unsigned n);

/* ---- families: false if it is to be done by src/emulate ---- */
bool tr_can_copy(const struct tr *t, unsigned k); /* translate-copy.c */
bool tr_copy(struct tr *t, bool write, unsigned align);
bool tr_can_vector(const struct tr *t, unsigned k); /* translate-vector.c */
bool tr_vector(struct tr *t);
bool tr_can_special(const struct tr *t, unsigned k); /* translate-special.c */
bool tr_special(struct tr *t);
bool tr_can_system(const struct tr *t, unsigned k); /* translate-system.c */
bool tr_system(struct tr *t);
bool tr_system_reads_flags(const struct insn *i); /* the arithmetic ones */
bool tr_can_string(const struct tr *t,
		   const struct insn *i); /* translate-string.c: of the system's family, as its registers are fixed */
void tr_string(struct tr *t);
bool tr_system_writes_flags(const struct insn *i); /* all of them */
bool tr_branch(struct tr *t); /* translate-branch.c */
bool tr_can_x87(const struct tr *t, unsigned k); /* translate-x87.c */
bool tr_x87(struct tr *t);
bool tr_x87_stores(const struct insn *i); /* to its memory operand */
bool tr_legacy_allows(const struct tr *t,
		      unsigned k); /* of 32-bit code, translate-legacy.c: the others are asked about it */

/* ---- translate-exit.c ---- */
/* Leaves for `target`, relative to the page: if cc >= 0 on that condition, else in any case. */
void tr_exit(struct tr *t, const struct insn *i, s64 target, int cc);
/* Leaves by a jump whose displacement is at `at`. */
void tr_exit_at(struct tr *t, const struct insn *i, s64 target, u8 *at);
/* Links are changed while other vCPUs run them: the displacement of a jump that follows after `ahead` bytes will lie in eight aligned ones. */
void tr_align_link(struct tr *t, struct emit *e, unsigned ahead);
/* Such a jump to what is next to be written to it. */
u8 *tr_link_jump(struct tr *t, struct emit *e);
/* Leaves for the address in OUT_A; flags are in memory. */
void tr_exit_indirect(struct tr *t);
/* The jump cache's entry for the address in `target`, which is destroyed, as an offset in `entry`; returns the jump if there is none.
 */
u8 *tr_find_jump(struct tr *t, unsigned target, unsigned entry);
void tr_page_of_key(struct tr *t,
		    unsigned key); /* an address in the page that an entry with the key in that register leads to */
/* Leaves to the loop before the current instruction if an event is due. EFLAGS is destroyed. */
void tr_poll(struct tr *t);
/* A look at events whose jump, returned, is taken if one is due; tr_poll_edge says what then: to the loop at `target`, or back. */
u8 *tr_poll_jump(struct emit *e);
void tr_leave_at(struct tr *t, s64 target, u64 thunk); /* in the cold part: to C with an exit for `target` */
void tr_poll_edge(struct tr *t, u8 *due, s64 target, u64 back);

static inline s64 tr_target(const struct insn *i) /* of a direct branch, relative to the page */
{
	return (s64)i->off + i->len + i->disp;
}
/* It names memory that it does not access, or none. */
static inline bool insn_is_hint(const struct insn *i)
{
	return i->op == OP_NOP || (i->op >= OP_PREFETCH && i->op <= OP_PREFETCHT2);
}
static inline bool insn_is_jcc(const struct insn *i)
{
	return (unsigned)(i->op - OP_JO) < 16;
}
