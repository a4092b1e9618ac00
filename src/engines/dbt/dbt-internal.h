/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the translator is built.
 *
 * Guest code becomes blocks: straight runs of instructions of one page, left through exits. While a block runs, guest
 * general registers are in the host registers of the same number, but for two (OUT_A, OUT_B), which live in v->r[] and whose
 * host registers are the translator's. Guest RSP is in host RSP: generated code never pushes, pops or calls on
 * the host's stack; whatever needs C saves all registers, takes the host's stack, and comes back (thunks.c). GS points at the vCPU.
 *
 * Guest arithmetic flags are in EFLAGS or in memory (v->lazy, always of kind FLAGS_LAHF while generated code runs), or in both; the
 * translator tracks which. Blocks are entered with flags in memory (code), or in EFLAGS (code_h).
 *
 * Blocks belong to physical pages: v->r[17] (SLOT_CODE) holds the linear address of the page that runs. An exit whose target is in
 * the page links its block to the target's for good; other direct exits remember one linear page and code space for
 * which their link is right; indirect jumps and returns look into the jump cache.
 *
 * Vector registers are in the host's while vec_loaded is set. Blocks that use them load them when they are entered; C code finds them
 * in v->v.
 *
 * Translations are the machine's (struct dbt, under its lock); what a vCPU has of its own is in struct dbt_cpu and, where generated code
 * touches it, in the vCPU's area (area.c). Who may do what while others run generated code: passes.c.
 */
#pragma once
#include "emulate/emulate.h"
#include "engines/dbt/blocks.h"
#include "engines/dbt/emit.h"
#include "machine/machine.h"

#define OUT_A R11
#define OUT_B R15

#define SHARES 3

/* v->engine_words, as generated code sees them. */
struct words {
	u64 host_sp;
	u64 tmp, save[5];
	u64 arg; /* an instruction's operand, for C */
	u64 self; /* the vCPU */
	u64 fill_gla, fill_use; /* of what the fill thunks are to do */
	u64 shared[SHARES]; /* deltas of windows in plain blocks: share.c */
	u64 x87_ip, x87_dp; /* noted since the x87's registers were loaded, or ~0 */
	u8 x87_seg; /* of x87_dp */
	u8 vec_loaded, x87_loaded;
	u8 lists_full; /* a slot could not be listed */
};
_Static_assert(sizeof(struct words) <= sizeof(((struct vcpu *)0)->engine_words), "they are in the vCPU");
#define WORDS_AT       offsetof(struct vcpu, engine_words)
#define WORD(field)    (WORDS_AT + offsetof(struct words, field))
#define VCPU(field)    offsetof(struct vcpu, field)
#define GPR_AT(n)      (offsetof(struct vcpu, r) + 8 * (size_t)(n))
#define PAGE_AT	       GPR_AT(17)
#define FLAGS_AT       offsetof(struct vcpu, lazy.a)
#define SPACE_AT(half) (offsetof(struct vcpu, code_space) + 8 * (size_t)(half))

/* Modes that translations depend on: code size, and which vector instructions run natively. */
#define MODE_CODE_SIZE	3u
#define MODE_SIMD_SHIFT 2
#define MODE_TRAP	0x20u
#define MODE_CPL_SHIFT	7 /* what is privileged, and which rights the slots of its accesses have */
#define MODE_CPL	0x180u
#define MODE_PLAIN	0x200u /* never becomes a region: what regions leave for */
#define MODE_HIGH	0x40u /* runs in the upper half of the address space: which code space its jumps are keyed by */
/* 32-bit code: CS, DS, ES and SS are the whole address space, ESP is the stack pointer; FS, GS have any base and no limit. */
#define MODE_FLAT	0x400u
#define MODE_FS		0x800u
#define MODE_GS		0x1000u
#define MODE_X87	0x2000u /* x87 and MMX instructions raise no exception but by memory: these run natively */

