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
 */
#pragma once
#include "emulate/emulate.h"
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

#define JUMP_CACHE_BITS 16 /* a kernel's places that calls return to are thousands */
#define JUMP_CACHE_SIZE (sizeof(struct jump_entry) << JUMP_CACHE_BITS)
#define JUMP_PLACE_SHIFT \
	2 /* so functions, which begin at multiples of 16, have a line of the host's cache each, and all of its sets */
struct jump_entry { /* 16 bytes: generated code scales by it */
	u64 key; /* linear address ^ code space */
	u64 code;
};

struct block {
	/* What finding it looks at is in one line of the host's cache, or two. */
	struct block *hash_next;
	u64 page, page2; /* RAM page indexes; page2: the second page of an instruction across two, or ~0 */
	u16 off; /* in the page, where it is entered */
	u16 mode;
	bool dead, live_in; /* live_in: looks at the flags that it is entered with */
	bool entered, many_jumps; /* it was looked up; at more than one address */
	u64 code, code_h; /* entries: flags in memory, flags in EFLAGS */
	u32 jump; /* its entry in the jump cache */
	u16 first, end; /* bytes of the page that were translated lie in [first, end) */
	struct block *page_next;
	struct exit *in; /* exits that jump here */
	struct exit *exits; /* its own */
	struct slot *slots; /* its own */
	struct block *made_next; /* of its generation */
	u16 insns;
	bool hot; /* a region */
	s32 *heat; /* entries left until it may be */
	u64 since; /* when they began to be counted, in cycles of the TSC */
	u64 code_end;
};

/* A direct jump out of a block. */
struct exit {
	struct exit *next_own, *next_in;
	struct block *from, *to;
	u8 *hot_at; /* displacement of the jump in the block, through the writable mapping */
	u64 hot_home; /* where it goes while there is no link */
	u8 *jump_at; /* displacement of the jump behind the poll or the page check, or NULL */
	u64 jump_home;
	u64 poll; /* entry at the poll, flags need not be saved; 0: forward */
	u64 *key; /* page ^ code space for which a link to another page is right; else NULL */
	s64 target; /* relative to the block's page */
	u16 from_off; /* of the branch, or of the end that code falls through to */
	u8 misses; /* of the page check: now and then the link is made anew */
	bool flags_host, crosses, call;
	bool plain; /* to a plain block for `target`, whatever else there is */
};
#define EXIT_LINK_NOW 0xf8 /* exit.misses: the next addition of 8 carries */

/*
 * A translation that one place in the code remembers: accesses of `span` bytes that begin in [page, page + end) are at host + (gla - page),
 * which is gla + delta. Empty: end is 0, so that no address passes. Entered from the TLB's current view, emptied whenever that
 * may change.
 */
struct slot {
	u64 neg; /* -page */
	u64 end;
	u64 delta, host;
	u64 room; /* end of a slot that covers a page */
	u32 count; /* misses until it is looked at; 0: now */
	u32 hits; /* the second of a pair: until its page gets the first */
	u32 listed; /* it is in one of dbt.low->filled */
	u64 since; /* when the count began */
	struct block *block;
	struct slot *next; /* of the same block */
	u16 off, span;
	u16 place; /* as which it is known to wander: off, or one more */
	bool write;
	u8 looks;
};

/* A place that looks into a slot. */
struct slot_use {
	struct slot *slot;
	u64 back; /* where it does */
	u64 fail; /* where to go if the slot cannot be filled; all registers are as they were */
};

/* A check of several accesses that the TLB may lack: what C brings there is the page of one. */
struct refill {
	struct site *site;
	u64 again, fail; /* run-time addresses: where it is tried again, and where to go if it would not pass */
	u16 back, n; /* the access, from the first byte that is checked on, which is in words.fill_gla */
	u16 span;
	bool store; /* the access may */
	bool write; /* the check asks for it */
};

/* An instruction that C does, always or when its fast path finds something unusual. */
struct site {
	struct insn insn;
	struct block *block;
	u64 resume; /* run-time address behind it */
	bool fast; /* it has a fast path */
	bool outside; /* it is one that place_is_outside() was true of */
	u8 strays; /* of an instruction with a fast path: accesses to what that cannot serve; of an `outside` one: to what could */
};

