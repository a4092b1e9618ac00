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

static unsigned long long mib10(u64 bytes) /* tenths of a MiB */
{
	return (unsigned long long)(bytes * 10 >> 20);
}

static void say_cache(const struct cache_stats *s, void (*line)(const char *fmt, ...))
{
	line("translations: %llu blocks of %llu instructions, %llu bytes; %llu blocks got regions; code dropped %llu "
	     "times; %llu links (%llu again)",
	     (unsigned long long)s->blocks, (unsigned long long)s->insns, (unsigned long long)s->bytes,
	     (unsigned long long)s->promoted, (unsigned long long)s->drops, (unsigned long long)s->links,
	     (unsigned long long)s->relinks);
	line("cache: %llu.%llu of %llu MiB used; emptied %llu times, a part of it %llu times", mib10(s->used) / 10,
	     mib10(s->used) % 10, (unsigned long long)(s->size >> 20), (unsigned long long)s->flushes,
	     (unsigned long long)s->evictions);
	line("%llu places wander; %llu loads and stores were translated anew for devices or code beside them, %llu of "
	     "them back",
	     (unsigned long long)s->hashed, (unsigned long long)s->outside, (unsigned long long)s->inside);
}

static void say_exits(unsigned k, const struct dbt_stats *s, void (*line)(const char *fmt, ...))
{
	line("CPU %u: calls from generated code: %llu instructions (%llu went elsewhere) and %llu direct ones, %llu "
	     "lookups, %llu jump misses, %llu polls",
	     k, (unsigned long long)s->slow, (unsigned long long)s->ends, (unsigned long long)s->direct,
	     (unsigned long long)s->lookups, (unsigned long long)s->misses, (unsigned long long)s->polls);
	line("CPU %u: of the instructions %llu have no fast path, %llu missed the TLB, %llu accessed devices, %llu "
	     "stored beside "
	     "code, %llu were otherwise unusual",
	     k, (unsigned long long)s->slow_for[SLOW_NEVER_FAST], (unsigned long long)s->slow_for[SLOW_TLB],
	     (unsigned long long)s->slow_for[SLOW_DEVICE], (unsigned long long)s->slow_for[SLOW_CODE],
	     (unsigned long long)s->slow_for[SLOW_OTHER]);
	line("CPU %u: left for the loop %llu times: %llu for interrupts, %llu for other events, %llu halts, %llu as "
	     "time was "
	     "up, %llu to look at something else; %llu instructions were stepped over",
	     k, (unsigned long long)s->leaves, (unsigned long long)s->left_for[LEAVE_INTERRUPT],
	     (unsigned long long)s->left_for[LEAVE_EVENT], (unsigned long long)s->left_for[LEAVE_HALT],
	     (unsigned long long)s->left_for[LEAVE_TIME], (unsigned long long)s->left_for[LEAVE_LOOK],
	     (unsigned long long)s->steps);
}

void dbt_stats(struct machine *m, void (*line)(const char *fmt, ...))
{
	for (unsigned k = 0; k < m->config.cpus; k++) {
		const struct dbt_stats *s = m->vcpu[k]->engine_stats;
		if (s && s->cache.size)
			say_cache(&s->cache, line);
	}
	for (unsigned k = 0; k < m->config.cpus; k++) {
		const struct vcpu *v = m->vcpu[k];
		const struct dbt_stats *s = v->engine_stats;
		if (!s)
			continue;
		say_exits(k, s, line);
		line("CPU %u: slots dropped %llu times, looked at %llu times, made longer %llu times; %llu links to "
		     "blocks "
		     "without shared checks; %llu checks made again by C",
		     k, (unsigned long long)s->slot_drops, (unsigned long long)s->slot_looks,
		     (unsigned long long)s->slot_extends, (unsigned long long)s->bails, (unsigned long long)s->refills);
		if (s->stretches)
			line("CPU %u: %llu instructions in %llu stretches, the same as the reference's", k,
			     (unsigned long long)v->stats.insns, (unsigned long long)s->stretches);
		say_ops(s, line);
	}
}