#define PLACE_BITS  (1u << 19) /* a block that is taken for a hot one costs what a region does: few are */
#define BEGIN_BITS  (1u << 23) /* 2,048 pages of code */
#define HEAT	    1000 /* entries after which a block is hot */
#define CHECK_HEAT  50 /* the same in lock-step, however long they take: regions are to be checked as well */
#define PAIR_HITS   16 /* of the second of two slots, after which its page moves to the first */
#define SLOT_MISSES 256 /* misses after which a slot is looked at */
#define HASH_BITS   17
#define BLOCK_INSNS 64

struct thunks { /* run-time addresses */
	u64 enter; /* u64 enter(code): from C; returns when the loop is to look at something */
	u64 leave; /* what C returns to have that happen */
	u64 slow; /* site in OUT_A */
	u64 link; /* exit in OUT_A */
	u64 cross_link; /* the same, another page */
	u64 poll; /* exit in OUT_A: events, at a backward jump */
	u64 lookup; /* v->rip is set */
	u64 jump; /* target in OUT_A and v->rip: jump cache, else lookup */
	u64 jump32; /* the same of 32-bit code, its mode's key in OUT_B */
	u64 jump_high; /* the same, most likely to the upper half of the address space */
	u64 syscall, sysret; /* site in OUT_A */
	u64 iret; /* the same, of IRETQ in 64-bit code */
	u64 tsc, tscp; /* the same */
	u64 direct_cr3, direct_invlpg; /* the same: words.arg is the operand */
	u64 direct_wrmsr, direct_cpuid, direct_xstate; /* the same */
	u64 direct_in, direct_out; /* the same */
	u64 outside; /* the same, all registers are stored and loaded */
	u64 moved; /* site in OUT_A, whose instruction is done: not on at site.resume, though */
	u64 rep_movs[4], rep_stos[4]; /* the same, by the log2 of the element */
	u64 miss; /* indirect jump's site in OUT_A, target in v->rip */
	u64 poll_site; /* the same: events, before the instruction */
	u64 fill[2]; /* words.fill_gla and .fill_use, to read or to write: fills the slot and tries again */
	u64 fill_pair; /* the same of one of two slots, to write */
	/*
	 * By the register that holds the linear address, OUT_A or OUT_B, and whether it is written: a page that the TLB displaced comes back to
	 * its slot. The other register has where to go on if none does; in front of that lie 32 bits that say where to try again.
	 */
	u64 displaced[2][2];
	u64 refill; /* refill in OUT_A */
	u64 bail; /* exit in OUT_A, to a plain block */
	u64 promote; /* block in OUT_A, being entered */
	u64 hot; /* slot_use in OUT_A: its slot misses often */
	u64 load_vec; /* goes to OUT_A with vectors loaded */
	u64 load_x87; /* the same of x87 and MMX; vectors are not, then */
	u64 stop; /* exit in OUT_A: the loop is to look, in front of its target */
};

/* Why generated code was left for the loop. */
/* Why an instruction with a fast path went the slow way, as far as that can be told from what it did. */
enum slow_for { SLOW_NEVER_FAST, SLOW_TLB, SLOW_DEVICE, SLOW_CODE, SLOW_OTHER, NR_SLOW_FOR };
enum leave { LEAVE_INTERRUPT, LEAVE_EVENT, LEAVE_HALT, LEAVE_TIME, LEAVE_LOOK, NR_LEAVES };

/* Of the cache, and of one vCPU. */
struct cache_stats {
	u64 blocks, insns, bytes, flushes, evictions, promoted, drops, links, relinks, outside, inside, hashed;
	u64 used, size; /* bytes of code, when it was destroyed */
};
struct dbt_stats {
	u64 slow, direct, ends, lookups, misses, slot_drops, slot_looks, slot_extends, bails, refills, polls,
		code_stores, leaves, steps, stretches;
	u64 by_op[NR_OPS];
	u64 left_for[NR_LEAVES]; /* of `leaves` */
	u64 slow_for[NR_SLOW_FOR]; /* of `slow` */
	struct cache_stats cache; /* left here by the vCPU that went last; else zeros */
};

