/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tap interface is made by a child that enters the namespaces, since a thread could not enter a user namespace, and we want to
 * come back; its descriptor comes over a socket. Frames that the other end has no room for wait, one of them; those for which the
 * interface has none are lost, as on any wire. The event loop's thread is the only one that reads the interface.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/net/namespace.h"
#include "util/cleanup.h"

#define INTERFACE "eth0"

struct net_namespace {
	struct machine m; /* only its loop: what a network uses of a machine */
	struct netdev *n;
	int tap;
	pthread_t thread;
	bool runs;
	u8 frame[NET_FRAME_MAX];
	size_t held; /* bytes in frame that the network has not taken yet */
};

/* ---- in the namespace ---- */

static struct sockaddr_in address(in_addr_t a)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = a };
}

static int configure(const char *text)
{
	_cleanup_fd_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char own[64], gateway[64];
	unsigned bits;
	struct ifreq r = { .ifr_name = INTERFACE };
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct sockaddr_in a;

	if (sock < 0 || sscanf(text, "%63[^/]/%u,%63[^,]", own, &bits, gateway) != 3 || bits > 32)
		return EINVAL;
	a = address(inet_addr(own));
	memcpy(&r.ifr_addr, &a, sizeof(a));
	if (ioctl(sock, SIOCSIFADDR, &r))
		return errno;
	a = address(htonl(bits ? ~0u << (32 - bits) : 0));
	memcpy(&r.ifr_netmask, &a, sizeof(a));
	if (ioctl(sock, SIOCSIFNETMASK, &r))
		return errno;
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(sock, SIOCSIFFLAGS, &r))
		return errno;
	a = address(0);
	memcpy(&route.rt_dst, &a, sizeof(a));
	memcpy(&route.rt_genmask, &a, sizeof(a));
	a = address(inet_addr(gateway));
	memcpy(&route.rt_gateway, &a, sizeof(a));
	return ioctl(sock, SIOCADDRT, &route) ? errno : 0;
}

static int join(pid_t pid, const char *kind, int flag)
{
	char path[64], mine[64], theirs[64];
	_cleanup_fd_ int fd = -1;
	ssize_t a, b;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	a = readlink(path, mine, sizeof(mine));
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	b = readlink(path, theirs, sizeof(theirs));
	if (a > 0 && a == b && !memcmp(mine, theirs, (size_t)a))
		return 0; /* to join one's own user namespace is an error */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, flag) ? errno : 0;
}

static void send_tap(int sock, int tap, int status)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &status, sizeof(status) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = (struct cmsghdr *)control;

	if (tap >= 0) {
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
				       .cmsg_type = SCM_RIGHTS,
				       .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(c), &tap, sizeof(int));
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
	}
	sendmsg(sock, &m, MSG_NOSIGNAL);
}

static void make_in_namespace(int sock, pid_t pid, const char *text)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI, .ifr_name = INTERFACE };
	int tap = -1, e = join(pid, "user", CLONE_NEWUSER);

	if (!e)
		e = join(pid, "net", CLONE_NEWNET);
	/* Opened there: the interface's namespace is that of the open(). */
	if (!e && (tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0)
		e = errno;
	if (!e && ioctl(tap, TUNSETIFF, &r))
		e = errno;
	if (!e)
		e = configure(text);
	send_tap(sock, e ? -1 : tap, e);
	_exit(0);
}

static int make_tap(pid_t pid, const char *text, struct error *err)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	int pair[2], status = EIO, tap = -1;
	struct iovec iov = { &status, sizeof(status) };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "a socket pair: %s", strerror(errno));
	child = fork();
	if (!child)
		make_in_namespace(pair[1], pid, text);
	close(pair[1]);
	if (child > 0) {
		while (recvmsg(pair[0], &m, MSG_CMSG_CLOEXEC) < 0 && errno == EINTR)
			;
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		c = CMSG_FIRSTHDR(&m);
		if (!status && c && c->cmsg_type == SCM_RIGHTS)
			memcpy(&tap, CMSG_DATA(c), sizeof(int));
	}
	close(pair[0]);
	if (tap >= 0)
		return tap;
	return error_set(err, status, "--net user: a tap interface in the container: %s (it needs /dev/net/tun)",
			 strerror(status));
}

/* ---- frames ---- */

static void on_tap(void *arg, u32 events)
{
	static const struct virtio_net_hdr none;
	struct net_namespace *n = arg;

	for (;;) {
		struct iovec iov = { n->frame, n->held };

		if (!n->held) {
			ssize_t got = read(n->tap, n->frame, sizeof(n->frame));

			if (got <= 0)
				return;
			n->held = iov.iov_len = (size_t)got;
		}
		if (!n->n->ops->send(n->n, &none, &iov, 1)) {
			loop_rewatch(n->m.loop, n->tap, 0);
			return;
		}
		n->held = 0;
	}
}

static void writable(void *arg)
{
	struct net_namespace *n = arg;

	loop_rewatch(n->m.loop, n->tap, EPOLLIN | EPOLLOUT); /* writable: it is called at once, and tries again */
}

static bool receive(void *arg, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct net_namespace *n = arg;

	/* Taken, even if there was no room: a wire does not wait. */
	return writev(n->tap, iov, (int)iovs) >= 0 || errno;
}

static void on_event(void *arg, u32 events)
{
	struct net_namespace *n = arg;

	if (events & EPOLLOUT)
		loop_rewatch(n->m.loop, n->tap, EPOLLIN);
	on_tap(n, events);
}

static void *run(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	loop_run(arg);
	return NULL;
}

int net_namespace_open(const struct net_spec *spec, pid_t pid, const struct net_log *log, struct net_namespace **out,
		       struct error *err)
{
	struct net_namespace *n = calloc(1, sizeof(*n));
	char text[NET_GUEST_TEXT];
	int e;

	if (!n)
		return error_set(err, ENOMEM, "out of memory");
	*out = n;
	n->tap = -1;
	if (!net_guest_text(spec, text))
		return error_set(err, ENOTSUP, "a container's network is none, user or host");
	n->tap = make_tap(pid, text, err);
	if (n->tap < 0)
		return n->tap;
	n->m.loop = loop_new(err);
	if (!n->m.loop)
		return err->code;
	e = net_open(spec, &n->m, log, &n->n, err);
	if (e)
		return e;
	n->n->front = (struct netdev_front){ .receive = receive, .writable = writable, .arg = n };
	e = loop_watch(n->m.loop, n->tap, EPOLLIN, on_event, n, err);
	if (!e && pthread_create(&n->thread, NULL, run, n->m.loop))
		e = error_set(err, EAGAIN, "a thread for the network");
	n->runs = !e;
	n->n->ops->resume(n->n); /* its thread waits for a first call */
	return e;
}

void net_namespace_close(struct net_namespace *n)
{
	if (!n)
		return;
	if (n->runs) {
		loop_quit(n->m.loop);
		pthread_join(n->thread, NULL);
	}
	netdev_destroy(n->n);
	if (n->m.loop)
		loop_free(n->m.loop);
	if (n->tap >= 0)
		close(n->tap);
	free(n);
}
