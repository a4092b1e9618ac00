/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local APIC: priorities, delivery and acknowledge (Intel SDM vol. 3, 11.8).
 *
 * A vector travels IRR -> (acknowledge) -> ISR -> (EOI). It can be delivered while its class, bits 7:4, is above that
 * of the processor priority, the higher of TPR and what is in service. Whenever something becomes deliverable the vCPU
 * gets EV_INTR; as the CPU asks for the vector and acknowledges in one step, there is never a spurious interrupt. SMIs
 * are dropped: there is no system management mode.
 */
#include <stdlib.h>

#include "devices/lapic.h"

/* ---- sets of vectors ---- */

static void set_add(struct vector_set *s, u8 vector)
{
	s->q[vector / 64] |= BIT(vector % 64);
}

static void set_remove(struct vector_set *s, u8 vector)
{
	s->q[vector / 64] &= ~BIT(vector % 64);
}

static bool set_has(const struct vector_set *s, u8 vector)
{
	return s->q[vector / 64] >> (vector % 64) & 1;
}

static int set_highest(const struct vector_set *s)
{
	for (int i = 3; i >= 0; i--)
		if (s->q[i])
			return i * 64 + 63 - __builtin_clzll(s->q[i]);
	return -1;
}

/* ---- priorities ---- */

u8 lapic_ppr(const struct lapic *l)
{
	int serving = set_highest(&l->isr);
	u8 class = serving < 0 ? 0 : (u8)serving & 0xf0;

	return (l->tpr & 0xf0) >= class ? l->tpr : class;
}

/* The vector to deliver now, or -1. */
static int deliverable(const struct lapic *l)
{
	int vector = lapic_enabled(l) ? set_highest(&l->irr) : -1;

	return vector >= 0 && (vector & 0xf0) > (lapic_ppr(l) & 0xf0) ? vector : -1;
}

/* Whether the PICs' INT reaches the CPU. With the APIC off in IA32_APIC_BASE, LINT0 is the CPU's INTR pin (11.4.3). */
static bool extint_waits(const struct lapic *l)
{
	if (l->extint_asked)
		return true;
	if (!l->lint[0])
		return false;
	return !lapic_enabled(l) || (l->lvt[LVT_LINT0] & (LVT_MASKED | 0x700)) == DM_EXTINT << 8;
}

void lapic_signal(struct lapic *l)
{
	if (extint_waits(l) || deliverable(l) >= 0)
		vcpu_post(l->v, EV_INTR);
}

bool lapic_pending(struct lapic *l)
{
	bool waits;

	pthread_mutex_lock(&l->lock);
	waits = extint_waits(l) || deliverable(l) >= 0;
	pthread_mutex_unlock(&l->lock);
	return waits;
}

int lapic_acknowledge(struct lapic *l)
{
	int vector;
	bool external;

	pthread_mutex_lock(&l->lock);
	external = extint_waits(l);
	l->extint_asked = false;
	vector = external ? -1 : deliverable(l);
	if (vector >= 0) {
		set_remove(&l->irr, (u8)vector);
		set_add(&l->isr, (u8)vector);
	}
	pthread_mutex_unlock(&l->lock);
	if (!external)
		return vector;
	vector = intc_pic_acknowledge(l->intc);
	/* The APIC's own interrupts still wait behind the PICs'. */
	pthread_mutex_lock(&l->lock);
	if (vector < 0) {
		vector = deliverable(l);
		if (vector >= 0) {
			set_remove(&l->irr, (u8)vector);
			set_add(&l->isr, (u8)vector);
		}
	}
	lapic_signal(l);
	pthread_mutex_unlock(&l->lock);
	return vector;
}

