/* SPDX-License-Identifier: Apache-2.0 */
/* --net, parsed: what spec.c reads and open.c builds. */
#pragma once
#include <net/if.h>

#include "host/net/net.h"
#include "host/net/policy.h"
#include "host/net/rules.h"

#define FORWARDS_MAX 64

enum net_kind { NET_NONE, NET_USER, NET_TAP };
struct net_spec {
	enum net_kind kind;
	struct net_lan lan;
	struct net_rules rules;
	struct net_forward forward[FORWARDS_MAX];
	unsigned forwards;
	bool policy; /* the rules are enforced, be there any or not */
	char interface[IFNAMSIZ];
};

/* user.c: libslirp. restricted: it lets nothing out by itself, either. */
struct netdev *user_new(const struct net_spec *s, bool restricted, struct error *err);
/* tap.c */
struct netdev *tap_new(const struct net_spec *s, struct machine *m, struct error *err);
