/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical vCPU: the whole architectural state of one logical processor, in one struct, whatever engine runs it.
 *
 * Rules: while an engine runs a vCPU the struct is that vCPU thread's alone, except `events`, which anyone may set
 * atomically. When an engine's run() returns, every field is complete and true (arithmetic flags included, see
 * machine/flags.h): snapshots, debuggers and other engines read it as it stands.
 *
 * Faults unwind: whatever finds one calls vcpu_raise(), which does not return; it records the exception and jumps to the
 * engine's landing (v->unwind). An instruction must commit nothing that a restart would see before its last possible
 * fault. v->rip is the address of the current instruction until the instruction completes.
 */
#pragma once
#include <setjmp.h>
#include <stdatomic.h>

#include "util/types.h"
#include "x86/bits.h"
#include "x86/cpuid.h"
#include "x86/insn.h"

struct machine;

struct segment {
	u64 base;
	u32 limit; /* in bytes, granularity applied */
	u32 ar; /* AR_* */
	u16 selector;
};

struct table_reg { /* GDTR, IDTR */
	u64 base;
	u16 limit;
};

union vreg { /* one YMM register; XMM is its lower half */
	u8 b[32];
	u16 w[16];
	u32 d[8];
	u64 q[4];
	float f[8];
	double g[4];
} __attribute__((aligned(32)));

struct f80 { /* an 80-bit number, in memory as the host's FLD and FSTP have it */
	u64 m; /* mantissa */
	u16 e; /* sign and exponent */
};

/* x87 state; MMX registers alias the 64-bit mantissas. fpr[] is indexed by physical register, TOP is in sw. */
struct x87 {
	struct f80 fpr[8];
	u16 cw, sw;
	u8 tag; /* abridged: bit p set while physical register p is not empty */
	u16 fop, fcs, fds;
	u64 fip, fdp;
};

/* Operand-lazy arithmetic flags: see machine/flags.h. */
enum flags_kind { FLAGS_KNOWN, FLAGS_SUB, FLAGS_ADD, FLAGS_INC, FLAGS_DEC, FLAGS_LAHF };
struct lazy_flags {
	s64 a, b;
	u64 kind; /* enum flags_kind in bits 0..7; 64 - operand bits in 8..15; for INC and DEC the kept CF in bit 16 */
};

enum cpu_mode { MODE_REAL, MODE_V86, MODE_PROTECTED, MODE_COMPAT, MODE_LONG };

/* vcpu.events: why a vCPU should leave guest code soon. Set with vcpu_post(), by any thread. */
#define EV_INTR	  0x01u /* the interrupt controller may have a vector for this vCPU */
#define EV_NMI	  0x02u
#define EV_STOP	  0x04u /* leave run(): the machine stops, pauses or ends */
#define EV_INIT	  0x08u
#define EV_SIPI	  0x10u /* vector in sipi_vector */
#define EV_TLB	  0x20u /* flush the whole TLB before the next guest instruction */
#define EV_CODE	  0x40u /* decoded code may be stale: mmu_take_code_mail() */
#define EV_WRITES 0x100u /* pages got decoded code: no fast writes to them: mmu_drop_writes() */
#define EV_FLUSH  0x200u /* another vCPU wants translations flushed: mmu_take_flushes() */
#define EV_TIMER  0x80u /* a timer is due; deterministic machines run timers on the vCPU thread */

enum event_type {
	EVENT_EXTINT,
	EVENT_NMI,
	EVENT_EXCEPTION,
	EVENT_SOFTINT /* INT n */,
	EVENT_SOFTEXC /* INT3, INTO */,
	EVENT_ICEBP
};
struct cpu_event { /* what is to be delivered through the IDT */
	bool valid;
	u8 vector;
	u8 type; /* enum event_type */
	bool has_error;
	u32 error;
	u64 cr2; /* of a page fault: loaded into CR2 on delivery */
};

/*
 * Where a vCPU's thread is, as far as its engine tells: -v samples it. Whoever enters a place puts back what was there when it leaves; what
 * unwinds need not.
 */
enum vcpu_place {
	PLACE_AWAY, /* not in run(), or the engine does not say */
	PLACE_CODE, /* guest code */
	PLACE_LOOP, /* between: events, what to run next */
	PLACE_FIND, /* looking for translations, linking them */
	PLACE_TRANSLATE,
	PLACE_EMULATE,
	PLACE_DELIVER, /* interrupts and exceptions */
	PLACE_WALK, /* page tables */
	PLACE_DEVICE,
	PLACE_HALT,
	NR_PLACES
};

