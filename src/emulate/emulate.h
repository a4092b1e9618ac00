/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an instruction does. One exec function an instruction (or a family of like ones, told apart by insn.op, size and
 * operands), called with v->rip at the instruction and v->cur == i. It
 *   - does all of the instruction, its checks and faults in the architecture's order, committing nothing before its last fault;
 *   - leaves flags through machine/flags.h;
 *   - if its row has OP_END (or i->flags has INSN_END): leaves the next address in v->rip (vcpu_next_rip, or where it goes);
 *     otherwise does not touch v->rip: the engine steps over i->len;
 *   - sets v->stop_now when something must be looked at before the next instruction (pending debug trap, mode change).
 * Feature gating is done before exec is called: an instruction that the CPU model lacks never gets here.
 */
#pragma once
#include "machine/flags.h"
#include "machine/machine.h"
#include "mmu/mmu.h"
#include "x86/ops.h"

typedef void exec_fn(struct vcpu *v, const struct insn *i);
/* By enum op. */
extern exec_fn *const op_exec[NR_OPS];

#define INSN(m, feature, attr, exec)		       exec_fn exec;
#define INSN_AS(name, m, variant, feature, attr, exec) exec_fn exec;
#include "x86/ops-int.def"
#include "x86/ops-sys.def"
#include "x86/ops-vec.def"
#include "x86/ops-x87.def"
#undef INSN
#undef INSN_AS

/* ---- delivery: interrupt.c, taskswitch.c ---- */
/* Delivers v->event through the IDT (or the IVT), with double-fault rules applied by the caller's loop: a fault during
 * delivery unwinds as any other. Clears v->event.valid, halted, shadow. */
void deliver_event(struct vcpu *v);
/* After a vcpu_raise unwound during delivery of `first`: combines the two (SDM vol. 3 table 6-5). false: triple fault. */
bool combine_exceptions(struct vcpu *v, const struct cpu_event *first);
/* How a task switch came about (SDM vol. 3 ch. 8); task_switch itself is in emulate/descriptor.h. */
enum task_reason { TASK_JMP, TASK_CALL, TASK_INT, TASK_IRET };

/* ---- between instructions, for every engine that interprets or translates: events.c ---- */
/* Takes what v->events asks for, in the order of SDM vol. 3 table 6-2; what is to be delivered is then in v->event. false: leave
 * run(). */
bool events_take(struct vcpu *v);

/* ---- fetching and decoding: fetch.c ---- */
/* Linear address of an instruction pointer. */
static inline u64 code_linear(const struct vcpu *v, u64 rip)
{
	return v->code_size == CODE_64 ? rip : (u32)(v->seg[SEG_CS].base + rip);
}
/* Decodes at bytes and gates by the CPU model; DECODE_INVALID is #UD. */
enum decode_status code_decode(struct vcpu *v, struct insn *i, struct insn_info *info, const u8 *bytes, unsigned n,
			       unsigned off);
/* #GP where an instruction of len bytes at v->rip ends past the segment's limit, or past canonical addresses (SDM vol. 3, 5.3). */
void code_check_end(struct vcpu *v, unsigned len);
/* Copies n bytes of code at gla, devices' too; faults as the fetch would. */
void code_fetch(struct vcpu *v, u64 gla, u8 *bytes, unsigned n);
/* Decodes the instruction at v->rip, across pages if need be; bytes gets its encoding. Raises what its fetch or decoding would. */
void code_decode_at_rip(struct vcpu *v, struct insn *i, u8 bytes[15]);

/* ---- --trace, a line an instruction or event: tracer.c ---- */
struct tracer *tracer_open(struct vcpu *v, const char *path, struct error *err);
void tracer_close(struct tracer *t);
void tracer_before(struct tracer *t, struct vcpu *v);
void tracer_after(struct tracer *t, struct vcpu *v);
void tracer_event(struct tracer *t, struct vcpu *v, const struct cpu_event *e);

/* ---- debug.c: what an engine calls around instructions, only while it is needed ---- */
/* DR7 enables some breakpoint, or CR4.DE an I/O one. */
static inline bool debug_breakpoints_on(const struct vcpu *v)
{
	return v->dr[7] & DR7_ENABLE_ANY;
}
/* Before an instruction, while debug_breakpoints_on(): true if its address has a breakpoint that is to fire. DR6 is then set; the
 * caller raises #DB. Uses up RF. */
bool debug_code_breakpoint(struct vcpu *v);
/* After an instruction that began at `from` with TF set (v->cur is still its record): makes the single-step trap pending. */
void debug_single_step(struct vcpu *v, u64 from);
/* Between instructions: turns v->pending_db into #DB, unless MOV SS holds it back. Unwinds if there is one. */
void debug_trap_check(struct vcpu *v);
/* A repeated string instruction returns before it is done: its breakpoint must not fire again (RF; SDM vol. 3, 18.3.1.1). */
static inline void debug_rep_continues(struct vcpu *v)
{
	if (unlikely(debug_breakpoints_on(v)))
		v->rflags |= FL_RF;
}

/* Whether a repeated string instruction returns after each iteration: TF traps there, and a debugger's step ends there. */
static inline bool steps_iterations(const struct vcpu *v)
{
	return (v->rflags & FL_TF) || v->debug.step;
}

