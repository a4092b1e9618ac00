/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines about what was refused, few enough that a guest cannot flood a terminal or a disk: a burst of ten, one a second
 * thereafter, none twice within a while; what was left out is counted and told with the next. Nothing in a line is of the
 * guest's choice but numbers and letters of host names.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/net/policy-internal.h"

#define SECOND	     1000000000ull
#define BURST	     10
#define REPEAT_AFTER (30 * SECOND)

static bool said_lately(struct report *r, const char *text, u64 now)
{
	for (unsigned i = 0; i < ARRAY_SIZE(r->recent); i++)
		if (r->recent[i].when && now - r->recent[i].when < REPEAT_AFTER && !strcmp(r->recent[i].text, text))
			return true;
	return false;
}

static bool take_token(struct report *r, u64 now)
{
	u64 earned;

	if (!r->tokens_from) {
		r->tokens_from = now ? now : 1;
		r->tokens = BURST;
	}
	earned = (now - r->tokens_from) / SECOND;
	r->tokens_from += earned * SECOND;
	r->tokens = (unsigned)MIN(r->tokens + earned, BURST);
	if (!r->tokens)
		return false;
	r->tokens--;
	return true;
}

void report(struct policy *p, u64 now, const char *fmt, ...)
{
	struct report *r = &p->report;
	char text[REPORT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (said_lately(r, text, now))
		return;
	if (r->lines == REPORT_LINES || !take_token(r, now)) {
		r->left_out++;
		return;
	}
	r->recent[r->recent_at].when = now;
	memcpy(r->recent[r->recent_at].text, text, sizeof(text));
	r->recent_at = (r->recent_at + 1) % ARRAY_SIZE(r->recent);
	if (r->left_out)
		snprintf(r->text[r->lines], REPORT_SIZE, "net: %.*s (and %llu more)", NAME_SIZE + 16, text,
			 (unsigned long long)r->left_out);
	else
		snprintf(r->text[r->lines], REPORT_SIZE, "net: %.*s", NAME_SIZE + 32, text);
	r->left_out = 0;
	r->lines++;
}

void report_packet(struct policy *p, const struct packet *k, u64 now)
{
	char text[NET_IP_TEXT];
	bool ports = k->protocol == PROTO_TCP || k->protocol == PROTO_UDP;

	ip_text(&k->dst, text);
	if (k->state == PACKET_OPTIONS)
		report(p, now, "refused a packet with %s to %s", k->v6 ? "extension headers" : "options", text);
	else if (k->state == PACKET_FRAGMENT)
		report(p, now, "refused a fragment to %s", text);
	else if (k->state == PACKET_PROTOCOL)
		report(p, now, "refused protocol %u to %s", k->protocol, text);
	else if (!ports)
		report(p, now, "refused icmp %s", text);
	else
		report(p, now, "refused %s %s%s%s:%u", k->protocol == PROTO_TCP ? "tcp" : "udp", k->v6 ? "[" : "", text,
		       k->v6 ? "]" : "", k->dport);
}