#define FILLED_MAX 4095
struct filled { /* slots that are not empty, or were lately */
	u32 n;
	u32 slot[FILLED_MAX];
};
struct low { /* what generated code names by 32 bits */
	struct filled filled[2]; /* [1]: from global pages, which a change of address space leaves alone */
};

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
	u64 hot; /* slot in OUT_A: it misses often */
	u64 load_vec; /* goes to OUT_A with vectors loaded */
	u64 load_x87; /* the same of x87 and MMX; vectors are not, then */
	u64 stop; /* exit in OUT_A: the loop is to look, in front of its target */
};

/* Why generated code was left for the loop. */
/* Why an instruction with a fast path went the slow way, as far as that can be told from what it did. */
enum slow_for { SLOW_NEVER_FAST, SLOW_TLB, SLOW_DEVICE, SLOW_CODE, SLOW_OTHER, NR_SLOW_FOR };
enum leave { LEAVE_INTERRUPT, LEAVE_EVENT, LEAVE_HALT, LEAVE_TIME, LEAVE_LOOK, NR_LEAVES };

struct dbt_stats {
	u64 blocks, insns, bytes, flushes, evictions, slow, direct, ends, links, relinks, lookups, misses, hashed,
		promoted, slot_drops, slot_looks, slot_extends, bails, refills, polls, drops, code_stores, outside,
		inside, leaves, steps, stretches;
	u64 by_op[NR_OPS];
	u64 left_for[NR_LEAVES]; /* of `leaves` */
	u64 slow_for[NR_SLOW_FOR]; /* of `slow` */
	u64 code_used, code_size; /* of the cache, in bytes; when it was destroyed */
};

/* The cache has parts that are filled one after the other. What a translation consists of lies in one. When all are full, one is emptied. */
#define GENERATIONS 8
struct generation {
	struct part {
		u8 *begin, *end;
	} hot, cold, meta, touched;
	struct block *blocks; /* made in it, stand-ins and dead ones too */
};

struct dbt {
	struct emit hot, cold;
	u8 *code_rw, *code_rx;
	size_t code_size;
	struct generation generation[GENERATIONS];
	unsigned generations, now; /* how many there are; the one being filled */
	u64 random; /* which one goes */
	u8 *hot_ready, *cold_ready; /* up to here the host was asked for huge pages */
	bool small_pages; /* it has none to give */
	u8 *meta, *meta_end,
		*meta_next; /* blocks, exits and sites: below 2 GiB, as generated code names them by 32 bits */
	/* Likewise the few words of theirs that generated code touches each time: close together, as each costs a place in the cache. */
	u8 *touched, *touched_end, *touched_next;
	struct jump_entry *jump;
	struct block **jump_block; /* whose code an entry has */
	struct low *low;
	/* Of pushes, pops, calls and returns, a pair each: user's, supervisor's; the same of 32-bit code. */
	struct slot *stack[4];
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
	u16 mode; /* that jump cache and ring are good for */
	s32 heat; /* entries after which a block is hot */
	bool at_break; /* code was wanted where a breakpoint of the debugger's may be */
	bool flush_wanted; /* before generated code is entered again */
	bool exact_flags, ymm, avx2, bmi2;
	bool counts; /* generated code counts its instructions: count.c */
	s64 quantum; /* what v->left began with */
	u64 time; /* clock_now() then */
	struct check *check; /* --check: check.h */
	bool tells; /* of each translation: tell.c */
	int map_fd; /* --perf-map; -1: not wanted */
	u64 host_features[2]; /* by enum feature: what the host can execute */

	bool delivering;
	struct cpu_event first; /* what is being delivered */
	struct insn none; /* v->cur while no instruction is under way */
	struct insn single; /* the instruction being executed outside any block */
	struct tracer *tracer; /* --trace: every instruction is stepped over */
	struct dbt_stats *stats; /* v->engine_stats */
};

