/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What translations consist of: blocks, the exits and sites that lead out of them, slots, and entries of the jump cache. Blocks, exits, sites
 * and uses of slots are the machine's; slots, the jump cache, and all that is named by a *place* here lie in each vCPU's area (area.c).
 */
#pragma once
#include "machine/machine.h"

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
	_Atomic bool dead;
	bool live_in; /* looks at the flags that it is entered with */
	bool entered, many_jumps; /* it was looked up; at more than one address */
	u64 code, code_h; /* entries: flags in memory, flags in EFLAGS */
	u32 jump; /* its entry in jump caches: once it is entered, without the lock to be read only */
	u16 first, end; /* bytes of the page that were translated lie in [first, end) */
	struct block *page_next;
	struct exit *in; /* exits that jump here */
	struct exit *exits; /* its own */
	struct slot_use *slots; /* its own */
	struct block *made_next; /* of its generation */
	u16 insns;
	bool hot; /* a region */
	u32 heat; /* place of a u16: vCPUs' entries; it carries when the block may be hot. 0: none */
	u64 since; /* when a vCPU's began to be counted, in cycles of the TSC */
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
	/*
	 * Of a link to another page, the place of a u64: page ^ code space for which the link is right on that vCPU, 0 or 1 for none. With
	 * several vCPUs a u8 follows, their `misses`. Which vCPUs' may be right; and the pass since which no vCPU is about to use a link that
	 * was taken away.
	 */
	u32 key;
	u64 keyed, unlinked;
	s64 target; /* relative to the block's page */
	u16 from_off; /* of the branch, or of the end that code falls through to */
	u8 misses; /* of the page check, counted down: now and then the link is made anew */
	bool flags_host, crosses, call;
	bool plain; /* to a plain block for `target`, whatever else there is */
};
#define EXIT_LINK_NOW 0 /* misses: the next subtraction of 8 borrows */

/*
 * A translation that one place in the code remembers, on one vCPU: accesses that begin in [page, page + end) are at host + (gla - page),
 * which is gla + delta. Empty: end is 0, so that no address passes. Entered from the TLB's current view, emptied whenever that
 * may change.
 */
struct slot {
	u64 neg; /* -page */
	u64 end;
	u64 delta, host;
	u32 count; /* misses until it is looked at, above SLOT_DUE */
	u32 hits; /* the second of a pair: until its page gets the first */
	u32 listed; /* which of low.filled it is in */
	u32 looks;
	u64 since; /* when the count began */
	u64 unused;
};
_Static_assert(sizeof(struct slot) == 64, "a line of the host's cache");
#define FIRST_MISSES 4 /* until a slot is looked at for the first time: it may cover more than a page */
#define SLOT_DUE     (-FIRST_MISSES) /* slot.count: so that a slot of zeros is a new one */

/* A place that looks into a slot. Slots of regions have one each, those of the stack many. */
struct slot_use {
	u32 slot; /* its place */
	u16 off, name; /* the instruction; as which the access is known to wander: off, or one more */
	u64 room; /* end of a slot that covers a page */
	u64 back; /* where it looks */
	u64 fail; /* where to go if the slot cannot be filled; all registers are as they were */
	struct block *block; /* NULL: the stack's */
	struct slot_use *next; /* of the same block */
	bool write;
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
	u32 slot[FILLED_MAX]; /* their places */
};
struct low {
	struct filled filled[2]; /* [1]: from global pages, which a change of address space leaves alone */
	/* Of pushes, pops, calls and returns, a pair each: user's, supervisor's; the same of 32-bit code. */
	struct slot stack[4][2];
};
