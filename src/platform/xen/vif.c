/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network back end (xen/io/netif.h): one queue, as one I/O thread serves all, with one event channel or one a direction. The guest may
 * leave checksums and TCP segmentation to us, whatever is behind us; what its driver takes of them in the other direction it says
 * when it connects.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "platform/xen/events.h"
#include "platform/xen/vif-internal.h"

static void resume(struct vif *n)
{
	bool waits = n->rx_waits;

	n->rx_waits = false;
	if (waits)
		n->back->ops->resume(n->back);
}

/* On the thread that runs timers: the guest has sent or offered pages, or the back end has room. */
static void work(void *arg)
{
	struct vif *n = arg;

	pthread_mutex_lock(&n->lock);
	if (n->serving && vif_transmit(n))
		work_ring(&n->work);
	resume(n);
	pthread_mutex_unlock(&n->lock);
}

static bool on_receive(void *arg, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct vif *n = arg;
	bool taken;

	pthread_mutex_lock(&n->lock);
	taken = !n->serving || vif_receive(n, h, iov, iovs);
	n->rx_waits |= !taken;
	pthread_mutex_unlock(&n->lock);
	return taken;
}

static void on_writable(void *arg)
{
	work_ring(&((struct vif *)arg)->work);
}

/* ---- connecting ---- */

/* NET_* that the guest's driver takes. One checksum feature is on unless it is refused, and the other off unless it is wanted; ours is both. */
static u32 guest_takes(struct vif *n)
{
	u32 takes = 0;

	if (xenbus_has(&n->bus, "feature-no-csum-offload") || !xenbus_has(&n->bus, "feature-ipv6-csum-offload"))
		return 0;
	takes |= NET_CSUM;
	if (n->sg && xenbus_has(&n->bus, "feature-gso-tcpv4"))
		takes |= NET_TSO4 | NET_ECN;
	if (n->sg && xenbus_has(&n->bus, "feature-gso-tcpv6"))
		takes |= NET_TSO6 | NET_ECN;
	return takes;
}

/* Split ones first: the other key may be of a driver that was there before. */
static int get_ports(struct xenbus *x, u32 *tx, u32 *rx, struct error *err)
{
	u64 a, b;

	if (!xenbus_get_number(x, "event-channel-tx", ~0u, &a) || !xenbus_get_number(x, "event-channel-rx", ~0u, &b)) {
		if (!xenbus_get_number(x, "event-channel", ~0u, &a))
			return error_set(err, EINVAL, "no event-channel-tx and -rx, nor event-channel");
		b = a;
	}
	*tx = (u32)a;
	*rx = (u32)b;
	return 0;
}

static int bind_ports(struct vif *n, struct error *err)
{
	if (get_ports(&n->bus, &n->tx_port, &n->rx_port, err))
		return err->code;
	if (events_bind(n->bus.d, n->tx_port, work_ring, &n->work))
		return error_set(err, EINVAL, "event channel %u is not for us", n->tx_port);
	if (n->rx_port == n->tx_port || !events_bind(n->bus.d, n->rx_port, work_ring, &n->work))
		return 0;
	events_unbind(n->bus.d, n->tx_port);
	return error_set(err, EINVAL, "event channel %u is not for us", n->rx_port);
}

static int get_rings(struct vif *n, struct error *err)
{
	u64 tx, rx;

	if (!xenbus_get_number(&n->bus, "tx-ring-ref", ~0u, &tx) ||
	    !xenbus_get_number(&n->bus, "rx-ring-ref", ~0u, &rx) || tx == rx)
		return error_set(err, EINVAL, "no tx-ring-ref or no rx-ring-ref");
	if (grant_get(n->bus.d, (u32)tx, true, &n->tx_page))
		return error_set(err, EINVAL, "tx-ring-ref %llu grants no page", (unsigned long long)tx);
	if (!grant_get(n->bus.d, (u32)rx, true, &n->rx_page))
		return 0;
	grant_put(n->bus.d, &n->tx_page);
	return error_set(err, EINVAL, "rx-ring-ref %llu grants no page", (unsigned long long)rx);
}

