/* SPDX-License-Identifier: Apache-2.0 */
/* What translations of 32-bit code rely on: which segments need no base and no limit. */
#include "engines/dbt/dbt-internal.h"

static bool is_whole(const struct segment *s)
{
	return !s->base && s->limit == ~0u && !(s->ar & AR_UNUSABLE);
}

/* Everything below 4 GiB may be read and written (SDM vol. 3, 3.4.5.1). */
static bool is_open(const struct segment *s)
{
	return s->limit == ~0u &&
	       (s->ar & (AR_UNUSABLE | AR_S | AR_CODE | AR_EXPAND_DOWN | AR_WRITE)) == (AR_S | AR_WRITE);
}

u16 mode_of_segments(const struct vcpu *v)
{
	const struct segment *s = v->seg;
	u16 mode = 0;

	if (v->mode < MODE_PROTECTED)
		return 0;
	if (is_whole(&s[SEG_CS]) && is_whole(&s[SEG_DS]) && is_whole(&s[SEG_ES]) && is_whole(&s[SEG_SS]) &&
	    is_open(&s[SEG_DS]) && is_open(&s[SEG_ES]) && is_open(&s[SEG_SS]) && s[SEG_SS].ar & AR_DB)
		mode = MODE_FLAT;
	if (is_open(&s[SEG_FS]))
		mode |= MODE_FS;
	if (is_open(&s[SEG_GS]))
		mode |= MODE_GS;
	return mode;
}
