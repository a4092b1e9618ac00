/* SPDX-License-Identifier: Apache-2.0 */
/* A plain array: it is looked through once a conversation, not once a packet. */
#include "host/net/learned.h"

static struct learned *place(struct learned_table *t, const struct net_ip *ip, unsigned rule)
{
	struct learned *first = &t->entry[0];

	for (unsigned i = 0; i < t->count; i++) {
		struct learned *e = &t->entry[i];

		if (e->until && e->rule == rule && ip_equal(&e->ip, ip))
			return e;
		if (e->until < first->until)
			first = e;
	}
	return t->count < LEARNED_MAX ? &t->entry[t->count++] : first;
}

void learned_add(struct learned_table *t, const struct net_ip *ip, unsigned rule, u64 until, u64 now)
{
	struct learned *e = place(t, ip, rule);

	if (e->until > now && e->rule == rule && ip_equal(&e->ip, ip) && e->until >= until)
		return;
	*e = (struct learned){ .ip = *ip, .rule = rule, .until = until };
}

struct learned *learned_next(struct learned_table *t, const struct net_ip *ip, unsigned *at)
{
	while (*at < t->count) {
		struct learned *e = &t->entry[(*at)++];

		if (e->until && ip_equal(&e->ip, ip))
			return e;
	}
	return NULL;
}
