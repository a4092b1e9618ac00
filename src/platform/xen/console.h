/* SPDX-License-Identifier: Apache-2.0 */
/* The domain's console: a page with a ring each way (xen/io/console.h), and console_io for what a kernel says before it has rings. */
#pragma once
#include "machine/chardev.h"
#include "platform/xen/domain.h"

/* mfn: the page, which the domain owns and which is zero. Offers its port: after the store's, so that they are 1 and 2. back: NULL, nobody
 * reads or types; stays the caller's. */
int console_create(struct xen_domain *d, u64 mfn, struct chardev *back, struct error *err);
void console_destroy(struct xen_domain *d);
u32 console_port(const struct xen_domain *d);
/* Past the ring. What the back end does not take is lost. Any thread. */
void console_write(struct xen_domain *d, const void *bytes, size_t len);
