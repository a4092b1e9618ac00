/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list that a policy enforces: allow=CIDR|NAME|host[:PORT[-PORT]][/tcp|udp]. Names are lower-case without a final dot;
 * "*.example.org" stands for every name below example.org. What no rule lists is not allowed.
 */
#pragma once
#include "host/net/address.h"

#define RULES_MAX 256
#define NAME_SIZE 256 /* a DNS name as text, RFC 1035 3.1, and its NUL */

enum rule_kind {
	RULE_NET,
	RULE_HOST, /* the host's loopback, which the guest sees as an address of the virtual network */
	RULE_NAME,
	RULE_BELOW /* names below one */
};
#define MAY_TCP	 BIT(0)
#define MAY_UDP	 BIT(1)
#define MAY_PING BIT(2) /* where neither port nor protocol was given */

struct net_rule {
	enum rule_kind kind;
	u8 may;
	u16 low, high; /* ports */
	struct net_ip net;
	unsigned prefix;
	char name[NAME_SIZE];
};
struct net_rules {
	struct net_rule *rule;
	unsigned count;
};

/* Adds what text says; -EINVAL with what is wrong about it. */
int rules_add(struct net_rules *rules, const char *text, struct error *err);
void rules_clear(struct net_rules *rules);
/* Protocol and port, not the address. protocol is TCP, UDP or an echo request's ICMP. */
bool rule_covers(const struct net_rule *r, u8 protocol, u16 port);
/* name as dns.h gives it. */
bool rule_names(const struct net_rule *r, const char *name);
