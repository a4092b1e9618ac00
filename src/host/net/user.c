/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user-mode network: libslirp, which ends the guest's connections and opens ones of its own on the host. It is not
 * thread-safe and wants to be asked for its descriptors each round, so one thread owns it and polls; nobody else calls it.
 * Frames from the guest are copied to a queue for that thread; frames to the guest are handed over from within libslirp's
 * callback, with no lock held, and wait in a second queue when the guest has no room.
 *
 * libslirp verifies checksums, so those that the guest left out are filled in. A TCP segment over IPv4 may be longer than the
 * link: libslirp takes it as it is. The thread sleeps until the device's first call: the front is attached by then.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "host/net/packet.h"
#include "host/net/queue.h"
#include "host/net/slirp.h"
#include "host/net/spec.h"

#define TO_SLIRP_FRAMES 512 /* then the device waits */
#define TO_SLIRP_BYTES	(2u << 20)
#define TO_GUEST_FRAMES 1024 /* then frames are lost; TCP comes again */
#define NO_DEADLINE	INT64_MAX

struct slirp_timer {
	SlirpTimerCb fn;
	void *arg;
	s64 at; /* milliseconds of clock_ns() */
	struct slirp_timer *next;
};

struct user {
	struct netdev netdev;
	int wake_fd;
	struct net_ip host6;
	atomic_bool stop;
	pthread_t thread;
	bool have_thread;

	pthread_mutex_t lock; /* what follows */
	struct frame_queue to_slirp;
	bool full; /* send() has refused a frame */

	/* The thread's. */
	Slirp *slirp;
	struct slirp_timer *timers;
	struct pollfd *fds;
	unsigned count, room;
	struct frame_queue to_guest;
};

