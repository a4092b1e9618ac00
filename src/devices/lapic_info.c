/* SPDX-License-Identifier: Apache-2.0 */
/* A local APIC's state in a few lines, for people. */
#include "devices/lapic.h"

static void put_vectors(const char *name, const struct vector_set *s, struct text *out)
{
	text_printf(out, "    %s", name);
	for (unsigned i = 0; i < 256; i++)
		if (s->q[i / 64] >> (i % 64) & 1)
			text_printf(out, " %02x", i);
	text_puts(out, "\n");
}

static void put_local(const struct lapic *l, struct text *out)
{
	static const char *const names[NR_LVT] = { "timer", "thermal", "perf", "lint0", "lint1", "error" };

	text_puts(out, "    local:");
	for (unsigned i = 0; i < NR_LVT; i++)
		text_printf(out, " %s %05x%s", names[i], l->lvt[i], l->lvt[i] & LVT_MASKED ? " masked;" : ";");
	text_puts(out, "\n");
}

void lapic_info(struct lapic *l, struct text *out)
{
	pthread_mutex_lock(&l->lock);
	text_printf(out, "local APIC %u: %s%s, base %llx, TPR %02x, PPR %02x, ICR %016llx\n", l->v->id,
		    !lapic_enabled(l) ? "off"
		    : lapic_x2(l)     ? "x2APIC"
				      : "xAPIC",
		    l->svr & SVR_ENABLED ? "" : " (software-disabled)", (unsigned long long)(l->base & PAGE_MASK),
		    l->tpr, lapic_ppr(l), (unsigned long long)l->icr);
	put_local(l, out);
	put_vectors("requested:", &l->irr, out);
	put_vectors("in service:", &l->isr, out);
	text_printf(out, "    timer: initial %u, now %u\n", l->initial, lapic_timer_count(l));
	pthread_mutex_unlock(&l->lock);
}
