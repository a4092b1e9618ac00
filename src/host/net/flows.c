/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow table: a pool, chained by a hash with a secret seed, as the guest chooses most of the keys. Times are a little
 * longer than libslirp's own, so that it is the first to forget.
 */
#include "host/net/flows.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SECONDS(n)	((n)*1000000000ull)
#define NONE		(~0u)
#define SWEEP_INTERVAL	SECONDS(1)
#define DATAGRAM_IDLE	SECONDS(300)
#define TCP_HALF_OPEN	SECONDS(180) /* the host's kernel gives up on a connection after 127 s */
#define TCP_ENDING	SECONDS(120)
#define TCP_RESET	SECONDS(10) /* retransmissions and answers under way */
#define TCP_IDLE	SECONDS(5 * 86400ull)
#define ASK_AGAIN	SECONDS(30)
#define EVICTABLE_AFTER SECONDS(5)

enum flow_state { FLOW_NEW, FLOW_OPEN, FLOW_ENDING, FLOW_RESET };
struct flow {
	struct flow_key key;
	u64 last, heard, asked; /* any packet; one from the other side (0: none yet); the rules' consent */
	u32 next; /* in its chain, or of the free ones */
	u8 state;
	bool used, fin_guest, fin_remote;
};
struct flows {
	unsigned max, mask;
	u32 free;
	u64 seed, swept;
	u32 *bucket;
	struct flow *flow;
};

struct flows *flows_new(unsigned max)
{
	struct flows *t = calloc(1, sizeof(*t));
	unsigned buckets = 1;

	while (buckets < max)
		buckets *= 2;
	if (!t || !(t->bucket = malloc(buckets * sizeof(*t->bucket))) || !(t->flow = calloc(max, sizeof(*t->flow))) ||
	    getrandom(&t->seed, sizeof(t->seed), 0) != sizeof(t->seed)) {
		flows_free(t);
		return NULL;
	}
	t->max = max;
	t->mask = buckets - 1;
	memset(t->bucket, 0xff, buckets * sizeof(*t->bucket));
	for (u32 i = 0; i < max; i++)
		t->flow[i].next = i + 1 < max ? i + 1 : NONE;
	return t;
}

void flows_free(struct flows *t)
{
	if (!t)
		return;
	free(t->bucket);
	free(t->flow);
	free(t);
}

struct flow_key flow_key(const struct packet *p, bool from_guest)
{
	return (struct flow_key){ .guest = from_guest ? p->src : p->dst,
				  .remote = from_guest ? p->dst : p->src,
				  .guest_port = from_guest ? p->sport : p->dport,
				  .remote_port = from_guest ? p->dport : p->sport,
				  .protocol = p->protocol };
}

static u32 *chain(struct flows *t, const struct flow_key *key)
{
	u64 words[sizeof(*key) / 8], h = t->seed;

	_Static_assert(sizeof(*key) % 8 == 0, "a key is hashed by words");
	memcpy(words, key, sizeof(*key));
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		h = (h ^ words[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29 ^ t->seed;
	}
	return &t->bucket[(h ^ h >> 32) & t->mask];
}

static u64 lifetime(const struct flow *f)
{
	if (f->key.protocol != PROTO_TCP)
		return DATAGRAM_IDLE;
	switch (f->state) {
	case FLOW_NEW: return TCP_HALF_OPEN;
	case FLOW_OPEN: return TCP_IDLE;
	case FLOW_ENDING: return TCP_ENDING;
	default: return TCP_RESET;
	}
}

static bool over(const struct flow *f, u64 now)
{
	return now - f->last > lifetime(f);
}

static void remove_flow(struct flows *t, u32 i)
{
	u32 *at = chain(t, &t->flow[i].key);

	while (*at != i)
		at = &t->flow[*at].next;
	*at = t->flow[i].next;
	t->flow[i].used = false;
	t->flow[i].next = t->free;
	t->free = i;
}

struct flow *flows_find(struct flows *t, const struct flow_key *key, u64 now)
{
	for (u32 i = *chain(t, key); i != NONE; i = t->flow[i].next) {
		struct flow *f = &t->flow[i];

		if (memcmp(&f->key, key, sizeof(*key)) != 0)
			continue;
		if (!over(f, now))
			return f;
		remove_flow(t, i);
		return NULL;
	}
	return NULL;
}

/* Makes room: everything that is over; if nothing is, the oldest that is not in full use. */
static void sweep(struct flows *t, u64 now)
{
	u32 oldest = NONE;

	if (now - t->swept < SWEEP_INTERVAL && t->swept)
		return;
	t->swept = now;
	for (u32 i = 0; i < t->max; i++) {
		struct flow *f = &t->flow[i];

		if (over(f, now))
			remove_flow(t, i);
		else if (f->state != FLOW_OPEN && now - f->last > EVICTABLE_AFTER &&
			 (oldest == NONE || f->last < t->flow[oldest].last))
			oldest = i;
	}
	if (t->free == NONE && oldest != NONE)
		remove_flow(t, oldest);
}

struct flow *flows_add(struct flows *t, const struct flow_key *key, u64 now)
{
	struct flow *f;
	u32 *at, i;

	if (t->free == NONE)
		sweep(t, now);
	i = t->free;
	if (i == NONE)
		return NULL;
	f = &t->flow[i];
	t->free = f->next;
	at = chain(t, key);
	*f = (struct flow){ .key = *key, .last = now, .asked = now, .next = *at, .used = true };
	*at = i;
	return f;
}

bool flow_ask_again(const struct flow *f, u64 now)
{
	return f->key.protocol != PROTO_TCP && now - f->asked > ASK_AGAIN;
}

void flow_asked(struct flow *f, u64 now)
{
	f->asked = now;
}

void flow_note(struct flow *f, const struct packet *p, bool from_guest, u64 now)
{
	f->last = now;
	f->heard = from_guest ? f->heard : now;
	if (p->protocol != PROTO_TCP) {
		f->state = f->heard ? FLOW_OPEN : FLOW_NEW;
		return;
	}
	if (p->flags & TCP_RST) {
		f->state = FLOW_RESET;
		return;
	}
	/* The same ports again, after an end: a new conversation. */
	if ((p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && f->state != FLOW_OPEN) {
		f->state = FLOW_NEW;
		f->fin_guest = f->fin_remote = false;
	}
	if (f->state == FLOW_NEW && !from_guest && p->flags & TCP_ACK) /* the guest's word alone opens nothing */
		f->state = FLOW_OPEN;
	if (p->flags & TCP_FIN)
		*(from_guest ? &f->fin_guest : &f->fin_remote) = true;
	if (f->fin_guest && f->fin_remote)
		f->state = FLOW_ENDING;
}

static bool in_use(const struct flow *f, u64 now)
{
	return f->state == FLOW_OPEN && (f->key.protocol == PROTO_TCP || now - f->heard < DATAGRAM_IDLE);
}

bool flows_between(struct flows *t, const struct net_ip *guest, const struct net_ip *remote, u64 now)
{
	for (u32 i = 0; i < t->max; i++) {
		const struct flow *f = &t->flow[i];

		if (f->used && ip_equal(&f->key.remote, remote) && ip_equal(&f->key.guest, guest) && !over(f, now))
			return true;
	}
	return false;
}

bool flows_in_use(struct flows *t, const struct net_ip *remote, u64 now)
{
	for (u32 i = 0; i < t->max; i++) {
		const struct flow *f = &t->flow[i];

		if (f->used && ip_equal(&f->key.remote, remote) && !over(f, now) && in_use(f, now))
			return true;
	}
	return false;
}
