/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a back end for each thing that the machine's owner gives the guest. */
#include "platform/xen/backends.h"

#include <errno.h>
#include <stdlib.h>

#include "platform/xen/events-internal.h"
#include "platform/xen/store-internal.h"
#include "platform/xen/vbd.h"
#include "platform/xen/vif.h"

_Static_assert(XEN_MAX_DISKS <= VBD_MAX, "all disks have names");

struct xen_backends {
	struct vbd *disk[XEN_MAX_DISKS];
	struct vif *net;
};

int backends_create(struct xen_domain *d, struct error *err)
{
	struct xen_backends *b = calloc(1, sizeof(*b));
	bool made = b;

	if (!b)
		return error_set(err, ENOMEM, "no memory for devices");
	d->backends = b;
	for (unsigned i = 0; made && i < d->config.ndisks; i++)
		made = (b->disk[i] = vbd_create(d, i, d->config.disks[i], err));
	if (made && d->config.net)
		made = (b->net = vif_create(d, 0, d->config.net, err));
	if (made)
		return 0;
	backends_destroy(d);
	return err ? err->code : -ENOMEM;
}

void backends_destroy(struct xen_domain *d)
{
	struct xen_backends *b = d->backends;

	if (!b)
		return;
	vif_destroy(b->net);
	for (unsigned i = 0; i < XEN_MAX_DISKS; i++)
		vbd_destroy(b->disk[i]);
	free(b);
	d->backends = NULL;
}

void backends_stats(const struct xen_domain *d, void (*line)(const char *fmt, ...))
{
	const struct xen_backends *b = d->backends;
	const struct xen_events *e = d->events;

	if (e)
		line("events: %llu raised on ports, %llu sent by the guest; vCPUs told %llu times",
		     (unsigned long long)e->raised, (unsigned long long)e->sent, (unsigned long long)e->told);
	if (d->store)
		line("xenstore: %llu requests, %llu events", (unsigned long long)d->store->requests,
		     (unsigned long long)d->store->events);
	for (unsigned i = 0; b && i < d->config.ndisks; i++)
		vbd_stats(b->disk[i], line);
	if (b && b->net)
		vif_stats(b->net, line);
}
