/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A netdev before another one (the user-mode network) that lets the guest reach only what is listed. Default deny: a frame
 * goes out only when all of it was understood and a rule, or a conversation that one has admitted, covers it; a frame comes
 * in only for such a conversation, for a forwarded port, or from the virtual network's own services (ARP, neighbour
 * discovery, DHCP). What is refused is answered at once, with a reset or "administratively prohibited", and reported.
 *
 * Host names: the guest can ask the virtual resolver only, for addresses of listed names only; the addresses that it is told
 * may be reached under the name's rule, for the time that the answer holds and for at least a minute.
 *
 * The frame is copied before it is looked at: the guest's other CPUs may still write to it.
 */
#pragma once
#include "host/net/net.h"
#include "host/net/rules.h"

struct net_forward { /* hostfwd: connections to the host's port go to the guest's */
	bool udp;
	struct net_ip host, guest;
	u16 host_port, guest_port;
};

struct policy_config {
	struct net_lan lan;
	struct net_rules rules; /* copied */
	const struct net_forward *forward; /* copied */
	unsigned forwards;
	struct net_log log;
	u64 (*now)(void); /* nanoseconds, never going back */
	struct loop *loop; /* calls policy_deliver() when there is something to deliver; NULL: the owner does */
};

/* Owns inner, also when it fails. */
struct netdev *policy_new(const struct policy_config *c, struct netdev *inner, struct error *err);
/* Hands the guest what the policy has to say, and the log its lines. One thread at a time, none of the device's locks held. */
void policy_deliver(struct netdev *n);