/* vcpu.simd_ok: which vector instructions run without a fault, as CR0, CR4, XCR0, the mode and the CPU model have it. */
#define SIMD_SSE  0x01u
#define SIMD_AVX  0x02u
#define SIMD_AVX2 0x04u /* integer operations on 256 bits */

/*
 * What a debugger outside the guest asks of a vCPU, and what it hears (machine/control.h). The struct is the controller's
 * while the vCPU stands and the engine's while run() is under way. Breakpoints and watchpoints are the machine's
 * (machine_debug); the guest's own, its DR0 to DR3 and TF, work beside them.
 */
enum debug_stop {
	STOP_NONE,
	STOP_STEP, /* the step is done */
	STOP_BREAK, /* rip is at a breakpoint; the instruction has not begun */
	STOP_WATCH /* the instruction before rip, or an event's delivery, did what watch_* say */
};
struct vcpu_debug {
	/* Asked: run() executes one instruction (one iteration of a repeated one), or delivers one event, and then returns. No
	 * interrupt is taken meanwhile, save one that ends a halt; machine_debug.step_interrupts allows them. A step ignores
	 * breakpoints where it begins. */
	bool step;
	bool pass; /* asked: no breakpoint before the first instruction */
	u8 stop; /* heard: enum debug_stop; run() returns once it is set */
	u8 watch_kind; /* enum point_kind */
	u64 watch_gla; /* first byte of the watchpoint that was touched */
	u64 breaks, watches; /* the engine's: machine_debug's numbers that it has prepared for */
};

struct vcpu {
	/* What handlers touch all the time. r[16] (SLOT_ZERO) is always 0; r[17] (SLOT_CODE) is the instruction pointer
	 * that offset 0 of the current code page has: engines set it before they run a record. */
	u64 r[18];
	struct lazy_flags lazy;
	u64 rip;
	u64 rflags; /* arithmetic bits are right only while lazy.kind is FLAGS_KNOWN */
	struct tlb_entry *tlb; /* the current view: src/mmu */
	u64 code_space[2]; /* keys of the current fetch translations, lower and upper half: mmu_code_space() */
	s64 left; /* the engine's instruction budget */
	u64 engine_words[64]; /* the engine's: what generated code addresses off the vCPU */
	u8 cpl;
	bool guest_kernel; /* a deprivileged kernel runs, at CPL 3: it sees memory as the supervisor does (machine.deprivileged) */
	u8 mode; /* enum cpu_mode, derived: vcpu_update_mode() */
	u8 code_size; /* enum code_size, derived */
	bool halted;
	bool shadow; /* interrupts wait for one more instruction (STI, MOV SS) */
	bool shadow_ss; /* while shadow: it is MOV SS's or POP SS's, which holds back debug traps too */
	bool nmi_blocked;
	bool wait_sipi; /* an AP after INIT */
	bool stop_now; /* something the engine must look at before the next instruction: pending_db, code written, events */
	u8 simd_ok; /* SIMD_*, derived: simd_update() */
	u8 simd_trap; /* derived: MXCSR has an exception unmasked */
	bool simd_loaded; /* the host's MXCSR stands for the guest's */
	u8 place; /* enum vcpu_place: vcpu_at() */
	u32 pending_db; /* DR6 bits of a debug trap due after this instruction */
	struct segment seg[NR_SEG];

	union vreg v[17]; /* v[16]: a vector on its way to or from memory, where that is slow (VEC_TMP) */
	u32 mxcsr; /* while an engine keeps it in the host's MXCSR, sticky flags are there too: see emulate/vector.h */
	struct x87 x87;

	u64 cr0, cr2, cr3, cr4, efer, xcr0;
	u64 user_cr3; /* machine.deprivileged: the root of what its programs see; 0: nothing */
	u32 pkru, pkrs; /* protection keys' rights: of user pages, of supervisor pages */
	u64 dr[8]; /* 4 and 5 unused */
	u64 pdpte[4]; /* PAE paging: loaded with CR3 (SDM vol. 3, 4.4.1) */
	struct segment ldtr, tr;
	struct table_reg gdtr, idtr;

	struct {
		u64 star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
		u64 sysenter_cs, sysenter_esp, sysenter_eip;
		u64 pat, misc_enable, spec_ctrl, xss, feature_control, tsc_adjust, mcg_status, mcg_ctl, ucode_rev,
			debugctl;
		u64 mtrr_def_type, mtrr_fixed[11], mtrr_var[16];
		u64 mc[4 * 8]; /* machine-check banks' registers */
	} msr;
	s64 tsc_offset; /* guest TSC = clock's TSC + this */