static int connect(struct xenbus *x, struct error *err)
{
	struct vif *n = container_of(x, struct vif, bus);

	if (!xenbus_has(x, "request-rx-copy"))
		return error_set(err, EINVAL, "the front end does not copy");
	if (get_rings(n, err))
		return err->code;
	if (bind_ports(n, err)) {
		grant_put(x->d, &n->tx_page);
		grant_put(x->d, &n->rx_page);
		return err->code;
	}
	pthread_mutex_lock(&n->lock);
	BACK_RING_INIT(&n->tx, (struct netif_tx_sring *)n->tx_page.host, PAGE_SIZE);
	BACK_RING_INIT(&n->rx, (struct netif_rx_sring *)n->rx_page.host, PAGE_SIZE);
	n->sg = xenbus_has(x, "feature-sg");
	n->back->front.takes = guest_takes(n);
	n->out.frame = NULL;
	n->serving = true;
	pthread_mutex_unlock(&n->lock);
	work_ring(&n->work);
	return 0;
}

static bool disconnect(struct xenbus *x)
{
	struct vif *n = container_of(x, struct vif, bus);

	pthread_mutex_lock(&n->lock);
	n->serving = false;
	n->out.frame = NULL;
	n->back->front.takes = 0;
	resume(n);
	pthread_mutex_unlock(&n->lock);
	events_unbind(x->d, n->tx_port);
	if (n->rx_port != n->tx_port)
		events_unbind(x->d, n->rx_port);
	grant_put(x->d, &n->tx_page);
	grant_put(x->d, &n->rx_page);
	return true;
}

static const struct xenbus_ops vif_ops = {
	.type = "vif",
	.ready = XenbusStateConnected,
	.connect = connect,
	.disconnect = disconnect,
};

/* ---- making and releasing ---- */

/* The back end's choice, or a random one of Xen's range, as two guests may meet on one network. */
static void choose_mac(struct vif *n)
{
	static const u8 none[6], fixed[6] = { 0x00, 0x16, 0x3e, 0x00, 0x00, 0x01 };

	memcpy(n->mac, fixed, sizeof(fixed));
	if (memcmp(n->back->mac, none, sizeof(none)))
		memcpy(n->mac, n->back->mac, sizeof(n->mac));
	else if (!n->bus.d->machine->config.deterministic && getrandom(n->mac + 3, 3, 0) == 3)
		n->mac[3] &= 0x7f;
}

static void describe(struct vif *n, unsigned index)
{
	static const char *const features[] = { "feature-sg",	     "feature-gso-tcpv4",
						"feature-gso-tcpv6", "feature-ipv6-csum-offload",
						"feature-rx-copy",   "feature-split-event-channels" };
	const u8 *mac = n->mac;
	struct xenbus *x = &n->bus;

	xenbus_put(x, true, "handle", "%u", index);
	for (int front = 0; front < 2; front++)
		xenbus_put(x, front, "mac", "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
			   mac[5]);
	xenbus_put(x, true, "mtu", "%u", n->back->mtu ? n->back->mtu : 1500);
	xenbus_put(x, false, "handle", "%u", index);
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
		xenbus_put(x, false, features[i], "1");
	xenbus_put(x, false, "feature-rx-flip", "0");
}

struct vif *vif_create(struct xen_domain *d, unsigned index, struct netdev *back, struct error *err)
{
	struct vif *n = calloc(1, sizeof(*n));

	if (!n) {
		error_set(err, ENOMEM, "no memory for a network card");
		return NULL;
	}
	n->back = back;
	pthread_mutex_init(&n->lock, NULL);
	work_init(&n->work, d->machine, work, n);
	if (xenbus_init(&n->bus, d, &vif_ops, index, err)) {
		vif_destroy(n);
		return NULL;
	}
	choose_mac(n);
	describe(n, index);
	back->front = (struct netdev_front){ .receive = on_receive, .writable = on_writable, .arg = n };
	xenbus_start(&n->bus);
	return n;
}

void vif_stats(const struct vif *n, void (*line)(const char *fmt, ...))
{
	line("%s: %llu frames with %llu KiB sent, %llu with %llu KiB received",
	     n->bus.front + sizeof(STORE_HOME "/device/") - 1, (unsigned long long)n->sent,
	     (unsigned long long)n->sent_bytes >> 10, (unsigned long long)n->received,
	     (unsigned long long)n->received_bytes >> 10);
}

void vif_destroy(struct vif *n)
{
	if (!n)
		return;
	xenbus_stop(&n->bus);
	if (n->bus.connected)
		disconnect(&n->bus);
	n->back->front = (struct netdev_front){ 0 };
	work_cancel(&n->work);
	pthread_mutex_destroy(&n->lock);
	free(n);
}
