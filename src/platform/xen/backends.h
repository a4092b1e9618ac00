/* SPDX-License-Identifier: Apache-2.0 */
/* The domain's devices beside its console: disks and a network card, as its configuration asks for. */
#pragma once
#include "platform/xen/domain.h"

/* After the store, grants and events. */
int backends_create(struct xen_domain *d, struct error *err);
/* Before what they were made after. Nothing touches guest memory any more when it returns. */
void backends_destroy(struct xen_domain *d);
/* Figures for -v: of devices, events and the store. */
void backends_stats(const struct xen_domain *d, void (*line)(const char *fmt, ...));