/* The cache has parts that are filled one after the other. What a translation consists of lies in one. When all are full, one is emptied. */
#define GENERATIONS 8
struct generation {
	struct part {
		u8 *begin, *end;
	} hot, cold, meta;
	struct span { /* of areas, in places */
		u32 begin, end;
	} touched, slots;
	struct block *blocks; /* made in it, stand-ins and dead ones too */
	u64 dropped; /* the pass after which nobody is inside of it; 0: it is new */
};
static inline bool made_in(const struct generation *g, const struct block *b)
{
	return (const u8 *)b >= g->meta.begin && (const u8 *)b < g->meta.end;
}

/* Blocks that no jump may lead to any more: what vCPUs are to take out of their jump caches. */
#define RETIRED_MAX 4096
struct retired {
	const struct block *block;
	u32 jump;
	bool many;
};

/* What the vCPUs of a machine share. Under the lock, but for what is constant when they run and for what is atomic. */
struct dbt {
	pthread_mutex_t lock;
	struct dbt_cpu *cpu[MACHINE_MAX_CPUS];
	unsigned cpus, users; /* constant; vCPUs that are there */
	bool many; /* several vCPUs: constant */
	struct emit hot, cold;
	u8 *code_rw, *code_rx;
	size_t code_size;
	struct generation generation[GENERATIONS];
	unsigned generations, now; /* how many there are; the one being filled */
	unsigned next; /* the one after that, if it has been dropped already, else generations */
	u64 random; /* which one goes */
	u8 *hot_ready, *cold_ready; /* up to here the host was asked for huge pages */
	bool small_pages; /* it has none to give */
	u8 *meta, *meta_end,
		*meta_next; /* blocks, exits and sites: below 2 GiB, as generated code names them by 32 bits */
	/* Places in areas: the few words of blocks and exits that generated code touches each time, close together, as each costs a place
	 * in the host's cache; slots. */
	u32 touched, touched_end, touched_next, slots, slots_end, slots_next;
	u32 jump, low; /* the place of the jump cache; of struct low */
	u8 *low_memory; /* for the area, where there is one vCPU */
	/* Counted up when something was taken away that others may still be about to use. */
	_Atomic u64 pass, dropped; /* dropped: the last pass that a generation was dropped in */
	u64 gone; /* the last pass that blocks left the pages' lists in */
	_Atomic u64 retirements;
	struct retired retired[RETIRED_MAX];
	_Atomic u64
		reuses; /* how often a generation's memory was used again: what was known of any block or exit before is void then */
	/* Filters over places in guest code: accesses that wander, which go through the TLB; blocks that were entered often. */
	u64 begins[BEGIN_BITS / 64]; /* where blocks begin */
	u64 wandering[PLACE_BITS / 64], hot_blocks[PLACE_BITS / 64];
	/* Accesses that go to devices, or store beside code; those that go there and elsewhere. */
	u64 outside[PLACE_BITS / 64], mixed[PLACE_BITS / 64];
	struct thunks to;
	struct tr *tr; /* what a translation works with */
	struct finder *finder;
	struct code_region *region;
	struct block *hash[1u << HASH_BITS];
	struct block **pages;
	u64 *page_epoch; /* 0: not marked; else what marking it gave, plus 1, and whether it has settled */
	u64 page_count;
	u64 breaks; /* the debugger's breakpoints that translations keep away from: machine_debug.breaks */
	s32 heat; /* entries after which a block is hot */
	bool exact_flags, ymm, avx2, bmi2;
	bool counts; /* generated code counts its instructions: count.c */
	bool tells; /* of each translation: tell.c */
	int map_fd; /* --perf-map; -1: not wanted */
	u64 host_features[2]; /* by enum feature: what the host can execute */
	struct cache_stats stats;
	struct error failed; /* it could not be made */
};

/* What is one vCPU's, and its thread's alone but for what is atomic. */
struct dbt_cpu {
	struct dbt *dbt;
	u8 *base; /* a place is so far from here */
	struct jump_entry *jump;
	struct block **jump_block; /* whose code an entry has */
	struct low *low;
	u16 mode; /* that the jump cache is good for */
	bool at_break; /* code was wanted where a breakpoint of the debugger's may be */
	_Atomic bool away; /* runs no generated code, and looks for what it missed before it does again */
	_Atomic u64 passed; /* dbt.pass, when it was last outside of generated code */
	u64 heard; /* dbt.retirements that its jump cache has heard of */
	s64 quantum; /* what v->left began with */
	u64 time; /* clock_now() then */
	struct check *check; /* --check: check.h */
	bool delivering;
	struct cpu_event first; /* what is being delivered */
	struct insn none; /* v->cur while no instruction is under way */
	struct insn single; /* the instruction being executed outside any block */
	struct tracer *tracer; /* --trace: every instruction is stepped over */
	struct dbt_stats *stats; /* v->engine_stats */
};

