/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine's owner wants of a running domain, asked through the store; and what each domain finds there from the start. */
#pragma once
#include "platform/xen/domain.h"

/* Once the domain has its memory, and the store. balloon: bytes that it is to give up. */
int toolstack_create(struct xen_domain *d, u64 balloon, struct error *err);
/* Lists `xenstore`, `events`, `balloon` and `shutdown` for the monitor: once a machine. */
int toolstack_list(struct xen_domain *d, struct error *err);
/* "poweroff", "reboot", "halt": what its drivers make of it. false: it has said that it does not do that. Any thread. */
bool toolstack_shutdown(struct xen_domain *d, const char *how);
/* bytes that the guest is to give up of what it started with. */
void toolstack_set_balloon(struct xen_domain *d, u64 bytes);