	struct cpu_event event; /* the exception that vcpu_raise recorded, or what is being delivered */
	u64 monitor_gpa; /* armed by MONITOR; ~0 when not */
	u64 monitor_sum; /* of the line's contents then */
	_Atomic u32 tlb_moves; /* times that entries of its TLB began or ended to change places: odd meanwhile */
	u32 pauses; /* PAUSEs executed: a CPU that spins gives way now and then */
	u64 random; /* RDRAND's sequence in a deterministic machine */
	_Atomic u32 events;
	_Atomic u32 sipi_vector;
	_Atomic u32 nmis; /* how many EV_NMI stands for: a second may come before the first is taken */

	struct machine *machine;
	unsigned id; /* 0..; also the initial APIC ID */
	const struct cpu_model *model;
	struct mmu *mmu; /* src/mmu's per-vCPU state */
	void *engine; /* the engine's per-vCPU state */
	struct insn_shapes *shapes; /* what its code is decoded by; NULL: nothing is kept */
	void *engine_stats; /* its own figures, from malloc: they outlive it */
	struct vcpu_debug debug;
	jmp_buf *unwind; /* landing for vcpu_raise: set by whoever runs instructions */
	const struct insn *cur; /* record being executed by a slow path, for traces and restart */

	struct { /* figures for -v; this vCPU's thread only */
		u64 insns, exits_io, exits_mmio, halts, page_walks, intr, exc[32], vec[256];
		u64 tlb_fills[3]; /* by view: user, supervisor, supervisor with SMAP suspended */
		u64 fetch_walks; /* instruction fetches that the fetch entries did not serve */
		u64 smc; /* stores that hit decoded code */
		u64 accesses; /* data accesses, estimated from samples */
		u64 emulated; /* instructions that src/emulate did */
		u64 traces, lookups; /* built; jumps that the jump cache did not serve */
		u64 place[NR_PLACES]; /* how often it was found there; the sampler's */
		u64 exit[48]; /* by the numbers of an engine whose guests leave for a reason: its stats() names them */
	} stats;
};

/* SDM vol. 3 table 9-1: state after power-up. Leaves machine, id, model, mmu and engine alone. */
void vcpu_reset(struct vcpu *v);
/* After INIT: as reset, but keeps x87/SSE state, caches and MTRRs; APs then wait for SIPI. */
void vcpu_init_signal(struct vcpu *v);
/* x87 tags: ours has a bit a register, FNSTENV's two (00 valid, 01 zero, 10 special, 11 empty). */
u8 x87_tag_abridged(u16 full);
u16 x87_tag_full(const struct vcpu *v);
/* Recomputes mode and code_size from CR0, EFER, CS and RFLAGS.VM. Call after changing any of them. */
void vcpu_update_mode(struct vcpu *v);
/* Recomputes simd_ok. vcpu_update_mode does it too; call after a change of CR0.EM, CR0.TS, CR4 or XCR0. */
void simd_update(struct vcpu *v);

/* Raise: record and unwind to v->unwind. The first takes vectors without error code. */
_Noreturn void vcpu_raise(struct vcpu *v, u8 vector);
_Noreturn void vcpu_raise_error(struct vcpu *v, u8 vector, u32 error);
_Noreturn void vcpu_page_fault(struct vcpu *v, u64 gla, u32 error);

void vcpu_nmi(struct vcpu *v); /* any thread */
/* Sets event bits and wakes or kicks the vCPU. Any thread. */
void vcpu_post(struct vcpu *v, u32 events);

/* It is there from now on; returns where it was. */
static inline u8 vcpu_at(struct vcpu *v, enum vcpu_place place)
{
	u8 before = v->place;

	__atomic_store_n(&v->place, (u8)place, __ATOMIC_RELAXED);
	return before;
}

/* Whether accesses at the current level have the supervisor's rights (SDM vol. 3, 4.6). */
static inline bool vcpu_is_supervisor(const struct vcpu *v)
{
	return v->cpl != 3 || v->guest_kernel;
}
static inline bool vcpu_long(const struct vcpu *v) /* 64-bit code */
{
	return v->mode == MODE_LONG;
}
/* Address of the next instruction in the sense of the current code size. */
static inline u64 vcpu_next_rip(const struct vcpu *v, const struct insn *i)
{
	u64 next = v->rip + i->len;
	return v->code_size == CODE_64 ? next : (u32)next;
}
static inline u64 *vcpu_gpr(struct vcpu *v, u8 off)
{
	return (u64 *)((u8 *)v->r + off);
}