static inline struct dbt_cpu *cpu_of(const struct vcpu *v)
{
	return v->engine;
}
static inline struct dbt *dbt_of(const struct vcpu *v)
{
	return cpu_of(v)->dbt;
}
/* Whoever holds it waits for nobody, calls no device and raises nothing. A machine with one vCPU needs no lock. */
static inline void dbt_lock(struct dbt *d)
{
	if (d->many)
		pthread_mutex_lock(&d->lock);
}
static inline void dbt_unlock(struct dbt *d)
{
	if (d->many)
		pthread_mutex_unlock(&d->lock);
}
static inline struct words *words_of(struct vcpu *v)
{
	return (struct words *)v->engine_words;
}
/* All exceptions are masked and none is pending; no #NM, no #UD. */
static inline bool x87_is_calm(const struct vcpu *v)
{
	return (v->x87.cw & 0x3f) == 0x3f && !(v->x87.sw & 0x80) && !(v->cr0 & (CR0_EM | CR0_TS));
}
u16 mode_of_segments(const struct vcpu *v); /* legacy.c */
/* A deprivileged kernel is what CPL 1 is: unprivileged, with the supervisor's rights to memory. */
static inline unsigned level_of(const struct vcpu *v)
{
	return v->guest_kernel ? 1 : v->cpl;
}
static inline u16 mode_of(const struct vcpu *v)
{
	return (u16)(v->code_size | (x87_is_calm(v) ? MODE_X87 : 0) | v->simd_ok << MODE_SIMD_SHIFT |
		     (v->simd_trap ? MODE_TRAP : 0) | level_of(v) << MODE_CPL_SHIFT |
		     (v->code_size == CODE_32 ? mode_of_segments(v) : 0));
}
/* Code that is translated; all other is calls of src/emulate. */
static inline bool mode_is_translated(u16 mode)
{
	return (mode & MODE_CODE_SIZE) == CODE_64 || mode & MODE_FLAT;
}
/*
 * What the key of the jump cache has besides address and code space. Bits 2 to 17 of a key are its place in the cache, so that one in which
 * they are not is of its mode alone; bit 2 is that of empty entries.
 */
static inline u32 jump_key(u16 mode)
{
	if ((mode & MODE_CODE_SIZE) == CODE_64)
		return 0;
	return 0x4000 | (mode & 0x3fu) << 2 | (mode & MODE_CPL) << 1 | (mode & 0x3c00u);
}
static inline unsigned jump_hash(u64 gla)
{
	return (unsigned)(gla >> JUMP_PLACE_SHIFT) & ((1u << JUMP_CACHE_BITS) - 1);
}
/* A key that no address has which belongs there. */
static inline u64 jump_empty(unsigned place)
{
	return (u64)(place ^ 1) << JUMP_PLACE_SHIFT;
}
/* Something wants the loop's attention before another instruction runs. */
static inline bool wants_out(const struct vcpu *v)
{
	u32 events = atomic_load_explicit(&v->events, memory_order_relaxed);

	return v->stop_now || v->halted || v->shadow || (events && ((events & ~EV_INTR) || (v->rflags & FL_IF)));
}

/* ---- dbt.c: for lock-step ---- */
/* Lets the CPU go, for about `most` instructions where they are counted. Faults unwind; after that, dbt_unwound(). */
void dbt_advance(struct vcpu *v, u64 most);
void dbt_unwound(struct vcpu *v);

/* ---- cache.c: all under the lock ---- */
void cache_flush(struct vcpu *v); /* drops every translation; v is outside of generated code */
bool cache_make_room(
	struct vcpu *v); /* for one more block; drops some if it must. false: others are still inside of those */