int lapic_end_of_interrupt(struct lapic *l)
{
	int vector = set_highest(&l->isr);

	if (vector < 0)
		return -1;
	set_remove(&l->isr, (u8)vector);
	for (unsigned i = LVT_LINT0; i <= LVT_LINT1; i++) {
		if (l->lvt[i] & LVT_REMOTE_IRR && (u8)l->lvt[i] == vector) {
			l->lvt[i] &= ~LVT_REMOTE_IRR;
			lapic_check_lint(l);
		}
	}
	lapic_signal(l);
	return set_has(&l->tmr, (u8)vector) ? vector : -1;
}

u8 lapic_get_tpr(struct lapic *l)
{
	u8 tpr;

	pthread_mutex_lock(&l->lock);
	tpr = l->tpr >> 4;
	pthread_mutex_unlock(&l->lock);
	return tpr;
}

void lapic_set_tpr(struct lapic *l, u8 tpr)
{
	pthread_mutex_lock(&l->lock);
	l->tpr = (u8)(tpr << 4);
	lapic_signal(l);
	pthread_mutex_unlock(&l->lock);
}

u8 lapic_priority(struct lapic *l)
{
	u8 ppr;

	pthread_mutex_lock(&l->lock);
	ppr = lapic_ppr(l);
	pthread_mutex_unlock(&l->lock);
	return ppr;
}

/* ---- what arrives ---- */

void lapic_error(struct lapic *l, u32 esr_bit)
{
	bool first = !(l->errors & esr_bit);

	l->errors |= esr_bit;
	if (first)
		lapic_raise_lvt(l, LVT_ERROR);
}

bool lapic_request(struct lapic *l, u8 vector, bool level)
{
	if (!lapic_enabled(l) || !(l->svr & SVR_ENABLED))
		return false;
	if (vector < 16) {
		/* Also when the error entry itself holds such a vector: the bit is set by then, which ends the
		 * recursion. */
		lapic_error(l, ESR_RECEIVED_ILLEGAL);
		return false;
	}
	set_add(&l->irr, vector);
	if (level)
		set_add(&l->tmr, vector);
	else
		set_remove(&l->tmr, vector);
	lapic_signal(l);
	return true;
}

/* What a delivery mode other than fixed does to the CPU. */
static bool deliver_special(struct lapic *l, u8 mode, u8 vector)
{
	switch (mode) {
	case DM_NMI: vcpu_nmi(l->v); break;
	case DM_INIT: vcpu_post(l->v, EV_INIT); break;
	case DM_SIPI:
		atomic_store(&l->v->sipi_vector, vector);
		vcpu_post(l->v, EV_SIPI);
		break;
	case DM_EXTINT:
		l->extint_asked = true;
		lapic_signal(l);
		break;
	default: return false;
	}
	return true;
}

bool lapic_deliver(struct lapic *l, const struct apic_message *msg)
{
	bool taken = false;

	pthread_mutex_lock(&l->lock);
	if (msg->mode <= DM_LOWEST)
		taken = lapic_request(l, msg->vector, msg->level);
	else if (lapic_enabled(l))
		taken = deliver_special(l, msg->mode, msg->vector);
	pthread_mutex_unlock(&l->lock);
	return taken;
}

void lapic_raise_lvt(struct lapic *l, enum lvt which)
{
	u32 entry = l->lvt[which];
	u8 mode = entry >> 8 & 7;

	if (entry & LVT_MASKED || !lapic_enabled(l))
		return;
	/* The timer and the error entry have no mode field; their bits 10:8 stay 0, which is fixed. */
	if (mode == DM_FIXED)
		lapic_request(l, (u8)entry, false);
	else if (mode != DM_EXTINT)
		deliver_special(l, mode, (u8)entry);
}

