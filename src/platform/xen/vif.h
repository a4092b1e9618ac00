/* SPDX-License-Identifier: Apache-2.0 */
/* A network card for a PV guest: the back end that speaks xen/io/netif.h to the guest's netfront, over a struct netdev. */
#pragma once
#include "machine/netdev.h"
#include "platform/xen/domain.h"

struct vif;
/* back stays the caller's and outlives it. After the store, grants and events. */
void vif_stats(const struct vif *n, void (*line)(const char *fmt, ...));
struct vif *vif_create(struct xen_domain *d, unsigned index, struct netdev *back, struct error *err);
void vif_destroy(struct vif *n); /* NULL is fine. Before what it was made after */