/* Marks the page as holding code. false: a vCPU may still store there unnoticed, so nothing of it may be kept. */
bool page_settled(struct vcpu *v, u64 page);
/* Without the lock, too: then it may be dropped meanwhile, which v hears of when it passes. */
struct block *block_find(struct dbt *d, u64 page, unsigned off, u16 mode, u64 page2);
void block_enter(struct vcpu *v, struct block *b);
void block_retire(struct vcpu *v, struct block *b);
void place_retire(struct vcpu *v, u64 page, unsigned off); /* all blocks with that instruction */
void exit_link(struct dbt *d, struct exit *x, struct block *to);
/* To another page, for v, whose page is at `from` and whose code space is `space`; unless others may be about to use a link of before. */
void exit_link_across(struct vcpu *v, struct exit *x, struct block *to, u64 key);
/* ---- not under the lock ---- */
static inline u64 cache_reuses(const struct dbt *d)
{
	return atomic_load_explicit(&d->reuses, memory_order_relaxed);
}
void cache_breaks_changed(struct vcpu *v); /* if so; v is outside of generated code */
void cache_memory_changed(struct vcpu *v, u64 gpa, u64 len); /* vcpu_ops.memory_changed */
int cache_create(struct vcpu *v, struct error *err); /* the machine's, with its first vCPU */
void cache_destroy(struct vcpu *v); /* with its last */
extern const struct mmu_hooks cache_hooks;

/* ---- passes.c ---- */
/* The vCPU is outside of all blocks and knows of none but by its jump cache; under the lock, or not. */
void pass_locked(struct vcpu *v);
void pass_slowly(struct vcpu *v);
static inline void pass(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);
	u64 now = atomic_load(&c->dbt->pass), passed = atomic_load_explicit(&c->passed, memory_order_relaxed);

	if (unlikely(atomic_load(&c->dbt->dropped) > passed || atomic_load(&c->dbt->retirements) != c->heard))
		pass_slowly(v);
	else if (now != passed)
		atomic_store(&c->passed, now);
}
/* It stops running generated code for a while; and goes on, before it passes. */
void pass_leave(struct vcpu *v);
void pass_enter(struct vcpu *v);
/* Something was taken away: returns the pass that makes sure that nobody uses it any more. Whether all but v, which is outside now, have. */
u64 pass_ask(struct dbt *d);
bool pass_done(const struct dbt *d, const struct vcpu *v, u64 pass); /* v may be NULL */
void pass_hurry(struct machine *m,
		const struct vcpu *v); /* all but v, which may be NULL, are to look soon. Any thread */
void retired_note(struct dbt *d, const struct block *b); /* vCPUs are to forget their jumps to it */
void retired_hear(struct vcpu *v); /* v does, now; under the lock */
void cache_forget_jumps(struct vcpu *v);

/* ---- area.c: what generated code touches of one vCPU's; it begins as zeros ---- */
#define AREA_ROOM (128u << 20) /* of address space */
void area_layout(struct dbt *d); /* places, by code_size */
int area_create(struct vcpu *v, struct error *err);
void area_destroy(struct vcpu *v);
void area_clear(struct dbt_cpu *c, const struct span *s); /* becomes zeros again */
static inline void *area_at(const struct dbt_cpu *c, u32 place)
{
	return c->base + place;
}
static inline u64 *exit_key(const struct dbt_cpu *c, const struct exit *x)
{
	return area_at(c, x->key);
}
static inline u8 *exit_misses(const struct dbt_cpu *c, struct exit *x)
{
	return c->dbt->many ? (u8 *)area_at(c, x->key + 8) : &x->misses;
}
/* The same for generated code. A place's address is below 2 GiB where there is one vCPU, else it is relative to the vCPU. */
static inline struct mem at_place(const struct dbt *d, u32 place)
{
	return (struct mem){ .base = NO_REG, .index = NO_REG, .gs = d->many, .disp = (s32)place };
}
/* Behind the place that is in a register. */
static inline struct mem at_place_in(const struct dbt *d, unsigned reg, size_t offset)
{
	return (struct mem){ .base = (u8)reg, .index = NO_REG, .gs = d->many, .disp = (s32)offset };
}
static inline void e_op_place(struct emit *e, const struct dbt *d, unsigned op, unsigned size, unsigned reg, u32 place)
{
	if (d->many)
		e_op_rm(e, op, size, reg, at_place(d, place));
	else
		e_op_rip(e, op, size, reg, (const void *)(u64)place);
}

