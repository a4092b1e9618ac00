/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses that the resolver gave for listed names, each under the rule that lists the name, for a time. Of bounded
 * size: the one that ends first gives way. Not thread-safe.
 */
#pragma once
#include "host/net/address.h"

#define LEARNED_MAX 1024

struct learned {
	struct net_ip ip;
	unsigned rule;
	u64 until; /* nanoseconds; 0: unused */
};
struct learned_table {
	struct learned entry[LEARNED_MAX];
	unsigned count; /* entries behind were never used */
};

/* An address that is there already stays until the later time. */
void learned_add(struct learned_table *t, const struct net_ip *ip, unsigned rule, u64 until, u64 now);
/* The next entry for an address behind *at (which starts at 0 and is moved on), in force or not. */
struct learned *learned_next(struct learned_table *t, const struct net_ip *ip, unsigned *at);
