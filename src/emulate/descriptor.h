/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment descriptors and explicit stacks: what far transfers, event delivery, task switches and segment loads share.
 * Descriptor tables and TSSs are read and written with supervisor rights, whatever the CPL (SDM vol. 3, 4.6.1).
 *
 * A `struct stack` is a stack under construction: transfers push to or pop from it with all checks and store SS:RSP
 * only when nothing can fault any more.
 */
#pragma once
#include "emulate/emulate.h"

#define SEL_RPL 3u
#define SEL_TI	4u
#define ERR_EXT 1u /* error code: found while delivering an event from outside the program */
#define ERR_IDT 2u

enum system_type {
	SYS_TSS16 = 1,
	SYS_LDT = 2,
	SYS_TSS16_BUSY = 3,
	SYS_CALL16 = 4,
	SYS_TASK_GATE = 5,
	SYS_INT16 = 6,
	SYS_TRAP16 = 7,
	SYS_TSS32 = 9, /* 64-bit TSS in IA-32e mode; likewise the gates below */
	SYS_TSS32_BUSY = 11,
	SYS_CALL32 = 12,
	SYS_INT32 = 14,
	SYS_TRAP32 = 15,
};
#define TSS_BUSY 2u

/* What SYSCALL and its like load into CS, with AR_L or AR_DB, and into SS, whatever the tables say (SDM vol. 2, SYSCALL). */
#define AR_FLAT_CODE (AR_P | AR_S | AR_CODE | AR_READ | AR_ACCESSED | AR_G)
#define AR_FLAT_DATA (AR_P | AR_S | AR_WRITE | AR_ACCESSED | AR_G | AR_DB)

struct descriptor {
	u64 low, high; /* high: second half of a 16-byte descriptor, once read */
	u64 gla;
	u16 selector;
};

static inline bool selector_null(u16 selector)
{
	return !(selector & ~SEL_RPL);
}
static inline bool long_active(const struct vcpu *v)
{
	return v->efer & EFER_LMA;
}
static inline bool protected_mode(const struct vcpu *v) /* not real mode, not virtual-8086 */
{
	return v->mode >= MODE_PROTECTED;
}
static inline u32 desc_ar(const struct descriptor *d)
{
	return (u32)(d->low >> 40) & 0xf0ff;
}
static inline u32 desc_base(const struct descriptor *d)
{
	return (u32)(d->low >> 16 & 0xffffff) | (u32)(d->low >> 56) << 24;
}
static inline u32 desc_limit(const struct descriptor *d)
{
	u32 limit = (u32)(d->low & 0xffff) | (u32)(d->low >> 32 & 0xf0000);
	return desc_ar(d) & AR_G ? limit << 12 | 0xfff : limit;
}
static inline unsigned ar_dpl(u32 ar)
{
	return ar >> AR_DPL_SHIFT & 3;
}
static inline unsigned ar_type(u32 ar)
{
	return ar & AR_TYPE;
}
static inline bool ar_is_code(u32 ar)
{
	return (ar & (AR_S | AR_CODE)) == (AR_S | AR_CODE);
}
static inline bool ar_is_conforming(u32 ar)
{
	return ar & AR_CONFORMING;
}
static inline bool ar_is_writable_data(u32 ar)
{
	return (ar & (AR_S | AR_CODE | AR_WRITE)) == (AR_S | AR_WRITE);
}
static inline u16 gate_selector(const struct descriptor *d)
{
	return (u16)(d->low >> 16);
}
static inline u64 gate_offset(const struct descriptor *d, bool wide)
{
	u64 offset = (d->low & 0xffff) | (d->low >> 32 & 0xffff0000);
	return wide ? offset | d->high << 32 : offset;
}

static inline _Noreturn void raise_selector(struct vcpu *v, u8 vector, u16 selector, u32 ext)
{
	vcpu_raise_error(v, vector, (selector & ~SEL_RPL) | ext);
}

/*
 * false: the selector lies outside its table, or names an LDT that is not there. Null selectors must be dealt with
 * before.
 */
bool descriptor_read(struct vcpu *v, u16 selector, struct descriptor *d);
/* The same, or raises vector(selector | ext). */
void descriptor_need(struct vcpu *v, u16 selector, struct descriptor *d, u8 vector, u32 ext);
/* Reads the second half of a 16-byte system descriptor; false: outside the table, or its type field is not 0. */
bool descriptor_read_high(struct vcpu *v, struct descriptor *d);
/* Sets the accessed bit in memory and in *d. */
void descriptor_set_accessed(struct vcpu *v, struct descriptor *d);
struct segment descriptor_segment(const struct descriptor *d, u16 selector);

/* ---- segment registers ---- */
void segment_set_real(struct vcpu *v, unsigned seg, u16 selector); /* real mode: base only (SDM vol. 3, 20.1.2) */
void segment_set_v86(struct vcpu *v, unsigned seg, u16 selector);
struct segment segment_null(u16 selector);
/* Loads CS at a (new) privilege level; the caller has checked everything and set the accessed bit. */
void segment_commit_cs(struct vcpu *v, const struct descriptor *d, unsigned cpl);
/* #GP(ext) unless offset can be fetched from code segment d. */
void check_entry_point(struct vcpu *v, const struct descriptor *d, u64 offset, u32 ext);
/* Checks of a code segment that RET or IRET goes to; reads it and sets its accessed bit. */
void check_return_cs(struct vcpu *v, u16 selector, struct descriptor *d);
/* Checks of the stack segment that goes with it (rpl: the level returned to); *ss receives what to load. */
void check_return_ss(struct vcpu *v, u16 selector, unsigned rpl, bool to_long, struct segment *ss);
/* After a return to an outer level: data segments which that level may not use become null. */
void drop_inner_segments(struct vcpu *v);

/* ---- stacks ---- */
struct stack {
	struct segment ss;
	u64 sp;
	u64 mask;
	u32 error; /* of #SS */
	enum mmu_access how;
	bool flat; /* 64-bit: no segmentation */
};
/* The current stack. */
struct stack stack_current(struct vcpu *v);
/* A stack of another level: legacy from its segment, or flat (64-bit mode). */
struct stack stack_inner(const struct segment *ss, u64 sp, bool flat, u32 error);
void stack_push(struct vcpu *v, struct stack *s, u64 value, unsigned size);
u64 stack_pop(struct vcpu *v, struct stack *s, unsigned size);
/* Stores RSP, in the stack's own width. */
void stack_commit(struct vcpu *v, const struct stack *s);

/* SS:ESP (or RSP) of level dpl from the TSS; #TS if the TSS is too short. */
void tss_stack(struct vcpu *v, unsigned dpl, u32 ext, u16 *ss, u64 *sp);
/* Legacy stack switch inward: checks the TSS's SS for level dpl (#TS, #SS) and gives its stack. */
struct stack stack_for_level(struct vcpu *v, unsigned dpl, u32 ext);
struct segment segment_null_ss(unsigned cpl); /* SS of a 64-bit stack switch */

/* ---- tasks ---- */
struct task_event { /* what a task switch by INT carries */
	u32 ext;
	bool has_error;
	u32 error;
};
/* Through a task gate or TSS descriptor whose privilege the caller checked. next_ip is stored in the old TSS. */
void task_switch(struct vcpu *v, u16 selector, enum task_reason reason, u64 next_ip, const struct task_event *ev);