/* ---- memory.c ---- */
int memory_create(struct dbt *d, const struct machine_config *config, struct error *err);
void memory_destroy(struct dbt *d);
void memory_divide(struct dbt *d); /* what is not allocated yet, into generations; the first is the current one */
u64 memory_used(const struct dbt *d); /* bytes of code, full generations as a whole */
void memory_enter(struct dbt *d, unsigned generation); /* becomes the current one: nothing of it is allocated */
void memory_leave(struct dbt *d); /* the current one has no room any more */
bool memory_ready(struct dbt *d); /* for one more block; false: the current generation is full */
bool memory_ready_for_region(const struct dbt *d); /* false: a plain block still has room */
bool memory_is_short(const struct dbt *d); /* the current generation will be full soon */
void *meta_alloc(struct dbt *d, size_t size);
u32 touched_alloc(struct dbt *d, size_t size); /* size: a power of 2 */
u32 slot_alloc(struct dbt *d);

/* ---- slots.c ---- */
/* A place that looks into a slot of b's, or of the stack's (b NULL), for accesses of `span` bytes. */
struct slot_use *slot_use_new(struct dbt *d, u32 slot, unsigned span, struct block *b, unsigned off, bool write);
void slots_clear(struct dbt_cpu *c);
void slots_check_lists(struct vcpu *v); /* makes room in them when there is none */
bool place_wanders(const struct dbt *d, u64 page, unsigned off);
bool place_begins(const struct dbt *d, u64 page, unsigned off); /* a block may */
void note_begin(struct dbt *d, u64 page, unsigned off);
bool place_is_outside(const struct dbt *d, u64 page, unsigned off);
/* An access of s's has gone to a device or beside code, or not: its block is translated anew where that is worth it. Returns whether. */
bool place_note(struct vcpu *v, struct site *s, bool outside);
bool block_is_hot(const struct dbt *d, u64 page, unsigned off);
u64 dbt_promote(struct vcpu *v, struct block *b);
u64 dbt_hot(struct vcpu *v, struct slot_use *use);
void slots_dropped(struct vcpu *v, u64 gla, enum mmu_drop what);

/* ---- thunks.c ---- */
void thunks_emit(struct dbt *d, struct vcpu *v); /* v: any of the machine's */
/* Guest registers to v->r[], but for the two that are there; vector registers to v->v, if they are loaded. */
/* Where the vCPU is from here on, if anybody wants to know. */
void thunk_at(struct emit *e, const struct vcpu *v, enum vcpu_place place);
/* C's first argument: the vCPU. Where there are several, whose thread it is. */
void thunk_self(struct emit *e, const struct dbt *d, const struct vcpu *v);
void thunk_save_guest(struct emit *e);
void thunk_save_vectors(struct emit *e, const struct dbt *d); /* destroys EFLAGS */
/* ---- thunks-string.c ---- */
u64 emit_rep_movs(struct emit *e, const struct dbt *d, unsigned shift);
u64 emit_rep_stos(struct emit *e, const struct dbt *d, unsigned shift);
/* ---- thunks-system.c ---- */
u64 emit_syscall(struct emit *e, const struct dbt *d);
u64 emit_sysret(struct emit *e, const struct dbt *d);
/* Code spaces, and the view of the TLB, of the other privilege. Destroys OUT_B; likewise these: */
void thunk_change_level(struct emit *e, unsigned cpl);
/* A segment of base 0, or all of the address space; selectors are the caller's. */
void thunk_set_segment(struct emit *e, unsigned seg, u32 limit, u32 ar);
void thunk_set_flat(struct emit *e, unsigned seg, u32 ar);
u64 emit_tsc(struct emit *e, const struct dbt *d, struct vcpu *v, bool aux);
u64 emit_direct(struct emit *e, const struct dbt *d, struct vcpu *v, u64 (*fn)(struct vcpu *, struct site *),
		bool raises);
