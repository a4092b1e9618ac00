/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --net: what a guest's network card is connected to. From the option's text to a netdev: the user-mode network (libslirp),
 * a tap interface, and before the former a policy that lets the guest reach only what is listed. docs/network.md has the
 * syntax and the policy's rules.
 *
 * The netdev may be used as soon as it is open; it does work on the machine's event loop and on threads of its own, and is
 * destroyed after the machine's threads have stopped and before machine_free().
 */
#pragma once
#include "machine/machine.h"
#include "machine/netdev.h"

struct net_spec;

/* Where one-line reports go: what was refused, a link that broke. No newline, printable characters only. Any thread. */
struct net_log {
	void (*line)(void *arg, const char *text); /* NULL: nowhere */
	void *arg;
};

/* "none", "user[,OPTION...]", "tap=IF". -EINVAL for what is no such thing. *spec is allocated; net_spec_free() takes NULL. */
int net_parse(const char *text, struct net_spec **spec, struct error *err);
void net_spec_free(struct net_spec *spec);
bool net_is_none(const struct net_spec *spec);
/* "ADDRESS/BITS,GATEWAY,RESOLVER": what DHCP would tell a guest, for one that shall not have to ask. False where we do not know. */
#define NET_GUEST_TEXT 64
bool net_guest_text(const struct net_spec *spec, char text[NET_GUEST_TEXT]);
/* *n: NULL for "none", which means a machine without a network card. netdev_destroy() ends it. spec may go afterwards. */
int net_open(const struct net_spec *spec, struct machine *m, const struct net_log *log, struct netdev **n,
	     struct error *err);
