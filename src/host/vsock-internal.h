/* SPDX-License-Identifier: Apache-2.0 */
/* What vsock.c (sockets, packets) and vsock_conn.c (one connection) share. Everything under the host's lock. */
#pragma once
#include <pthread.h>
#include <sys/un.h>

#include "host/vsock.h"

#define VSOCK_CONNS  512 /* at a time, those being made and closed included */
#define VSOCK_STRAYS 256 /* resets that wait, of packets that belong to no connection */
#define VSOCK_BUFFER 262144u /* bytes of a connection that the host's program has not taken; our buf_alloc */
#define VSOCK_BUCKET 256

enum conn_state {
	CONN_FREE,
	CONN_GREETING, /* the host's program has not said which port it wants */
	CONN_ASKED, /* the guest has not answered our REQUEST */
	CONN_OPEN,
	CONN_DEAD /* closed, the guest is to be told: RST */
};

/* Packets that are due. */
#define OWE_REQUEST	   BIT(0)
#define OWE_RESPONSE	   BIT(1)
#define OWE_SHUTDOWN	   BIT(2)
#define OWE_CREDIT	   BIT(3)
#define OWE_CREDIT_REQUEST BIT(4)

struct vsock_host;
/* A slot, never freed while the machine runs: a late event of its former user finds the next one, whose socket is asked what
 * is the matter, so that no event is mistaken for another's. */
struct vsock_conn {
	struct vsock_host *host; /* fixed: read without the lock */
	/* What follows is cleared when the slot changes hands. */
	struct vsock_conn *bucket; /* next with the same hash */
	struct vsock_conn *next; /* of those with something for the guest */
	bool queued;
	enum conn_state state;
	int fd;
	u32 guest_port, host_port;
	u32 owes;
	u8 guest_shut, host_shut, told_shut; /* VIRTIO_VSOCK_SHUTDOWN_*: what each end will not do any more */
	bool readable, writable; /* since the last EAGAIN */

	/* Host to guest: 5.10.6.3, free-running counters. */
	u32 sent, peer_alloc, peer_fwd;
	bool asked; /* for credit */
	/* Guest to host. */
	u8 *buf; /* VSOCK_BUFFER bytes, once some had to wait; [tail, head) are free-running */
	u32 head, tail;
	u32 got, fwd, told_fwd;
};

struct vsock_host {
	struct vsockdev dev;
	struct machine *machine;
	int listener;
	bool bound;
	struct sockaddr_un address;
	pthread_mutex_t lock; /* inside the device's */
	struct vsock_conn conn[VSOCK_CONNS];
	struct vsock_conn *bucket[VSOCK_BUCKET];
	struct vsock_conn *first, **last; /* with something for the guest, in turn */
	struct virtio_vsock_hdr stray[VSOCK_STRAYS];
	unsigned strays;
	u32 next_port;
};

/* ---- vsock.c ---- */
/* A slot for fd, which it then owns; NULL (and fd closed) when all are taken by connections in use. */
struct vsock_conn *vsock_conn_take(struct vsock_host *h, int fd);
void vsock_conn_name(struct vsock_conn *c, u32 guest_port, u32 host_port); /* from now on packets find it */
struct vsock_conn *vsock_conn_find(const struct vsock_host *h, u32 guest_port, u32 host_port);
void vsock_conn_free(struct vsock_conn *c);
void vsock_conn_queue(struct vsock_conn *c); /* it may have something for the guest */
u32 vsock_new_port(struct vsock_host *h, u32 guest_port);

/* ---- vsock_conn.c ---- */
void vsock_conn_event(struct vsock_conn *c); /* something has happened to its socket */
/* A packet of the guest's that names c. */
void vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h, const struct iovec *iov, unsigned iovs);
/* The next packet for the guest; false: none, *later: there will be, if there is room for payload. */
bool vsock_conn_give(struct vsock_conn *c, struct virtio_vsock_hdr *h, const struct iovec *iov, unsigned iovs,
		     bool *later);
/* Nothing is lost that anybody waits for if it goes. */
bool vsock_conn_expendable(const struct vsock_conn *c);
