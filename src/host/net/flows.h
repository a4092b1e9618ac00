/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversations that a policy has admitted: what belongs to one passes, whichever way it goes. Of bounded size. A full
 * table first loses what has ended or was never answered; then nothing new is admitted. Not thread-safe.
 */
#pragma once
#include "host/net/address.h"
#include "host/net/packet.h"

struct flow_key { /* compared and hashed as bytes: no padding */
	struct net_ip guest, remote;
	u16 guest_port, remote_port;
	u8 protocol, zero[3];
};
struct flow;
struct flows;
struct flows *flows_new(unsigned max);
void flows_free(struct flows *t);
struct flow_key flow_key(const struct packet *p, bool from_guest);
/* NULL: there is none (any more). now: nanoseconds. */
struct flow *flows_find(struct flows *t, const struct flow_key *key, u64 now);
/* NULL: the table is full. */
struct flow *flows_add(struct flows *t, const struct flow_key *key, u64 now);
/* A packet of the flow passes, and keeps it. */
void flow_note(struct flow *f, const struct packet *p, bool from_guest, u64 now);
/* What has no connection has no end that shows: whether the rules are to be asked again, and that they agreed. */
bool flow_ask_again(const struct flow *f, u64 now);
void flow_asked(struct flow *f, u64 now);
/* Whether there is any between two addresses. */
bool flows_between(struct flows *t, const struct net_ip *guest, const struct net_ip *remote, u64 now);
/* Whether there is any with that address that the other side takes part in: the guest alone keeps none in use. */
bool flows_in_use(struct flows *t, const struct net_ip *remote, u64 now);
