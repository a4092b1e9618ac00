/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network for a process in a network namespace of its own: a tap interface in there, whose frames go to and fro between it and
 * what --net names, as a network card's do for a machine.
 */
#pragma once
#include <sys/types.h>

#include "host/net/net.h"

struct net_namespace;
/* Makes the interface, with its address and route, in the namespace of process pid, and starts. */
int net_namespace_open(const struct net_spec *spec, pid_t pid, const struct net_log *log, struct net_namespace **n,
		       struct error *err);
void net_namespace_close(struct net_namespace *n); /* NULL is fine */
