/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doorbells: registers whose write says only that it was written. An engine's kernel that can (machine/offload.h) signals an eventfd for
 * it and lets the vCPU go on; it knows them by address, so it is told when BARs move.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/pci/bus.h"
#include "machine/offload.h"

static const struct offload_ops *kernel(const struct pci_function *f)
{
	const struct offload_ops *o = f->bus->machine->offload;

	return o && o->doorbell ? o : NULL;
}

static void leave(struct pci_function *f, struct pci_doorbell *d)
{
	if (d->gpa && kernel(f))
		kernel(f)->doorbell(f->bus->machine, d->gpa, d->fd, false);
	d->gpa = 0;
}

static int follow(struct pci_function *f, struct pci_doorbell *d)
{
	u64 base = bar_place(f, d->bar), gpa = base ? base + d->offset : 0;
	int r;

	if (gpa == d->gpa)
		return 0;
	leave(f, d);
	if (!gpa)
		return 0;
	r = kernel(f) ? kernel(f)->doorbell(f->bus->machine, gpa, d->fd, true) : -ENOTSUP;
	d->gpa = r ? 0 : gpa;
	return r;
}

/* What the kernel does not take comes out, as without it. */
void doorbells_follow(struct pci_function *f)
{
	for (unsigned i = 0; i < f->doorbells; i++)
		follow(f, &f->doorbell[i]);
}

int pci_doorbell_add(struct pci_function *f, unsigned bar, u64 offset, int fd)
{
	struct pci_doorbell *grown;
	int r = -ENOMEM;

	if (!kernel(f))
		return -ENOTSUP;
	pthread_mutex_lock(&f->bus->map_lock);
	grown = realloc(f->doorbell, (f->doorbells + 1) * sizeof(*grown));
	if (grown) {
		f->doorbell = grown;
		grown[f->doorbells] = (struct pci_doorbell){ .bar = bar, .offset = offset, .fd = fd };
		r = follow(f, &grown[f->doorbells]);
		f->doorbells += !r;
	}
	pthread_mutex_unlock(&f->bus->map_lock);
	return r;
}

void pci_doorbell_remove(struct pci_function *f, int fd)
{
	pthread_mutex_lock(&f->bus->map_lock);
	for (unsigned i = 0; i < f->doorbells; i++) {
		if (f->doorbell[i].fd != fd)
			continue;
		leave(f, &f->doorbell[i]);
		f->doorbell[i] = f->doorbell[--f->doorbells];
		break;
	}
	pthread_mutex_unlock(&f->bus->map_lock);
}