void lapic_check_lint(struct lapic *l)
{
	for (unsigned i = 0; i < 2; i++) {
		u32 *entry = &l->lvt[LVT_LINT0 + i];
		bool fixed = (*entry & 0x700) == DM_FIXED << 8;

		if (!l->lint[i] || !fixed || (*entry & (LVT_MASKED | LVT_LEVEL | LVT_REMOTE_IRR)) != LVT_LEVEL)
			continue;
		/* The end of this interrupt is seen here, not in the I/O APIC: it is no level to the TMR's readers. */
		if (lapic_request(l, (u8)*entry, false))
			*entry |= LVT_REMOTE_IRR;
	}
	lapic_signal(l);
}

void lapic_set_lint(struct lapic *l, unsigned pin, bool level)
{
	bool rises;
	u32 entry;

	pthread_mutex_lock(&l->lock);
	rises = level && !l->lint[pin];
	l->lint[pin] = level;
	entry = l->lvt[LVT_LINT0 + pin];
	if (rises && !(entry & LVT_LEVEL && (entry & 0x700) == DM_FIXED << 8))
		lapic_raise_lvt(l, LVT_LINT0 + pin);
	if (level)
		lapic_check_lint(l);
	pthread_mutex_unlock(&l->lock);
}

/* SDM vol. 3, 11.6.2. */
static bool matches(const struct lapic *l, u32 dest, bool logical)
{
	if (!lapic_enabled(l))
		return false;
	if (dest == APIC_BROADCAST)
		return true;
	if (!logical)
		return dest == (lapic_x2(l) ? l->v->id : l->xid);
	if (lapic_x2(l))
		return dest >> 16 == l->ldr >> 16 && dest & l->ldr & 0xffff;
	if (l->dfr >> 28 == 0xf)
		return dest & l->ldr >> 24;
	return dest >> 4 == l->ldr >> 28 && dest & l->ldr >> 24 & 0xf;
}

bool lapic_matches(struct lapic *l, u32 dest, bool logical)
{
	bool match;

	pthread_mutex_lock(&l->lock);
	match = matches(l, dest, logical);
	pthread_mutex_unlock(&l->lock);
	return match;
}

/* ---- lifecycle ---- */

/* SDM vol. 3, 11.4.7. The logical ID of x2APIC mode is hard-wired. */
static void reset_registers(struct lapic *l)
{
	u32 id = l->v->id;

	lapic_timer_stop(l);
	l->tpr = 0;
	l->dfr = 0xffffffff;
	l->ldr = lapic_x2(l) ? id >> 4 << 16 | 1u << (id & 15) : 0;
	l->svr = 0xff;
	l->esr = l->errors = 0;
	l->icr = 0;
	l->initial = l->divide = 0;
	l->tsc_deadline = 0;
	l->irr = l->isr = l->tmr = (struct vector_set){ 0 };
	l->extint_asked = false;
	for (unsigned i = 0; i < NR_LVT; i++)
		l->lvt[i] = LVT_MASKED;
}

void lapic_reset(struct lapic *l, bool power_up)
{
	pthread_mutex_lock(&l->lock);
	if (power_up)
		l->xid = (u8)l->v->id;
	if (power_up)
		l->base = LAPIC_BASE | BASE_ENABLED | (l->v->id == 0 ? BASE_BSP : 0);
	reset_registers(l);
	lapic_signal(l);
	pthread_mutex_unlock(&l->lock);
}

void lapic_virtual_wire(struct lapic *l)
{
	pthread_mutex_lock(&l->lock);
	l->svr |= SVR_ENABLED;
	l->lvt[LVT_LINT0] = DM_EXTINT << 8;
	l->lvt[LVT_LINT1] = DM_NMI << 8;
	lapic_signal(l);
	pthread_mutex_unlock(&l->lock);
}

struct lapic *lapic_new(struct vcpu *v, struct intc *c)
{
	struct lapic *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->v = v;
	l->intc = c;
	pthread_mutex_init(&l->lock, NULL);
	lapic_timer_init(l);
	lapic_reset(l, true);
	return l;
}

void lapic_free(struct lapic *l)
{
	if (!l)
		return;
	timer_cancel(l->v->machine->clock, &l->timer);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
