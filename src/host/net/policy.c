/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy as a netdev: frames are copied, judged, and passed on, answered or dropped. Answers wait in a queue for
 * policy_deliver(), as send() may not call back into the device.
 *
 * Locks: the device's, then the policy's, then the inner netdev's. The front is called with none of them held by us.
 */
#include "host/net/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/net/policy-internal.h"

static struct policy *policy_of(struct netdev *n)
{
	return container_of(n, struct policy, netdev);
}

void policy_reply(struct policy *p, const u8 *frame, u32 len)
{
	struct frame *f;

	if (!len || p->replies.count >= POLICY_REPLIES || !(f = frame_new(len)))
		return;
	memcpy(f->data, frame, len);
	queue_put(&p->replies, f);
}

/* Has the loop deliver, where there is something to deliver. */
static void wake(struct policy *p)
{
	u64 one = 1;

	if (p->wake_fd >= 0 && (p->replies.count || p->report.lines) && write(p->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is at its maximum: it is readable */
}

static void refuse(struct policy *p, const struct packet *k)
{
	bool tcp = k->state == PACKET_OK && k->protocol == PROTO_TCP;

	policy_reply(p, p->made, tcp ? packet_reset(k, p->made) : packet_prohibited(k, p->made));
}

/* What goes on is what was judged: padding is gone, and checksums are ours, whatever place the header named for them. */
static bool pass(struct policy *p, const struct packet *k, bool checksum)
{
	static const struct virtio_net_hdr none;
	struct iovec iov = { .iov_base = p->out, .iov_len = k->len };

	if (checksum && (k->protocol == PROTO_TCP || k->protocol == PROTO_UDP))
		packet_checksum(k, p->out);
	return p->inner->ops->send(p->inner, &none, &iov, 1);
}

static bool send_locked(struct policy *p, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	bool checksum = *(const volatile u8 *)&h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	u64 now = p->config.now();
	struct packet k;

	if (iov_total(iov, iovs, sizeof(p->out)) == ~0u)
		return true;
	packet_parse(&k, p->out, iov_gather(p->out, iov, iovs, sizeof(p->out)));
	switch (judge_out(p, &k, now)) {
	case PASS: return pass(p, &k, checksum);
	case QUERY: return names_ask(p, &k, now);
	case REFUSE: refuse(p, &k); return true;
	default: return true;
	}
}

static bool policy_send(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct policy *p = policy_of(n);
	bool taken;

	pthread_mutex_lock(&p->lock);
	taken = send_locked(p, h, iov, iovs);
	wake(p);
	pthread_mutex_unlock(&p->lock);
	return taken;
}

static enum verdict judge_received(struct policy *p, const struct iovec *iov, unsigned iovs)
{
	u64 now = p->config.now();
	struct packet k, quoted;
	enum verdict v;

	packet_parse(&k, p->in, iov_gather(p->in, iov, iovs, sizeof(p->in)));
	v = judge_in(p, &k, now);
	if (v != QUERY)
		return v;
	if (k.protocol == PROTO_UDP)
		names_answer(p, &k, now);
	else if (packet_parse_quoted(&quoted, k.frame + k.l4 + ICMP_LEN, k.len - k.l4 - ICMP_LEN, k.v6))
		names_failed(p, &quoted);
	return DROP;
}

static bool inner_receive(void *arg, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct policy *p = arg;
	enum verdict v;

	pthread_mutex_lock(&p->lock);
	v = judge_received(p, iov, iovs);
	wake(p);
	pthread_mutex_unlock(&p->lock);
	if (v != PASS || !p->netdev.front.receive)
		return true;
	return p->netdev.front.receive(p->netdev.front.arg, h, iov, iovs);
}

static void inner_writable(void *arg)
{
	struct policy *p = arg;

	if (p->netdev.front.writable)
		p->netdev.front.writable(p->netdev.front.arg);
}

static void policy_resume(struct netdev *n)
{
	struct policy *p = policy_of(n);

	p->inner->ops->resume(p->inner);
	pthread_mutex_lock(&p->lock);
	wake(p);
	pthread_mutex_unlock(&p->lock);
}

/* ---- what the policy says itself ---- */
static void deliver_frames(struct policy *p)
{
	static const struct virtio_net_hdr none;
	struct frame *f;
	bool taken;

	for (;;) {
		pthread_mutex_lock(&p->lock);
		f = queue_take(&p->replies);
		pthread_mutex_unlock(&p->lock);
		if (!f)
			return;
		struct iovec iov = { .iov_base = f->data, .iov_len = f->len };
		taken = !p->netdev.front.receive || p->netdev.front.receive(p->netdev.front.arg, &none, &iov, 1);
		if (!taken)
			break;
		free(f);
	}
	pthread_mutex_lock(&p->lock);
	queue_put_back(&p->replies, f); /* policy_resume() wakes us */
	pthread_mutex_unlock(&p->lock);
}

void policy_deliver(struct netdev *n)
{
	struct policy *p = policy_of(n);
	char text[REPORT_LINES][REPORT_SIZE];
	unsigned lines;

	deliver_frames(p);
	pthread_mutex_lock(&p->lock);
	lines = p->report.lines;
	memcpy(text, p->report.text, sizeof(text));
	p->report.lines = 0;
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < lines && p->config.log.line; i++)
		p->config.log.line(p->config.log.arg, text[i]);
}

static void on_wake(void *arg, u32 events)
{
	struct policy *p = arg;
	u64 n;

	if (read(p->wake_fd, &n, sizeof(n)) == sizeof(n))
		policy_deliver(&p->netdev);
}

/* ---- life ---- */
static void policy_destroy(struct netdev *n)
{
	struct policy *p = policy_of(n);

	netdev_destroy(p->inner); /* first: its thread still calls us */
	if (p->wake_fd >= 0) {
		loop_unwatch(p->config.loop, p->wake_fd);
		close(p->wake_fd);
	}
	queue_clear(&p->replies);
	flows_free(p->flows);
	free(p->config.rules.rule);
	free((void *)p->config.forward);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static const struct netdev_ops policy_ops = {
	.name = "policy", .send = policy_send, .resume = policy_resume, .destroy = policy_destroy
};

static void *copy(const void *from, size_t len)
{
	void *to = malloc(len ? len : 1);

	return to && len ? memcpy(to, from, len) : to;
}

static int set_up(struct policy *p, const struct policy_config *c, struct error *err)
{
	p->config = *c;
	p->config.rules.rule = copy(c->rules.rule, c->rules.count * sizeof(*c->rules.rule));
	p->config.forward = copy(c->forward, c->forwards * sizeof(*c->forward));
	p->flows = flows_new(POLICY_FLOWS);
	if (!p->config.rules.rule || !p->config.forward || !p->flows)
		return error_set(err, ENOMEM, "no memory for the network's policy");
	if (!c->loop)
		return 0;
	p->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->wake_fd < 0)
		return error_set(err, errno, "cannot set up the network's policy: %s", strerror(errno));
	return loop_watch(c->loop, p->wake_fd, EPOLLIN, on_wake, p, err);
}

struct netdev *policy_new(const struct policy_config *c, struct netdev *inner, struct error *err)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (!p) {
		netdev_destroy(inner);
		error_set(err, ENOMEM, "no memory for the network's policy");
		return NULL;
	}
	p->netdev = (struct netdev){ .ops = &policy_ops, .takes = inner->takes | NET_CSUM, .mtu = inner->mtu };
	memcpy(p->netdev.mac, inner->mac, sizeof(inner->mac));
	p->inner = inner;
	p->wake_fd = -1;
	pthread_mutex_init(&p->lock, NULL);
	if (set_up(p, c, err)) {
		policy_destroy(&p->netdev);
		return NULL;
	}
	inner->front = (struct netdev_front){ .receive = inner_receive, .writable = inner_writable, .arg = p };
	return &p->netdev;
}
