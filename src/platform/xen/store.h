/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Xenstore, in process: a tree of small texts over which domain 0 (we) and the guest tell each other of devices and wishes
 * (xen/io/xs_wire.h). The guest talks to it through a ring in a page; what is below is domain 0's side, which may do all.
 * Locks itself; any thread, with no lock held that comes after it (domain.h).
 */
#pragma once
#include "platform/xen/domain.h"
#include "util/text.h"

#define STORE_HOME     "/local/domain/1"
#define STORE_PATH_MAX 128 /* of paths that we make */

/* mfn: the page, which the domain owns and which is zero. Offers its port, and fills in what each domain has. */
int store_create(struct xen_domain *d, u64 mfn, struct error *err);
void store_destroy(struct xen_domain *d);
u32 store_port(const struct xen_domain *d);

/* Paths are absolute. A node that is made, and those above it that have to be, have their parent's permissions. -ENOMEM. */
int store_write(struct xen_domain *d, const char *path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The node, made where there is none, is owner's, who may do all with it; the other domain may read it. */
int store_own(struct xen_domain *d, const char *path, u16 owner);
/* The text, ending with a 0, cut where there is no room; false: there is none. The guest may have put anything there. */
bool store_read(struct xen_domain *d, const char *path, char *text, size_t size);
/* A decimal number that is the whole text; false: there is none. */
bool store_read_number(struct xen_domain *d, const char *path, u64 *value);
void store_print(struct xen_domain *d, struct text *out); /* all of it, for people */

/* fn is called whenever path, or something below it, was written or removed: with the store's lock held, so it rings for work and does
 * no more. */
struct store_watch {
	const char *path;
	void (*fn)(void *arg);
	void *arg;
	struct store_watch *next;
};
void store_add_watch(struct xen_domain *d, struct store_watch *w);
void store_remove_watch(struct xen_domain *d, struct store_watch *w); /* after it returns fn is not called any more */