static inline struct dbt *dbt_of(const struct vcpu *v)
{
	return v->engine;
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

/* ---- cache.c ---- */
int cache_create(struct vcpu *v, struct error *err);
void cache_destroy(struct vcpu *v);
void cache_flush(struct vcpu *v); /* drops every translation */
void cache_make_room(struct vcpu *v); /* for one more block; drops some if it must */
/* Changes whenever translations' memory is used again: what was known of any block or exit before is void then. */
static inline u64 cache_reuses(const struct dbt *d)
{
	return d->stats->flushes + d->stats->evictions;
}
void cache_forget_jumps(struct vcpu *v);
/* Marks the page as holding code. false: another vCPU may still store there unnoticed, so nothing of it may be kept. */
bool page_settled(struct vcpu *v, u64 page);
struct block *block_find(struct dbt *d, u64 page, unsigned off, u16 mode, u64 page2);
void block_enter(struct vcpu *v, struct block *b);
void block_retire(struct vcpu *v, struct block *b);
void place_retire(struct vcpu *v, u64 page, unsigned off); /* all blocks with that instruction */
void exit_link(struct dbt *d, struct exit *x, struct block *to);
extern const struct mmu_hooks cache_hooks;

/* ---- memory.c ---- */
int memory_create(struct dbt *d, const struct machine_config *config, struct error *err);
void memory_destroy(struct dbt *d);
void memory_divide(struct dbt *d); /* what is not allocated yet, into generations; the first is the current one */
u64 memory_used(const struct dbt *d); /* bytes of code, full generations as a whole */
void memory_enter(struct dbt *d, unsigned generation); /* becomes the current one: nothing of it is allocated */
bool memory_ready(struct dbt *d); /* for one more block; false: the current generation is full */
bool memory_ready_for_region(const struct dbt *d); /* false: a plain block still has room */
void *meta_alloc(struct dbt *d, size_t size);
void *touched_alloc(struct dbt *d, size_t size); /* size: 4 or 8 */

/* ---- slots.c ---- */
void slot_init(struct slot *s, unsigned span, struct block *b, unsigned off, bool write);
void slots_clear(struct dbt *d);
void slots_check_lists(struct vcpu *v); /* makes room in them when there is none */
bool place_wanders(const struct dbt *d, u64 page, unsigned off);
bool place_begins(const struct dbt *d, u64 page, unsigned off); /* a block may */
void note_begin(struct dbt *d, u64 page, unsigned off);
bool place_is_outside(const struct dbt *d, u64 page, unsigned off);
/* An access of s's has gone to a device or beside code, or not: its block is translated anew where that is worth it. Returns whether. */
bool place_note(struct vcpu *v, struct site *s, bool outside);
bool block_is_hot(const struct dbt *d, u64 page, unsigned off);
u64 dbt_promote(struct vcpu *v, struct block *b);
u64 dbt_hot(struct vcpu *v, struct slot *s);
void slots_dropped(struct vcpu *v, u64 gla, enum mmu_drop what);

/* ---- thunks.c ---- */
void thunks_emit(struct vcpu *v);
/* Guest registers to v->r[], but for the two that are there; vector registers to v->v, if they are loaded. */
/* Where the vCPU is from here on, if anybody wants to know. */
void thunk_at(struct emit *e, const struct vcpu *v, enum vcpu_place place);
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
u64 emit_tsc(struct emit *e, struct vcpu *v, bool aux);
u64 emit_direct(struct emit *e, struct vcpu *v, u64 (*fn)(struct vcpu *, struct site *), bool raises);
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
u64 dbt_outside(struct vcpu *v, struct site *s);
u64 dbt_moved(struct vcpu *v, struct site *s);

/* ---- translate.c, region.c ---- */
struct tr *tr_create(void); /* these to be freed; NULL: no memory */
struct finder *finder_create(void);
struct code_region *code_region_create(void);
/* Translates from linear address gla on, whose page is at host; returns NULL where the instruction cannot be decoded: #UD or #GP. */
struct block *translate(struct vcpu *v, u64 gla, u16 mode, const u8 *host, u64 page, u64 page2);

/* ---- thunks.c ---- */
/* A field of the jump cache's entry whose offset is in a register. */
static inline struct mem jump_field(const struct dbt *d, unsigned entry, size_t field)
{
	return (struct mem){ .base = (u8)entry, .index = NO_REG, .disp = (s32)((u64)d->jump + field) };
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
int tell_open(struct vcpu *v, struct error *err); /* after the cache has been created */
void tell_close(struct dbt *d);

/* ---- stats.c ---- */
void dbt_stats(struct machine *m, void (*line)(const char *fmt, ...));