/* ---- thunks-iret.c ---- */
u64 emit_iret(struct emit *e, const struct dbt *d);

/* ---- lookup.c: what thunks call; each returns the run-time address to go on at ---- */
u64 dbt_find(struct vcpu *v); /* code for v->rip; faults as its fetch */
u64 dbt_go_on(struct vcpu *v); /* the same, unless the loop is wanted */
u64 dbt_slow(struct vcpu *v, struct site *s);
u64 dbt_link(struct vcpu *v, struct exit *x);
u64 dbt_bail(struct vcpu *v, struct exit *x);
u64 dbt_refill(struct vcpu *v, struct refill *r);
/* The plain block of b's page at off, made if need be; of b's mode. v->rip is there. */
u64 dbt_plain(struct vcpu *v, struct block *b, unsigned off, struct exit *x);
u64 dbt_cross_link(struct vcpu *v, struct exit *x);
u64 dbt_poll(struct vcpu *v, struct exit *x);
u64 dbt_poll_site(struct vcpu *v, struct site *s);
u64 dbt_miss(struct vcpu *v, struct site *s);

/* ---- direct.c: likewise; what is unusual goes on at to.slow, what is done and not at site.resume at to.moved ---- */
u64 dbt_direct_cr3(struct vcpu *v, struct site *s);
u64 dbt_direct_invlpg(struct vcpu *v, struct site *s);
u64 dbt_direct_wrmsr(struct vcpu *v, struct site *s);
u64 dbt_direct_cpuid(struct vcpu *v, struct site *s);
u64 dbt_direct_xstate(struct vcpu *v, struct site *s);
u64 dbt_direct_in(struct vcpu *v, struct site *s);
u64 dbt_direct_out(struct vcpu *v, struct site *s);
u64 dbt_direct_tsc(struct vcpu *v, struct site *s); /* the time-stamp counter, where instructions are counted */
u64 dbt_outside(struct vcpu *v, struct site *s);
u64 dbt_moved(struct vcpu *v, struct site *s);

/* ---- translate.c, region.c; a translation is made under the lock ---- */
struct tr *tr_create(void); /* these to be freed; NULL: no memory */
struct finder *finder_create(void);
struct code_region *code_region_create(void);
/* Translates from linear address gla on, whose page is at host; returns NULL where the instruction cannot be decoded: #UD or #GP. */
struct block *translate(struct vcpu *v, u64 gla, u16 mode, const u8 *host, u64 page, u64 page2);

/* ---- thunks.c ---- */
/* A field of the jump cache's entry whose offset is in a register. */
static inline struct mem jump_field(const struct dbt *d, unsigned entry, size_t field)
{
	return at_place_in(d, entry, d->jump + field);
}
/* The offset of the entry for the address in register `target` into register `entry`. Destroys EFLAGS. */
void jump_index(struct emit *e, unsigned entry, unsigned target);
/* To the code of the entry in register entry; `page` holds an address of the page that it is in, and is destroyed, as is EFLAGS. */
void jump_take(struct emit *e, const struct dbt *d, unsigned entry, unsigned page);
void jump_set_page(struct emit *e, unsigned page); /* the same of the page alone */
/* An image of RFLAGS into OUT_A, with flags in memory; and the arithmetic ones of that in OUT_A into memory. OUT_A and OUT_B are destroyed. */
void flags_image(struct emit *e);
void flags_from_image(struct emit *e);
/* The flags into memory, or out of it; `with` is destroyed. */
void flags_save(struct emit *e, unsigned with);
void flags_restore(struct emit *e, unsigned with);
void flags_load(struct emit *e);

/* ---- x87.c ---- */
u64 dbt_load_x87(struct vcpu *v, u64 then);
void dbt_store_x87(struct vcpu *v);

/* ---- tell.c ---- */
int tell_open(struct dbt *d, const struct machine_config *config,
	      struct error *err); /* after the cache has been created */
void tell_close(struct dbt *d);

/* ---- stats.c ---- */
void dbt_stats(struct machine *m, void (*line)(const char *fmt, ...));
