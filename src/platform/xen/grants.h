/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grant tables, version 1 (xen/grant_table.h): entries by which the guest lets our back ends at its frames. They are read where they
 * are; there is nobody else to map anything for. Locks itself; any thread.
 */
#pragma once
#include "platform/xen/domain.h"

#define GRANT_FRAMES 32u /* as many as the table may have */

/* Frames [first_mfn, first_mfn + GRANT_FRAMES) are ours and zero; the guest may map them. */
int grants_create(struct xen_domain *d, u64 first_mfn, struct error *err);
void grants_destroy(struct xen_domain *d); /* nothing is in use */

struct grant { /* a use of one */
	u8 *host; /* the frame */
	u64 mfn;
	u32 ref;
	bool write;
};
/* Takes the frame that the guest's entry `ref` grants; marks the entry, so that a guest which follows the rules lets it be.
 * -EINVAL: it grants no such thing. */
int grant_get(struct xen_domain *d, u32 ref, bool write, struct grant *g);
void grant_put(struct xen_domain *d, const struct grant *g);

hypercall_fn hypercall_grant_table_op;
