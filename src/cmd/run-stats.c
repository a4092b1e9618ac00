/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of -v that every vCPU keeps, whatever engine runs it: summed over vCPUs, zeros left out. */
#include <stdio.h>

#include "cmd/run.h"

#define LIST_MAX 400

/* Adds to each counter of a vCPU's figures: they are all u64. */
static void sum(struct machine *m, struct vcpu *total)
{
	const unsigned n = sizeof(total->stats) / sizeof(u64);
	u64 *to = (u64 *)&total->stats;

	for (unsigned c = 0; c < m->config.cpus; c++) {
		const u64 *from = (const u64 *)&m->vcpu[c]->stats;

		for (unsigned i = 0; i < n; i++)
			to[i] += from[i];
	}
}

/* "what: 14 x 1234, 32 x 5" of the counters from `first` on that are not 0. */
static void say_list(const char *what, const u64 *count, unsigned first, unsigned n)
{
	char text[LIST_MAX];
	int len = 0;

	for (unsigned i = first; i < n && len < LIST_MAX - 40; i++)
		if (count[i])
			len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%u x %llu", len ? ", " : "", i,
					(unsigned long long)count[i]);
	if (len)
		say("%s: %s", what, text);
}

/* What only the interpreter counts. */
static void say_interpreted(const struct vcpu *total)
{
	u64 fills = total->stats.tlb_fills[0] + total->stats.tlb_fills[1] + total->stats.tlb_fills[2];
	say("TLB: about %.3f %% of %.0f million data accesses hit; fills: %llu user, %llu kernel, %llu kernel without "
	    "SMAP; "
	    "%llu fetch walks, %llu page walks",
	    total->stats.accesses > fills ? 100.0 - 100.0 * (double)fills / (double)total->stats.accesses : 0.0,
	    (double)total->stats.accesses / 1e6, (unsigned long long)total->stats.tlb_fills[0],
	    (unsigned long long)total->stats.tlb_fills[1], (unsigned long long)total->stats.tlb_fills[2],
	    (unsigned long long)total->stats.fetch_walks, (unsigned long long)total->stats.page_walks);
	say("code: %llu traces decoded, %llu jumps looked up, %.1f %% of instructions by src/emulate, changed %llu "
	    "times",
	    (unsigned long long)total->stats.traces, (unsigned long long)total->stats.lookups,
	    total->stats.insns ? 100.0 * (double)total->stats.emulated / (double)total->stats.insns : 0.0,
	    (unsigned long long)total->stats.smc);
}

static void say_places(const u64 place[NR_PLACES])
{
	static const char *const names[] = {
		[PLACE_CODE] = "guest code",	   [PLACE_LOOP] = "the loop",	  [PLACE_FIND] = "finding code",
		[PLACE_TRANSLATE] = "translating", [PLACE_EMULATE] = "emulating", [PLACE_DELIVER] = "delivering events",
		[PLACE_WALK] = "page walks",	   [PLACE_DEVICE] = "devices",	  [PLACE_HALT] = "halted",
	};
	char text[LIST_MAX];
	u64 total = 0;
	int len = 0;

	if (!place[PLACE_CODE]) /* the engine does not say */
		return;
	for (unsigned i = PLACE_AWAY + 1; i < NR_PLACES; i++)
		total += place[i];
	for (unsigned i = PLACE_AWAY + 1; i < NR_PLACES; i++)
		if (place[i])
			len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s %.1f %%", len ? ", " : "",
					names[i], 100.0 * (double)place[i] / (double)total);
	say("time by place, of %llu samples: %s", (unsigned long long)total, text);
}

void run_stats(struct machine *m, double seconds)
{
	struct vcpu total = { 0 };

	sum(m, &total);
	if (total.stats.insns)
		say("%.3f s, %llu instructions, %.1f MIPS", seconds, (unsigned long long)total.stats.insns,
		    seconds > 0 ? (double)total.stats.insns / seconds / 1e6 : 0.0);
	else
		say("%.3f s", seconds);
	say("exits: %llu port I/O, %llu memory-mapped I/O, %llu halts", (unsigned long long)total.stats.exits_io,
	    (unsigned long long)total.stats.exits_mmio, (unsigned long long)total.stats.halts);
	say_places(total.stats.place);
	if (total.stats.traces)
		say_interpreted(&total);
	say_list("exceptions by vector", total.stats.exc, 0, ARRAY_SIZE(total.stats.exc));
	if (total.stats.vec[EXC_NMI])
		say("NMIs: %llu", (unsigned long long)total.stats.vec[EXC_NMI]);
	say_list("interrupts by vector", total.stats.vec, 32, ARRAY_SIZE(total.stats.vec));
}