static void wake(struct user *u)
{
	u64 one = 1;

	if (write(u->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is at its maximum: it is readable */
}

/* ---- what libslirp calls ---- */
static bool hand_over(struct user *u, const void *data, size_t len)
{
	static const struct virtio_net_hdr none;
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct netdev_front *f = &u->netdev.front;

	return !f->receive || f->receive(f->arg, &none, &iov, 1);
}

static ssize_t to_guest(const void *data, size_t len, void *arg)
{
	struct user *u = arg;
	struct frame *f;

	if (!u->to_guest.count && hand_over(u, data, len))
		return (ssize_t)len;
	if (u->to_guest.count < TO_GUEST_FRAMES && len <= NET_FRAME_MAX && (f = frame_new((u32)len))) {
		memcpy(f->data, data, len);
		queue_put(&u->to_guest, f);
	}
	return (ssize_t)len;
}

/* What the guest does wrong is its own business. */
static void guest_error(const char *text, void *arg)
{
}

static s64 clock_ns(void *arg)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (s64)t.tv_sec * (s64)NSEC_PER_SEC + t.tv_nsec;
}

static void *timer_new(SlirpTimerCb fn, void *fn_arg, void *arg)
{
	struct user *u = arg;
	struct slirp_timer *t = calloc(1, sizeof(*t));

	if (!t)
		abort(); /* libslirp knows no failure here, and asks for one timer, when it is made */
	*t = (struct slirp_timer){ .fn = fn, .arg = fn_arg, .at = NO_DEADLINE, .next = u->timers };
	return u->timers = t;
}

static void timer_free(void *timer, void *arg)
{
	struct user *u = arg;

	for (struct slirp_timer **at = &u->timers; *at; at = &(*at)->next)
		if (*at == timer) {
			*at = (*at)->next;
			break;
		}
	free(timer);
}

static void timer_mod(void *timer, s64 at, void *arg)
{
	((struct slirp_timer *)timer)->at = at;
}

static void poll_fd(int fd, void *arg)
{
}

/* The thread that it would wake is the one that calls it. */
static void notify(void *arg)
{
}

static const SlirpCb callbacks = { .send_packet = to_guest,
				   .guest_error = guest_error,
				   .clock_get_ns = clock_ns,
				   .timer_new = timer_new,
				   .timer_free = timer_free,
				   .timer_mod = timer_mod,
				   .register_poll_fd = poll_fd,
				   .unregister_poll_fd = poll_fd,
				   .notify = notify };

/* ---- the thread ---- */
static int add_fd(int fd, int events, void *arg)
{
	struct user *u = arg;
	short wanted = 0;

	if (u->count == u->room) {
		struct pollfd *grown = realloc(u->fds, (size_t)u->room * 2 * sizeof(*grown));
		if (!grown)
			return -1;
		u->fds = grown;
		u->room *= 2;
	}
	wanted |= events & SLIRP_POLL_IN ? POLLIN : 0;
	wanted |= events & SLIRP_POLL_OUT ? POLLOUT : 0;
	wanted |= events & SLIRP_POLL_PRI ? POLLPRI : 0;
	u->fds[u->count] = (struct pollfd){ .fd = fd, .events = wanted };
	return (int)u->count++;
}

static int fd_events(int i, void *arg)
{
	struct user *u = arg;
	short got = i >= 0 && (unsigned)i < u->count ? u->fds[i].revents : 0;

	return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (got & POLLPRI ? SLIRP_POLL_PRI : 0) | (got & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static void run_timers(struct user *u)
{
	s64 now = clock_ns(NULL) / 1000000;

	for (struct slirp_timer *t = u->timers; t; t = t->next)
		if (t->at <= now) {
			t->at = NO_DEADLINE;
			t->fn(t->arg);
			return; /* it may have changed the list: the next round runs the next */
		}
}

static int timeout_ms(struct user *u, u32 slirp_ms)
{
	s64 now = clock_ns(NULL) / 1000000, ms = slirp_ms;

	for (struct slirp_timer *t = u->timers; t; t = t->next)
		if (t->at != NO_DEADLINE)
			ms = MIN(ms, MAX(t->at - now, 0));
	return slirp_ms == UINT32_MAX && ms == UINT32_MAX ? -1 : (int)MIN(ms, 60000);
}

static void flush_to_guest(struct user *u)
{
	struct frame *f;

	while ((f = queue_take(&u->to_guest))) {
		if (!hand_over(u, f->data, f->len)) {
			queue_put_back(&u->to_guest, f); /* resume() wakes us */
			return;
		}
		free(f);
	}
}

static void take_from_guest(struct user *u)
{
	struct frame_queue q;
	struct frame *f;
	bool was_full;

	pthread_mutex_lock(&u->lock);
	queue_move(&q, &u->to_slirp);
	was_full = u->full;
	u->full = false;
	pthread_mutex_unlock(&u->lock);
	if (was_full && u->netdev.front.writable)
		u->netdev.front.writable(u->netdev.front.arg);
	while ((f = queue_take(&q))) {
		slirp_input(u->slirp, f->data, (int)f->len);
		free(f);
	}
}

static void round_trip(struct user *u)
{
	u32 slirp_ms = UINT32_MAX;
	u64 n;
	int r;

	u->count = 1;
	slirp_pollfds_fill(u->slirp, &slirp_ms, add_fd, u);
	r = poll(u->fds, u->count, timeout_ms(u, slirp_ms));
	if (r > 0 && u->fds[0].revents && read(u->wake_fd, &n, sizeof(n)) < 0)
		return; /* another wake-up has been read: as good */
	flush_to_guest(u);
	slirp_pollfds_poll(u->slirp, r < 0, fd_events, u);
	run_timers(u);
	take_from_guest(u);
}

static void *user_thread(void *arg)
{
	struct user *u = arg;

	while (poll(u->fds, 1, -1) < 0 && errno == EINTR)
		;
	while (!atomic_load(&u->stop))
		round_trip(u);
	return NULL;
}

/* ---- the netdev ---- */
static struct user *user_of(struct netdev *n)
{
	return container_of(n, struct user, netdev);
}

/*
 * What libslirp gets to see: whole packets without options, of the protocols that it has. Its reassembly of fragments (4.7.0)
 * follows pointers that are none any more, so a guest could crash us; its NC-SI and its options code have no use here. Pings over IPv6 it
 * sends to nobody but itself, and complains of others on our standard error, once a packet.
 */
static bool fit_for_slirp(const struct user *u, const struct packet *k)
{
	static const u8 link_local[8] = { 0xfe, 0x80 };
	bool ping6 = k->v6 && k->protocol == PROTO_ICMP6 && k->type == 128;
	bool host = ip_equal(&k->dst, &u->host6) ||
		    (!memcmp(k->dst.b, link_local, 8) && !memcmp(k->dst.b + 8, u->host6.b + 8, 8));

	return k->state == PACKET_OK && (!ping6 || host);
}

static struct frame *copy_frame(const struct user *u, const struct virtio_net_hdr *h, const struct iovec *iov,
				unsigned iovs)
{
	u32 len = iov_total(iov, iovs, NET_FRAME_MAX);
	bool checksum = *(const volatile u8 *)&h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	struct frame *f = len == ~0u ? NULL : frame_new(len);
	struct packet k;

	if (!f)
		return NULL;
	iov_gather(f->data, iov, iovs, len);
	packet_parse(&k, f->data, len);
	if (!fit_for_slirp(u, &k)) {
		free(f);
		return NULL;
	}
	if (checksum && (k.protocol == PROTO_TCP || k.protocol == PROTO_UDP))
		packet_checksum(&k, f->data);
	f->len = k.len;
	return f;
}

static bool user_send(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct user *u = user_of(n);
	struct frame *f;
	bool room, first;

	pthread_mutex_lock(&u->lock);
	room = u->to_slirp.count < TO_SLIRP_FRAMES && u->to_slirp.bytes < TO_SLIRP_BYTES;
	u->full = !room;
	pthread_mutex_unlock(&u->lock);
	if (!room)
		return false;
	f = copy_frame(u, h, iov, iovs);
	if (!f)
		return true;
	pthread_mutex_lock(&u->lock);
	first = !u->to_slirp.count;
	queue_put(&u->to_slirp, f);
	pthread_mutex_unlock(&u->lock);
	if (first)
		wake(u);
	return true;
}

static void user_resume(struct netdev *n)
{
	wake(user_of(n));
}

static void user_destroy(struct netdev *n)
{
	struct user *u = user_of(n);

	if (u->have_thread) {
		atomic_store(&u->stop, true);
		wake(u);
		pthread_join(u->thread, NULL);
	}
	u->netdev.front = (struct netdev_front){ 0 };
	if (u->slirp)
		slirp_cleanup(u->slirp);
	if (u->wake_fd >= 0)
		close(u->wake_fd);
	queue_clear(&u->to_slirp);
	queue_clear(&u->to_guest);
	pthread_mutex_destroy(&u->lock);
	free(u->fds);
	free(u);
}

static const struct netdev_ops user_ops = {
	.name = "user", .send = user_send, .resume = user_resume, .destroy = user_destroy
};

/* ---- set-up ---- */
static struct in_addr in4(const struct net_ip *a)
{
	struct in_addr in;

	memcpy(&in, a->b + 12, 4);
	return in;
}

static struct in6_addr in6(const struct net_ip *a)
{
	struct in6_addr in;

	memcpy(&in, a->b, 16);
	return in;
}

static socklen_t socket_address(const struct net_ip *a, u16 port, struct sockaddr_storage *to)
{
	memset(to, 0, sizeof(*to));
	if (ip_is4(a)) {
		*(struct sockaddr_in *)to =
			(struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = in4(a) };
		return sizeof(struct sockaddr_in);
	}
	*(struct sockaddr_in6 *)to =
		(struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6(a) };
	return sizeof(struct sockaddr_in6);
}

static int forward(struct user *u, const struct net_forward *f, struct error *err)
{
	struct sockaddr_storage host, guest;
	socklen_t host_len = socket_address(&f->host, f->host_port, &host);
	socklen_t guest_len = socket_address(&f->guest, f->guest_port, &guest);
	int flags = (f->udp ? SLIRP_HOSTFWD_UDP : 0) | (ip_is4(&f->host) ? 0 : SLIRP_HOSTFWD_V6ONLY);
	char text[NET_IP_TEXT];

	if (!slirp_add_hostxfwd(u->slirp, (struct sockaddr *)&host, host_len, (struct sockaddr *)&guest, guest_len,
				flags))
		return 0;
	return error_set(err, errno, "cannot forward %s port %u of %s: %s", f->udp ? "UDP" : "TCP", f->host_port,
			 ip_text(&f->host, text), strerror(errno));
}

static int make_slirp(struct user *u, const struct net_spec *s, bool restricted, struct error *err)
{
	SlirpConfig c = { .version = 1,
			  .restricted = restricted,
			  .in_enabled = true,
			  .vnetwork = in4(&s->lan.net),
			  .vnetmask.s_addr = htonl(~0u << (128 - s->lan.prefix)),
			  .vhost = in4(&s->lan.host),
			  .in6_enabled = s->lan.ipv6,
			  .vprefix_addr6 = in6(&s->lan.net6),
			  .vprefix_len = 64,
			  .vhost6 = in6(&s->lan.host6),
			  .vhostname = "guest",
			  .vdhcp_start = in4(&s->lan.guest),
			  .vnameserver = in4(&s->lan.dns),
			  .vnameserver6 = in6(&s->lan.dns6) };

	if (slirp_load(err))
		return err ? err->code : -ENOENT;
	u->slirp = slirp_new(&c, &callbacks, u);
	if (!u->slirp)
		return error_set(err, EINVAL, "libslirp refuses the network's settings");
	for (unsigned i = 0; i < s->forwards; i++) {
		int e = forward(u, &s->forward[i], err);
		if (e)
			return e;
	}
	return 0;
}

/* Signals are the event loop's: none is delivered here. */
static int start_thread(struct user *u, struct error *err)
{
	sigset_t all, old;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	e = pthread_create(&u->thread, NULL, user_thread, u);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	u->have_thread = !e;
	return e ? error_set(err, e, "cannot start the network's thread: %s", strerror(e)) : 0;
}

static int set_up(struct user *u, const struct net_spec *s, bool restricted, struct error *err)
{
	int e;

	u->room = 16;
	u->fds = calloc(u->room, sizeof(*u->fds));
	u->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!u->fds || u->wake_fd < 0)
		return error_set(err, u->fds ? errno : ENOMEM, "cannot set up the network: %s",
				 strerror(u->fds ? errno : ENOMEM));
	u->fds[0] = (struct pollfd){ .fd = u->wake_fd, .events = POLLIN };
	e = make_slirp(u, s, restricted, err);
	return e ? e : start_thread(u, err);
}

struct netdev *user_new(const struct net_spec *s, bool restricted, struct error *err)
{
	struct user *u = calloc(1, sizeof(*u));

	if (!u) {
		error_set(err, ENOMEM, "no memory for the network");
		return NULL;
	}
	u->netdev = (struct netdev){ .ops = &user_ops, .takes = NET_CSUM | NET_TSO4 };
	u->wake_fd = -1;
	u->host6 = s->lan.host6;
	pthread_mutex_init(&u->lock, NULL);
	if (set_up(u, s, restricted, err)) {
		user_destroy(&u->netdev);
		return NULL;
	}
	return &u->netdev;
}
