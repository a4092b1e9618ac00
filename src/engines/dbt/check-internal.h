/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How lock-step is built: the two sides, and what they tell each other. check.c tells how it works.
 *
 *   check.c         the stretches: one side after the other, comparing, and finding the block
 *   check-notes.c   what the first side heard from outside, for the second
 *   check-follow.c  the second side: a CPU that steps by src/emulate, on RAM of its own
 *   check-state.c   the CPU's state as rows: copying, comparing, telling
 */
#pragma once
#include "engines/dbt/check.h"
#include "util/text.h"

/* ---- what comes from outside ---- */
enum note_kind {
	NOTE_READ, /* of a device's register */
	NOTE_WRITE,
	NOTE_MSR_READ, /* of the interrupt controller's, as all that follow */
	NOTE_MSR_WRITE,
	NOTE_TPR_READ,
	NOTE_TPR_WRITE,
	NOTE_SEND,
	NOTE_MEMORY, /* a device wrote RAM: [addr, + len) bytes of it, data at `value` in the pool */
	NOTE_MARK, /* a page walk set bits `value` at byte `addr` of RAM */
};
struct note {
	u8 kind; /* enum note_kind */
	u8 size;
	bool ports, ok;
	u64 at; /* instructions of the stretch before it */
	u64 addr, value, len;
};
struct notes {
	pthread_mutex_t lock; /* devices' threads add as well */
	struct note *note;
	size_t count, size;
	u8 *pool;
	size_t used, room;
};

struct tapped { /* a region of the first side's bus */
	struct check *c;
	struct region real;
	bool ports;
};

/* ---- RAM that was stored to, and what was there before ---- */
struct touched {
	u64 *page;
	u8 *before;
	size_t count, size;
	u32 *stamp; /* by page */
	u32 now;
};

struct followed { /* a cache line; insn.n is the code size */
	const u8 *host;
	u64 bytes[2];
	struct insn insn;
} __attribute__((aligned(64)));
#define FOLLOWED 65536u
#define TRAIL	 64u

struct check {
	struct vcpu *v; /* the first side: generated code, the machine's devices */
	struct vcpu *f; /* the second: src/emulate, a machine without any */
	struct machine *ref;
	struct ram_tap tap, ref_tap;
	const struct intc_ops *real_intc;
	struct tapped *tapped;
	size_t regions;
	/* Held for writing while the first side runs guest code: no device writes RAM meanwhile. */
	pthread_rwlock_t gate;
	unsigned inside; /* depth of device accesses */
	bool recording, again; /* again: the first side takes its notes from the first time, too */
	struct notes notes;
	size_t v_next, f_next; /* note that each side is at */

	/* The stretch. */
	bool delivers;
	struct cpu_event delivery;
	struct vcpu *start; /* the state that it began with */
	u64 start_insns, start_drops, time;
	u64 done; /* instructions of it that the second side has executed */
	struct touched touched;
	u64 since_sweep; /* instructions since all RAM was compared */

	struct followed *followed;
	struct insn none, single;
	u64 trail[TRAIL], trail_length; /* where the second side was in this stretch or block */
	bool failed, resync;
	struct text_buffer why, report;
};

static inline struct check *check_of(const struct vcpu *v)
{
	return cpu_of(v)->check;
}

/* ---- check-notes.c ---- */
void notes_init(struct notes *n);
void notes_free(struct notes *n);
int notes_tap(struct check *c,
	      struct error *err); /* the first side's devices are listened to, the second's are made of notes */
void notes_untap(struct check *c);
void notes_forget(struct check *c);
/* RAM and page tables of one side become what they were before its instruction number `at`. */
void notes_apply(struct check *c, struct vcpu *side, u64 at);
void note_memory(struct check *c, const void *host, u64 len);
void note_mark(struct check *c, const u8 *host, bool wide, u64 bits);
u64 check_now(const struct check *c); /* instructions of the stretch that the first side has executed */

/* ---- check-follow.c ---- */
int follow_create(struct check *c, struct error *err);
void follow_destroy(struct check *c);
void follow_resync(struct check *c); /* the second side becomes the first */
void follow_rejoin(struct check *c); /* its CPU alone */
/* Has the second side do what the first has done from its instruction `from` to `to`: false, and why, if it cannot. */
bool follow(struct check *c, u64 from, u64 to, bool then_faults);
bool follow_delivery(struct check *c);
void touch(struct check *c, const u8 *host); /* the page is about to change */
void touched_forget(struct check *c);
/* Unwinds from whatever the side is doing. */
_Noreturn void differ(struct check *c, struct vcpu *side, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define UNWOUND_DIFFERS 2 /* what longjmp gives then */

/* ---- check-state.c ---- */
void state_copy(struct vcpu *to, const struct vcpu *from);
bool state_same(struct check *c);
void state_tell(struct check *c, struct text *out); /* what differs */
