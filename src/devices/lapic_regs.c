/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's registers as software sees them: a page of MMIO in xAPIC mode (Intel SDM vol. 3, 11.4.1), MSRs 800h
 * to 8ffh in x2APIC mode (11.12), and IA32_APIC_BASE, which chooses. Both doors lead to one read and one write function
 * by register number; what differs (64-bit ICR, reserved bits that fault, registers that are only in one) is decided at
 * the doors.
 *
 * Messages and EOI broadcasts leave after the lock is released: they take other APICs' locks, perhaps this one's again.
 */
#include "devices/lapic.h"
#include "machine/clock.h"

#define VERSION	     ((NR_LVT - 1) << 16 | 0x14)
#define ICR_LOGICAL  BIT(11)
#define ICR_ASSERT   BIT(14)
#define ICR_LEVEL    BIT(15)
#define ICR_WRITABLE 0xccfffu

static const u32 lvt_writable[NR_LVT] = {
	[LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
	[LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,	[LVT_ERROR] = 0x100ff,
};

/* What a register write leaves to do once the lock is released. */
struct after {
	bool send;
	struct apic_message msg;
	int eoi; /* vector, or -1 */
};

static u32 set_word(const struct vector_set *s, unsigned i)
{
	return (u32)(s->q[i / 2] >> (i & 1 ? 32 : 0));
}

bool lapic_read_reg(struct lapic *l, unsigned reg, u32 *value)
{
	switch (reg) {
	case REG_ID: *value = lapic_x2(l) ? l->v->id : (u32)l->xid << 24; break;
	case REG_VERSION: *value = VERSION; break;
	case REG_TPR: *value = l->tpr; break;
	case REG_APR: *value = 0; break;
	case REG_PPR: *value = lapic_ppr(l); break;
	case REG_EOI: *value = 0; break;
	case REG_LDR: *value = l->ldr; break;
	case REG_DFR: *value = l->dfr; break;
	case REG_SVR: *value = l->svr; break;
	case REG_ISR ... REG_ISR + 7: *value = set_word(&l->isr, reg - REG_ISR); break;
	case REG_TMR ... REG_TMR + 7: *value = set_word(&l->tmr, reg - REG_TMR); break;
	case REG_IRR ... REG_IRR + 7: *value = set_word(&l->irr, reg - REG_IRR); break;
	case REG_ESR: *value = l->esr; break;
	case REG_ICR: *value = (u32)l->icr; break;
	case REG_ICR_HIGH: *value = (u32)(l->icr >> 32); break;
	case REG_LVT_TIMER ... REG_LVT_ERROR: *value = l->lvt[reg - REG_LVT_TIMER]; break;
	case REG_INITIAL: *value = l->initial; break;
	case REG_CURRENT: *value = lapic_timer_count(l); break;
	case REG_DIVIDE: *value = l->divide; break;
	default: return false;
	}
	return true;
}

static void write_lvt(struct lapic *l, enum lvt which, u32 value)
{
	u32 old = l->lvt[which], allowed = lvt_writable[which];

	/* The reserved mode is no deadline either, nor is deadline mode on a CPU without it. */
	if (which == LVT_TIMER &&
	    ((value & LVT_TIMER_MODE) == LVT_TIMER_MODE || !cpu_has(l->v->model, FEAT_TSC_DEADLINE)))
		allowed &= ~LVT_TIMER_DEADLINE;
	l->lvt[which] = (value & allowed) | (old & LVT_REMOTE_IRR);
	if (!(l->svr & SVR_ENABLED))
		l->lvt[which] |= LVT_MASKED;
	if (!(value & LVT_LEVEL))
		l->lvt[which] &= ~LVT_REMOTE_IRR;
	if (which == LVT_TIMER)
		lapic_timer_mode_changed(l, old);
	if (which == LVT_LINT0 || which == LVT_LINT1)
		lapic_check_lint(l);
}

static void write_svr(struct lapic *l, u32 value)
{
	l->svr = value & 0x1ff;
	if (l->svr & SVR_ENABLED)
		return;
	for (unsigned i = 0; i < NR_LVT; i++)
		l->lvt[i] |= LVT_MASKED;
}

/* SDM vol. 3, 11.6.1. */
static void write_icr(struct lapic *l, u32 low, struct after *after)
{
	u32 high = (u32)(l->icr >> 32);
	u8 mode = low >> 8 & 7;

	l->icr = (l->icr & ~0xffffffffull) | (low & ICR_WRITABLE);
	/* INIT level de-assert only synchronized the arbitration IDs of old APICs. */
	if (mode == DM_INIT && low & ICR_LEVEL && !(low & ICR_ASSERT))
		return;
	if (mode == DM_EXTINT || mode == DM_SMI || mode == DM_RESERVED)
		return;
	if (mode <= DM_LOWEST && (u8)low < 16) {
		lapic_error(l, ESR_SEND_ILLEGAL);
		return;
	}
	after->send = true;
	after->msg = (struct apic_message){
		.dest = lapic_x2(l) ? high : apic_dest8(high >> 24),
		.logical = low & ICR_LOGICAL,
		.mode = mode,
		.vector = (u8)low,
		.to = low >> 18 & 3,
	};
}

/* false: no such register, or not writable. */
static bool write_reg(struct lapic *l, unsigned reg, u32 value, struct after *after)
{
	switch (reg) {
	case REG_ID:
		/* CPUs with x2APIC have it fixed; software may change it on some of the others (SDM vol. 3, 11.4.6). */
		if (!cpu_has(l->v->model, FEAT_X2APIC))
			l->xid = (u8)(value >> 24);
		return !lapic_x2(l);
	case REG_TPR:
		l->tpr = (u8)value;
		lapic_signal(l);
		break;
	case REG_EOI: after->eoi = lapic_end_of_interrupt(l); break;
	case REG_LDR: l->ldr = value & 0xff000000; break;
	case REG_DFR: l->dfr = value | 0x0fffffff; break;
	case REG_SVR: write_svr(l, value); break;
	case REG_ESR:
		l->esr = l->errors;
		l->errors = 0;
		break;
	case REG_ICR: write_icr(l, value, after); break;
	case REG_ICR_HIGH: l->icr = (u32)l->icr | (u64)(value & 0xff000000) << 32; break;
	case REG_LVT_TIMER ... REG_LVT_ERROR: write_lvt(l, reg - REG_LVT_TIMER, value); break;
	case REG_INITIAL: lapic_timer_set_initial(l, value); break;
	case REG_DIVIDE: lapic_timer_set_divide(l, value); break;
	default: return false;
	}
	return true;
}

static void finish(struct lapic *l, const struct after *after)
{
	if (after->eoi >= 0)
		intc_eoi(l->intc, (u8)after->eoi);
	if (after->send)
		intc_send(l->intc, &after->msg, l);
}

/* ---- xAPIC: MMIO. Registers are 32 bits wide at multiples of 16. ---- */

static bool at_home(const struct lapic *l, u64 addr)
{
	return lapic_enabled(l) && !lapic_x2(l) && (l->base & ~0xfffull) == (addr & ~0xfffull);
}

bool lapic_read_mmio(struct lapic *l, u64 addr, unsigned size, u64 *value)
{
	unsigned reg = addr >> 4 & 0xff, shift = 8 * (addr & 0xf);
	u32 word = 0;
	bool mine;

	pthread_mutex_lock(&l->lock);
	mine = at_home(l, addr);
	if (mine && shift < 32 && !lapic_read_reg(l, reg, &word))
		lapic_error(l, ESR_ILLEGAL_REGISTER);
	pthread_mutex_unlock(&l->lock);
	*value = shift < 32 ? word >> shift : 0;
	return mine;
}

bool lapic_write_mmio(struct lapic *l, u64 addr, unsigned size, u64 value)
{
	unsigned reg = addr >> 4 & 0xff;
	struct after after = { .eoi = -1 };
	bool mine;

	pthread_mutex_lock(&l->lock);
	mine = at_home(l, addr);
	if (mine && !(addr & 0xf) && !write_reg(l, reg, (u32)value, &after)) {
		u32 readable;
		if (!lapic_read_reg(l, reg, &readable))
			lapic_error(l, ESR_ILLEGAL_REGISTER);
	}
	pthread_mutex_unlock(&l->lock);
	finish(l, &after);
	return mine;
}

/* ---- x2APIC: MSRs ---- */

static bool read_x2(struct lapic *l, unsigned reg, u64 *value)
{
	u32 word;

	/* Not in this mode: DFR, the ICR's upper half, APR; write-only: EOI, self IPI. */
	if (!lapic_x2(l) || reg == REG_DFR || reg == REG_ICR_HIGH || reg == REG_APR || reg == REG_EOI)
		return false;
	if (!lapic_read_reg(l, reg, &word))
		return false;
	*value = reg == REG_ICR ? l->icr : word;
	return true;
}

/* Bits that may be set in a write; others are #GP. */
static u64 x2_writable(unsigned reg)
{
	switch (reg) {
	case REG_TPR:
	case REG_SELF_IPI: return 0xff;
	case REG_EOI:
	case REG_ESR: return 0;
	case REG_SVR: return 0x1ff;
	case REG_ICR: return 0xffffffff00000000ull | ICR_WRITABLE;
	case REG_LVT_TIMER ... REG_LVT_ERROR:
		return lvt_writable[reg - REG_LVT_TIMER] | BIT(12) | LVT_REMOTE_IRR; /* status bits are ignored */
	case REG_DIVIDE: return 0xb;
	default: return 0xffffffff;
	}
}

static bool write_x2(struct lapic *l, unsigned reg, u64 value, struct after *after)
{
	if (!lapic_x2(l) || value & ~x2_writable(reg))
		return false;
	switch (reg) {
	case REG_LDR:
	case REG_DFR:
	case REG_ICR_HIGH: return false;
	case REG_ICR: l->icr = value; return write_reg(l, reg, (u32)value, after);
	case REG_SELF_IPI:
		if (value < 16)
			lapic_error(l, ESR_SEND_ILLEGAL);
		else
			lapic_request(l, (u8)value, false);
		return true;
	default: return write_reg(l, reg, (u32)value, after);
	}
}

/* ---- IA32_APIC_BASE (11.4.3, 11.12.5) ---- */

static bool write_base(struct lapic *l, u64 value)
{
	u64 modes = BASE_ENABLED | (cpu_has(l->v->model, FEAT_X2APIC) ? BASE_X2 : 0);
	u64 old = l->base & modes, new = value &modes;
	u64 address = (BIT(GPA_BITS) - 1) & ~0xfffull;

	if (value & ~(address | modes | BASE_BSP))
		return false;
	/* x2APIC mode is entered from xAPIC mode and left by disabling. */
	if (new == BASE_X2 || (new &BASE_X2 && !old) || (old & BASE_X2 && new == BASE_ENABLED))
		return false;
	l->base = (value & address) | new | (l->base & BASE_BSP);
	if (!lapic_enabled(l))
		l->xid = (u8)l->v->id; /* as after power-up, unlike after INIT (11.4.3) */
	return true;
}

/* Side effects of a change of mode. */
static void base_changed(struct lapic *l, u64 old)
{
	u32 id = l->v->id;

	if (!lapic_x2(l) && old & BASE_X2)
		l->ldr = 0;
	if (lapic_x2(l) && !(old & BASE_X2)) {
		l->ldr = id >> 4 << 16 | 1u << (id & 15);
		l->icr = (u32)l->icr;
	}
	lapic_signal(l);
}

bool lapic_read_msr(struct lapic *l, u32 msr, u64 *value)
{
	bool known = true;

	pthread_mutex_lock(&l->lock);
	if (msr == MSR_APIC_BASE)
		*value = l->base;
	else if (msr == MSR_TSC_DEADLINE && cpu_has(l->v->model, FEAT_TSC_DEADLINE))
		*value = lapic_timer_get_deadline(l);
	else if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		known = read_x2(l, msr - MSR_X2APIC_FIRST, value);
	else
		known = false;
	pthread_mutex_unlock(&l->lock);
	return known;
}

bool lapic_write_msr(struct lapic *l, u32 msr, u64 value)
{
	struct after after = { .eoi = -1 };
	bool known = true, disabled = false;
	u64 old;

	pthread_mutex_lock(&l->lock);
	old = l->base;
	if (msr == MSR_TSC_DEADLINE && cpu_has(l->v->model, FEAT_TSC_DEADLINE)) {
		lapic_timer_set_deadline(l, value);
	} else if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST) {
		known = write_x2(l, msr - MSR_X2APIC_FIRST, value, &after);
	} else if (msr == MSR_APIC_BASE) {
		known = write_base(l, value);
		disabled = known && old & BASE_ENABLED && !lapic_enabled(l);
		if (known)
			base_changed(l, old);
	} else {
		known = false;
	}
	pthread_mutex_unlock(&l->lock);
	if (disabled)
		lapic_reset(l, false);
	finish(l, &after);
	return known;
}
