/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's figures for -v: what was translated, why generated code was left, and which instructions src/emulate did. */
#include <stdio.h>

#include "engines/dbt/dbt-internal.h"

#define OPS_SHOWN 16

/* The instructions that left most, with their counts. */
static void say_ops(const struct dbt_stats *s, void (*line)(const char *fmt, ...))
{
	char text[600];
	int len = 0;
	u64 below = ~0ull;

	for (unsigned n = 0; n < OPS_SHOWN; n++) {
		unsigned best = 0;
		for (unsigned op = 1; op < NR_OPS; op++)
			if (s->by_op[op] < below && s->by_op[op] > s->by_op[best])
				best = op;
		if (!best)
			break;
		below = s->by_op[best];
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s x %llu", n ? ", " : "",
				op_facts[best].name, (unsigned long long)below);
	}
	if (len)
		line("emulated: %s", text);
}

void dbt_stats(struct machine *m, void (*line)(const char *fmt, ...))
{
	for (unsigned k = 0; k < m->config.cpus; k++) {
		const struct vcpu *v = m->vcpu[k];
		const struct dbt_stats *s = v->engine_stats;
		if (!s)
			continue;
		line("CPU %u: %llu blocks of %llu instructions, %llu bytes; cache emptied %llu times, its oldest part "
		     "%llu "
		     "times; code dropped %llu times",
		     k, (unsigned long long)s->blocks, (unsigned long long)s->insns, (unsigned long long)s->bytes,
		     (unsigned long long)s->flushes, (unsigned long long)s->evictions, (unsigned long long)s->drops);
		line("CPU %u: calls from generated code: %llu instructions (%llu went elsewhere), %llu lookups, %llu "
		     "jump "
		     "misses, %llu links (%llu again), %llu polls; left for the loop %llu times; %llu blocks got "
		     "regions",
		     k, (unsigned long long)s->slow, (unsigned long long)s->ends, (unsigned long long)s->lookups,
		     (unsigned long long)s->misses, (unsigned long long)s->links, (unsigned long long)s->relinks,
		     (unsigned long long)s->polls, (unsigned long long)s->leaves, (unsigned long long)s->promoted);
		line("CPU %u: slots dropped %llu times, looked at %llu times, made longer %llu times; %llu places "
		     "wander; %llu "
		     "links from regions to plain blocks",
		     k, (unsigned long long)s->slot_drops, (unsigned long long)s->slot_looks,
		     (unsigned long long)s->slot_extends, (unsigned long long)s->hashed, (unsigned long long)s->bails);
		if (s->stretches)
			line("CPU %u: %llu instructions in %llu stretches, the same as the reference's", k,
			     (unsigned long long)v->stats.insns, (unsigned long long)s->stretches);
		say_ops(s, line);
	}
}
