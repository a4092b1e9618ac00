/* SPDX-License-Identifier: Apache-2.0 */
/* Host names: which the guest may ask for, and what the answers open. */
#include <string.h>
#include <sys/random.h>

#include "host/net/policy-internal.h"

#define SECONDS(n)    ((n)*1000000000ull)
#define QUERY_TIMEOUT SECONDS(15)
/* An address is reachable for as long as its answer says, and at least so long: programs look up first and connect later. */
#define TTL_FLOOR     60u
#define TTL_GRACE     10u

static bool listed(const struct policy *p, const char *name)
{
	if (strchr(name, '?'))
		return false;
	for (unsigned i = 0; i < p->config.rules.count; i++)
		if (rule_names(&p->config.rules.rule[i], name))
			return true;
	return false;
}

static void answer(struct policy *p, const struct udp_ends *ends, const struct dns_query *q, const struct dns_answer *a)
{
	u8 msg[DNS_MESSAGE_MAX];
	u32 len = dns_write_answer(q, a, msg);

	policy_reply(p, p->made, packet_udp(ends, msg, len, p->made, sizeof(p->made)));
}

static struct pending_query *slot(struct policy *p)
{
	struct pending_query *best = p->pending;

	for (unsigned i = 0; i < POLICY_QUERIES; i++)
		if (p->pending[i].until < best->until)
			best = &p->pending[i];
	return best;
}

/* The answer goes the question's way back; an address that has no resolver of its family asks the other's. */
static struct udp_ends ends_of(const struct packet *k)
{
	struct udp_ends e = { .src = k->dst, .dst = k->src, .sport = k->dport, .dport = k->sport };

	memcpy(e.dst_mac, k->frame + 6, 6);
	memcpy(e.src_mac, k->frame, 6);
	return e;
}

static bool forward(struct policy *p, const struct packet *k, const struct dns_query *q, u64 now)
{
	struct pending_query *slot_for = slot(p);
	struct pending_query pending = { .until = now + QUERY_TIMEOUT, .ends = ends_of(k), .query = *q };
	struct udp_ends out = { .src = k->src, .dst = k->dst, .sport = k->sport, .dport = k->dport };
	static const struct virtio_net_hdr none;
	u8 msg[DNS_MESSAGE_MAX];
	struct iovec iov = { .iov_base = p->made };

	if (getrandom(&pending.id, sizeof(pending.id), 0) != sizeof(pending.id))
		return true; /* an identifier that could be guessed is worse than no answer */
	memcpy(out.dst_mac, k->frame, 6);
	memcpy(out.src_mac, k->frame + 6, 6);
	iov.iov_len = packet_udp(&out, msg, dns_write_query(q, pending.id, msg), p->made, sizeof(p->made));
	if (!p->inner->ops->send(p->inner, &none, &iov, 1))
		return false;
	*slot_for = pending;
	return true;
}

bool names_ask(struct policy *p, const struct packet *k, u64 now)
{
	struct dns_answer a = { 0 };
	struct udp_ends ends = ends_of(k);
	struct dns_query q;
	int r = dns_read_query(k->frame + k->payload, k->payload_len, &q);
	bool ours = r == DNS_OK && listed(p, q.name);

	if (r < 0 || k->frame[0] & 1)
		return true;
	if (ours && (q.type == DNS_A || (q.type == DNS_AAAA && p->config.lan.ipv6)))
		return forward(p, k, &q, now);
	/* Other things about a listed name: it has none. Refusing would make resolvers wait and ask others. */
	a.code = ours ? DNS_OK : r == DNS_OK ? DNS_NO_SUCH_NAME : (enum dns_code)r;
	if (!ours && r == DNS_OK)
		report(p, now, "refused name %s", q.name[0] ? q.name : ".");
	answer(p, &ends, &q, &a);
	return true;
}

/* What a name may not lead to, whoever answers for it: our own network, and what never is a destination. */
static void keep_reachable(const struct policy *p, struct dns_answer *a)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < a->count; i++) {
		const struct net_ip *ip = &a->address[i];

		if (!ip_never(ip) && !ip_link_local(ip) && !lan_has(&p->config.lan, ip))
			a->address[kept++] = *ip;
	}
	a->count = kept;
}

static void learn(struct policy *p, const struct dns_query *q, const struct dns_answer *a, u64 now)
{
	u64 until = now + SECONDS((u64)MAX(a->ttl, TTL_FLOOR) + TTL_GRACE);

	for (unsigned i = 0; i < p->config.rules.count; i++)
		for (unsigned j = 0; rule_names(&p->config.rules.rule[i], q->name) && j < a->count; j++)
			learned_add(&p->learned, &a->address[j], i, until, now);
}

static bool same_asker(const struct pending_query *q, const struct net_ip *guest, const struct net_ip *dns, u16 port)
{
	return ip_equal(&q->ends.dst, guest) && ip_equal(&q->ends.src, dns) && q->ends.dport == port;
}

void names_answer(struct policy *p, const struct packet *k, u64 now)
{
	const u8 *msg = k->frame + k->payload;
	struct dns_answer a;

	for (unsigned i = 0; i < POLICY_QUERIES; i++) {
		struct pending_query *q = &p->pending[i];

		if (q->until <= now || !same_asker(q, &k->dst, &k->src, k->dport) ||
		    !dns_read_answer(msg, k->payload_len, &q->query, q->id, &a))
			continue;
		q->until = 0;
		keep_reachable(p, &a);
		learn(p, &q->query, &a, now);
		answer(p, &q->ends, &q->query, &a);
		return;
	}
}

bool names_failed(struct policy *p, const struct packet *quoted)
{
	static const struct dns_answer failure = { .code = DNS_FAILURE };
	bool any = false;

	for (unsigned i = 0; i < POLICY_QUERIES; i++) {
		struct pending_query *q = &p->pending[i];

		if (!q->until || !same_asker(q, &quoted->src, &quoted->dst, quoted->sport))
			continue;
		q->until = 0;
		answer(p, &q->ends, &q->query, &failure);
		any = true;
	}
	return any;
}