/* ---- segments: segment.c ---- */
/* Linear address of [seg:ea, + len) for an access; checks limit, type and canonical form; #GP or #SS. */
enum seg_use { SEG_READ, SEG_WRITE };
u64 segment_linear_slow(struct vcpu *v, unsigned seg, u64 ea, unsigned len, enum seg_use use);
/* MOV to Sreg, POP Sreg, LxS: checks and loads; not CS. */
void segment_load(struct vcpu *v, unsigned seg, u16 selector);

static inline bool is_canonical(u64 a)
{
	return (u64)((s64)(a << 16) >> 16) == a;
}

static inline u64 segment_linear(struct vcpu *v, unsigned seg, u64 ea, unsigned len, enum seg_use use)
{
	if (v->code_size == CODE_64) {
		u64 gla = seg >= SEG_FS ? v->seg[seg].base + ea : ea;
		if (likely(is_canonical(gla) && is_canonical(gla + len - 1)))
			return gla;
	}
	return segment_linear_slow(v, seg, ea, len, use);
}

/* ---- operands ---- */
/* Effective address of the memory operand, in its address size. */
static inline u64 op_ea(struct vcpu *v, const struct insn *i)
{
	if (i->flags & INSN_MOFFS)
		return i->imm;
	if (unlikely(i->asize == 0)) /* RIP-relative, and disp + off + len would not fit the record */
		return v->rip + i->len + (u64)(s64)i->disp;
	v->r[17] = v->rip - i->off; /* SLOT_CODE: this path does not rely on an engine's having set it */
	u64 ea = *vcpu_gpr(v, i->base) + (*vcpu_gpr(v, i->index) << i->scale) + (u64)(s64)i->disp;
	return i->asize == 3 ? ea : i->asize == 2 ? (u32)ea : (u16)ea;
}
static inline u64 op_linear(struct vcpu *v, const struct insn *i, unsigned len, enum seg_use use)
{
	return segment_linear(v, i->seg, op_ea(v, i), len, use);
}
static inline unsigned op_size(const struct insn *i, unsigned k)
{
	return k == 1 ? i->size2 : i->size;
}
/* General registers by byte offset. A 4-byte write clears the upper half. */
static inline u64 reg_read(const struct vcpu *v, u8 off, unsigned size)
{
	const u8 *p = (const u8 *)v->r + off;
	return size == 8 ? *(const u64 *)p : size == 4 ? *(const u32 *)p : size == 2 ? *(const u16 *)p : *p;
}
static inline void reg_write(struct vcpu *v, u8 off, unsigned size, u64 value)
{
	u8 *p = (u8 *)v->r + off;
	switch (size) {
	case 8: *(u64 *)p = value; break;
	case 4: *(u64 *)p = (u32)value; break;
	case 2: *(u16 *)p = (u16)value; break;
	default: *p = (u8)value;
	}
}
/* Operand k, a general register, memory or immediate, zero-extended from its size (immediates: as decoded, cut to size). */
u64 op_read(struct vcpu *v, const struct insn *i, unsigned k);
/* Operand k := value. */
void op_write(struct vcpu *v, const struct insn *i, unsigned k, u64 value);
/*
 * Read-modify-write of operand 0: calls fn(old, arg) for the new value, atomically if LOCK (or `always`, for XCHG) and
 * memory. fn must be pure, as it may run more than once. Returns the old value.
 */
u64 op_modify(struct vcpu *v, const struct insn *i, bool always_locked, u64 (*fn)(u64 old, void *arg), void *arg);

static inline u64 mask_size(unsigned size)
{
	return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1;
}
static inline s64 sign_extend(u64 x, unsigned size)
{
	unsigned shift = 64 - 8 * size;
	return (s64)(x << shift) >> shift;
}
static inline bool cpu_can(const struct vcpu *v, enum feature f)
{
	return cpu_has(v->model, f);
}

/* Stack in the current stack size (SS.B, or 64 bits); osize in bytes. Push commits RSP last. */
void push(struct vcpu *v, u64 value, unsigned osize);
u64 pop(struct vcpu *v, unsigned osize);

/* ---- ports: io.c, also used by string I/O ---- */
/* #GP unless IOPL or the TSS's I/O bitmap allow [port, + size). */
void io_check(struct vcpu *v, u16 port, unsigned size);
/* The access itself, unchecked; never raises. */
u64 io_read(struct vcpu *v, u16 port, unsigned size);
void io_write(struct vcpu *v, u16 port, unsigned size, u64 value);

/* ---- control registers and MSRs: control.c, msr.c ---- */
void control_set_cr0(struct vcpu *v, u64 value); /* with all checks and consequences (mode, TLB) */
void control_set_cr4(struct vcpu *v, u64 value);
void control_set_keys(struct vcpu *v, u32 *rights, u32 value); /* PKRU, IA32_PKRS */
u64 msr_read(struct vcpu *v, u32 msr); /* #GP if there is none */
void msr_write(struct vcpu *v, u32 msr, u64 value);
bool msr_set(struct vcpu *v, u32 msr, u64 value); /* the same, but false, and nothing done, where that raises #GP */
/* XINUSE (SDM vol. 1, 13.6): which state components are not in their initial state. fpstate.c */
u64 xstate_in_use(const struct vcpu *v);
u64 cpu_tsc(struct vcpu *v); /* the guest's time-stamp counter now; never raises */
/* Changes CPL: also the MMU's view. */
void set_cpl(struct vcpu *v, u8 cpl);
/* Writes RFLAGS bits allowed by mask, with consequences (AC: view; TF, IF). */
void set_rflags(struct vcpu *v, u64 value, u64 mask);
