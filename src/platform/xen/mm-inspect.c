/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor's `frames`: what the domain's frames are used as, and whether all counts are right. */
#include "machine/control.h"
#include "machine/inspect.h"
#include "platform/xen/mm-internal.h"

struct census {
	u64 as[FRAME_DESCRIPTOR + 1], owned, pinned;
};

static void take_census(const struct xen_mm *mm, struct census *c)
{
	for (u64 mfn = 0; mfn < mm->limit; mfn++) {
		u64 w = mm->frame[mfn].word;

		if (!(w & F_OWNED))
			continue;
		c->owned++;
		c->pinned += !!(w & F_PINNED);
		c->as[word_type(w)]++;
	}
}

static void info(void *arg, struct text *out)
{
	struct xen_domain *d = arg;
	struct census c = { 0 };
	struct error err;
	int wrong;

	if (!d->mm)
		return;
	machine_hold(d->machine, HOLD_LOOK);
	take_census(d->mm, &c);
	wrong = mm_check(d, &err);
	machine_release(d->machine, HOLD_LOOK);
	text_printf(out, "%llu frames: %llu writable, %llu only read or unused\n", (unsigned long long)c.owned,
		    (unsigned long long)c.as[FRAME_WRITABLE], (unsigned long long)c.as[FRAME_NONE]);
	text_printf(out, "page tables: %llu L4, %llu L3, %llu L2, %llu L1, of which %llu pinned; descriptors: %llu\n",
		    (unsigned long long)c.as[FRAME_L4], (unsigned long long)c.as[FRAME_L3],
		    (unsigned long long)c.as[FRAME_L2], (unsigned long long)c.as[FRAME_L1],
		    (unsigned long long)c.pinned, (unsigned long long)c.as[FRAME_DESCRIPTOR]);
	text_printf(out, "given back: %llu\n", (unsigned long long)d->mm->pooled);
	text_printf(out, "counted again: %s\n", wrong ? err.text : "as they should be");
}

int mm_add_inspect(struct xen_domain *d, struct error *err)
{
	struct inspect row = {
		.name = "frames", .help = "what the domain's memory is used as", .info = info, .arg = d
	};

	return machine_add_inspect(d->machine, &row, err);
}
