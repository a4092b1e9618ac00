/* SPDX-License-Identifier: Apache-2.0 */
/* A local APIC's state out of the device and into it: machine/irqchip.h. */
#include "devices/lapic.h"

void lapic_save(struct lapic *l, struct lapic_state *s)
{
	pthread_mutex_lock(&l->lock);
	*s = (struct lapic_state){ .base = l->base, .tsc_deadline = lapic_timer_get_deadline(l) };
	for (unsigned reg = 0; reg < ARRAY_SIZE(s->reg); reg++)
		if (!lapic_read_reg(l, reg, &s->reg[reg]))
			s->reg[reg] = 0;
	pthread_mutex_unlock(&l->lock);
}

static void take_vectors(struct vector_set *set, const u32 *word)
{
	for (unsigned i = 0; i < ARRAY_SIZE(set->q); i++)
		set->q[i] = word[2 * i] | (u64)word[2 * i + 1] << 32;
}

static void take_registers(struct lapic *l, const struct lapic_state *s)
{
	l->base = s->base;
	if (!lapic_x2(l))
		l->xid = (u8)(s->reg[REG_ID] >> 24);
	l->tpr = (u8)s->reg[REG_TPR];
	l->ldr = s->reg[REG_LDR];
	l->dfr = s->reg[REG_DFR] | 0x0fffffff;
	l->svr = s->reg[REG_SVR] & 0x1ff;
	l->esr = s->reg[REG_ESR];
	l->icr = s->reg[REG_ICR] | (u64)s->reg[REG_ICR_HIGH] << 32;
	for (unsigned i = 0; i < NR_LVT; i++)
		l->lvt[i] = s->reg[REG_LVT_TIMER + i];
	l->initial = s->reg[REG_INITIAL];
	l->divide = s->reg[REG_DIVIDE] & 0xb;
	take_vectors(&l->isr, &s->reg[REG_ISR]);
	take_vectors(&l->tmr, &s->reg[REG_TMR]);
	take_vectors(&l->irr, &s->reg[REG_IRR]);
}

void lapic_load(struct lapic *l, const struct lapic_state *s, bool idle)
{
	pthread_mutex_lock(&l->lock);
	lapic_timer_stop(l);
	take_registers(l, s);
	lapic_timer_load(l, s->reg[REG_CURRENT], s->tsc_deadline, idle);
	if (!idle)
		lapic_signal(l);
	pthread_mutex_unlock(&l->lock);
}
