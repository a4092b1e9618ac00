/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One local APIC's state, shared by lapic.c (priorities and delivery), lapic_regs.c (registers as software sees them)
 * and lapic_timer.c. Intel SDM vol. 3 ch. 11. Functions here expect the lock held unless they say otherwise.
 */
#pragma once
#include "devices/intc.h"
#include "x86/msr.h"

/* Registers, by MMIO offset / 16 = x2APIC MSR - 800h. */
enum lapic_reg {
	REG_ID = 0x02,
	REG_VERSION = 0x03,
	REG_TPR = 0x08,
	REG_APR = 0x09,
	REG_PPR = 0x0a,
	REG_EOI = 0x0b,
	REG_LDR = 0x0d,
	REG_DFR = 0x0e,
	REG_SVR = 0x0f,
	REG_ISR = 0x10,
	REG_TMR = 0x18,
	REG_IRR = 0x20,
	REG_ESR = 0x28,
	REG_ICR = 0x30,
	REG_ICR_HIGH = 0x31,
	REG_LVT_TIMER = 0x32,
	REG_LVT_ERROR = 0x37,
	REG_INITIAL = 0x38,
	REG_CURRENT = 0x39,
	REG_DIVIDE = 0x3e,
	REG_SELF_IPI = 0x3f,
};
enum lvt { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, NR_LVT };

#define LVT_MASKED	     BIT(16)
#define LVT_LEVEL	     BIT(15)
#define LVT_REMOTE_IRR	     BIT(14)
#define LVT_TIMER_MODE	     (3u << 17)
#define LVT_TIMER_PERIODIC   (1u << 17)
#define LVT_TIMER_DEADLINE   (2u << 17)
#define SVR_ENABLED	     BIT(8)
#define BASE_BSP	     BIT(8)
#define BASE_X2		     BIT(10)
#define BASE_ENABLED	     BIT(11)
#define ESR_SEND_ILLEGAL     0x20
#define ESR_RECEIVED_ILLEGAL 0x40
#define ESR_ILLEGAL_REGISTER 0x80

struct vector_set {
	u64 q[4];
};

struct lapic {
	struct vcpu *v;
	struct intc *intc;
	pthread_mutex_t lock;
	u64 base; /* IA32_APIC_BASE */
	u8 xid; /* the ID in xAPIC mode */
	u32 ldr, dfr, svr;
	u8 tpr;
	u32 esr, errors; /* as read; collected since the last write */
	u64 icr; /* destination in bits 63:32, in the form of the mode */
	u32 lvt[NR_LVT];
	struct vector_set irr, isr, tmr;
	bool lint[2]; /* levels of the pins */
	bool extint_asked; /* an ExtINT message waits for INTA */

	struct timer timer;
	u32 initial, divide; /* registers */
	u64 start; /* clock when the count was `initial` */
	u64 deadline; /* clock when it fires next; ~0 when not counting */
	u64 tsc_deadline; /* the MSR */
};

static inline bool lapic_enabled(const struct lapic *l)
{
	return l->base & BASE_ENABLED;
}
static inline bool lapic_x2(const struct lapic *l)
{
	return l->base & BASE_X2;
}

/* ---- lapic.c ---- */
u8 lapic_ppr(const struct lapic *l);
/* Requests a vector from this CPU; refused while the APIC is off. */
bool lapic_request(struct lapic *l, u8 vector, bool level);
/* An interrupt of the local vector table is raised. */
void lapic_raise_lvt(struct lapic *l, enum lvt which);
void lapic_error(struct lapic *l, u32 esr_bit);
/* After a change of TPR, ISR, enables or LINT masks: tells the vCPU if there is something for it. */
void lapic_signal(struct lapic *l);
/* Ends the highest interrupt in service; its vector if the I/O APIC must hear of it, else -1. */
int lapic_end_of_interrupt(struct lapic *l);
/* LVT registers of LINT pins changed: a level that was held back may pass now. */
void lapic_check_lint(struct lapic *l);

/* ---- lapic_regs.c ---- */
/* false: there is no such register. */
bool lapic_read_reg(struct lapic *l, unsigned reg, u32 *value);

/* ---- lapic_timer.c ---- */
void lapic_timer_init(struct lapic *l);
void lapic_timer_stop(struct lapic *l);
void lapic_timer_set_initial(struct lapic *l, u32 count);
u32 lapic_timer_count(struct lapic *l);
/* Counts on from `count`, or to the deadline; idle: not at all. */
void lapic_timer_load(struct lapic *l, u32 count, u64 deadline, bool idle);
void lapic_timer_set_divide(struct lapic *l, u32 value);
/* The LVT's mode went from `old` to what it is now. */
void lapic_timer_mode_changed(struct lapic *l, u32 old);
u64 lapic_timer_get_deadline(struct lapic *l);
void lapic_timer_set_deadline(struct lapic *l, u64 tsc);
