/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share: store.c has the tree, who watches it, and domain 0; store-request.c what the guest asks; store-ring.c
 * how that comes and goes. */
#pragma once
#include "platform/xen/store.h"
#include "platform/xen/store-tree.h"
#include "platform/xen/work.h"

/* Bounds of what a guest may make us keep, beside its nodes; as xenstored has them where it has any. */
#define STORE_WATCHES_MAX      128u
#define STORE_TRANSACTIONS_MAX 10u
#define STORE_CHANGES_MAX      256u /* of a transaction */
#define STORE_OUT_MAX	       (256u << 10) /* bytes of events that it does not fetch; more are lost */

struct change { /* what a transaction has done */
	struct change *next;
	bool removed;
	char path[];
};
struct transaction {
	struct transaction *next;
	u32 id;
	struct store_tree *tree;
	u64 generation; /* of the store's tree that this is a copy of */
	struct change *changes, **changes_end;
	unsigned count;
};
struct watch { /* the guest's */
	struct watch *next;
	char *path, *token;
	bool relative; /* asked for as such, and it is told so */
};
struct message {
	struct message *next;
	u32 len, sent;
	u8 bytes[];
};

struct xen_store {
	struct xen_domain *d;
	pthread_mutex_t lock; /* all that follows */
	struct store_tree *tree;
	u64 generation; /* counts changes of the tree */
	struct store_watch *inner; /* domain 0's */
	struct watch *watches;
	unsigned nwatches;
	struct transaction *transactions;
	unsigned ntransactions;
	u32 last_id;
	/* store-ring.c's */
	struct work work;
	struct timer again; /* looks once more, a little later */
	struct xenstore_domain_interface *page;
	u64 mfn;
	u32 port;
	u32 req_cons, rsp_prod; /* ours; the guest reads them in the page */
	bool broken; /* it has broken the protocol, and is not listened to any more */
	u32 in_len; /* bytes of the request that is coming in */
	u8 in[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX + 1];
	struct message *out, **out_end;
	u32 out_bytes;
	u64 requests, events; /* figures */
};

/* All below with the lock held. */

/* store.c. Path was changed, in the store's tree: it is older by one change, and who watches is told. */
void store_changed(struct xen_store *s, const char *path, bool removed);
/* The guest is told of path on this watch, if it may read it. */
void store_fire(struct xen_store *s, const struct watch *w, const char *path);
void transaction_free(struct transaction *t);
void watch_free(struct watch *w);

/* store-request.c. A whole request: header, payload, and a 0 after it. Sends its answer. */
void store_serve(struct xen_store *s, const struct xsd_sockmsg *h, char *payload);
void store_forget_guest(struct xen_store *s); /* watches and transactions */

/* store-ring.c */
int store_ring_start(struct xen_store *s, u64 mfn, struct error *err);
void store_ring_stop(struct xen_store *s);
/* Queues a message; false: no memory. */
bool store_send(struct xen_store *s, const struct xsd_sockmsg *h, const void *payload);
