/* SPDX-License-Identifier: Apache-2.0 */
/* Disks for a PV guest: back ends that speak xen/io/blkif.h to the guest's blkfront, over a struct blockdev. */
#pragma once
#include "machine/blockdev.h"
#include "platform/xen/domain.h"

#define VBD_MAX 16u /* xvda to xvdp */

struct vbd;
/* The index-th disk, xvda first. back stays the caller's and outlives it. After the store, grants and events. */
struct vbd *vbd_create(struct xen_domain *d, unsigned index, struct blockdev *back, struct error *err);
/* Waits for the requests that are under way; NULL is fine. Before what it was made after. */
void vbd_destroy(struct vbd *k);
void vbd_stats(const struct vbd *k, void (*line)(const char *fmt, ...));
