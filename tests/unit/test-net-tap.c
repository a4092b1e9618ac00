/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface in a network namespace of the test's own: frames both ways, checksums that each side leaves to the other,
 * a guest without room, and the errors. Skipped where no namespace or no interface can be made.
 */
#include "net-frames.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/net/net.h"

#define ME   "10.77.0.2"
#define HOST "10.77.0.1"

struct guest {
	struct machine m;
	struct netdev *n;
	pthread_t loop;
	pthread_mutex_t lock;
	struct bytes frame;
	struct virtio_net_hdr h;
	const char *text;
	unsigned count; /* UDP frames that say text */
	bool full;
	u8 host_mac[6];
};
static struct guest guest;
static struct bytes out;

static bool receive(void *arg, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct guest *g = arg;
	const u8 *b = iov->iov_base;
	bool taken, udp = iov->iov_len > 42 && rd16(b + 12) == 0x0800 && b[14 + 9] == UDP;

	pthread_mutex_lock(&g->lock);
	taken = !g->full;
	if (taken && udp && !memcmp(b + 42, g->text, strlen(g->text))) {
		memcpy(g->frame.b, b, iov->iov_len);
		g->frame.len = (u32)iov->iov_len;
		g->h = *h;
		g->count++;
	}
	pthread_mutex_unlock(&g->lock);
	return taken;
}

static void writable(void *arg)
{
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

static unsigned received(void)
{
	unsigned n;

	pthread_mutex_lock(&guest.lock);
	n = guest.count;
	pthread_mutex_unlock(&guest.lock);
	return n;
}

static void expect_text(const char *text)
{
	pthread_mutex_lock(&guest.lock);
	guest.text = text;
	guest.count = 0;
	pthread_mutex_unlock(&guest.lock);
}

static void wait_for(unsigned count)
{
	for (unsigned i = 0; received() < count; i++) {
		assert_true(i < 60000);
		usleep(1000);
	}
}

static int set_ifreq(unsigned long request, struct ifreq *r)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), e = ioctl(fd, request, r);

	close(fd);
	return e;
}

/* As an administrator would: an interface that stays, with an address, and a neighbour. False: this host does not let us. */
static bool make_tap(const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR);
	char command[256];
	bool made;

	strcpy(r.ifr_name, name);
	made = fd >= 0 && !ioctl(fd, TUNSETIFF, &r) && !ioctl(fd, TUNSETPERSIST, 1);
	close(fd);
	snprintf(command, sizeof(command),
		 "ip addr add " HOST "/24 dev %s && ip link set %s up && ip neigh add " ME
		 " lladdr 52:54:00:12:34:56 dev %s nud permanent",
		 name, name, name);
	return made && !system(command);
}

static int host_socket(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(7777) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, HOST, &a.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void host_says(int fd, const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(8888) };

	inet_pton(AF_INET, ME, &a.sin_addr);
	assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&a, sizeof(a)), strlen(text));
}

static int set_up(void **state)
{
	struct net_spec *spec;
	struct error err = { 0 };
	struct ifreq r = { .ifr_name = "sxtap0" };

	if (unshare(CLONE_NEWNET) || !make_tap("sxtap0"))
		return 0;
	pthread_mutex_init(&guest.lock, NULL);
	guest.m.loop = loop_new(&err);
	assert_int_equal(net_parse("tap=sxtap0", &spec, &err), 0);
	if (net_open(spec, &guest.m, NULL, &guest.n, &err))
		fail_msg("%s", err.text);
	net_spec_free(spec);
	guest.n->front = (struct netdev_front){ receive, writable, &guest, 0 };
	assert_int_equal(set_ifreq(SIOCGIFHWADDR, &r), 0);
	memcpy(guest.host_mac, r.ifr_hwaddr.sa_data, 6);
	guest.text = "ready";
	pthread_create(&guest.loop, NULL, run_loop, guest.m.loop);
	/* The kernel notices in its own time that somebody has plugged in; until then it loses what is sent. */
	int fd = host_socket();
	for (unsigned i = 0; !received(); i++) {
		assert_true(i < 6000);
		host_says(fd, "ready");
		usleep(10000);
	}
	close(fd);
	return 0;
}

static int tear_down(void **state)
{
	if (!guest.n)
		return 0;
	loop_quit(guest.m.loop);
	pthread_join(guest.loop, NULL);
	netdev_destroy(guest.n);
	loop_free(guest.m.loop);
	return 0;
}

static void need_tap(void)
{
	if (!guest.n)
		skip();
}

static void test_from_the_guest(void **state)
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6 };
	struct iovec iov[2] = { { out.b, 20 } };
	char got[16] = "";
	int fd;

	need_tap();
	fd = host_socket();
	for (unsigned i = 0; i < 2; i++) {
		udp_frame(&out, ME, 8888, HOST, 7777, "from guest", 10);
		memcpy(out.b, guest.host_mac, 6);
		/* With the checksum left to the kernel: the sum of the pseudo-header is in its place. */
		if (i)
			wr16(out.b + 34 + 6, sum16(17 + 18, out.b + 26, 8));
		iov[1] = (struct iovec){ out.b + 20, out.len - 20 };
		assert_true(guest.n->ops->send(guest.n, i ? &h : &(struct virtio_net_hdr){ 0 }, iov, 2));
		struct pollfd p = { .fd = fd, .events = POLLIN };
		assert_int_equal(poll(&p, 1, 60000), 1);
		assert_int_equal(recv(fd, got, sizeof(got), 0), 10);
		assert_string_equal(got, "from guest");
	}
	close(fd);
}

static void test_to_the_guest(void **state)
{
	int fd;

	need_tap();
	fd = host_socket();
	expect_text("whole");
	host_says(fd, "whole");
	wait_for(1);
	assert_memory_equal(guest.frame.b + 42, "whole", 5);
	assert_false(guest.h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_checksums(&guest.frame);
	guest.n->front.takes = NET_CSUM | NET_TSO4;
	guest.n->ops->resume(guest.n); /* as a device does when its driver has chosen */
	expect_text("partly");
	for (unsigned i = 0; !(guest.h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM); i++) {
		assert_true(i < 1000);
		host_says(fd, "partly");
		wait_for(1 + i);
	}
	assert_int_equal(guest.h.csum_start, 34);
	assert_int_equal(guest.h.csum_offset, 6);
	close(fd);
}

static void test_without_room(void **state)
{
	int fd;

	need_tap();
	fd = host_socket();
	expect_text("later");
	pthread_mutex_lock(&guest.lock);
	guest.full = true;
	pthread_mutex_unlock(&guest.lock);
	for (unsigned i = 0; i < 20; i++)
		host_says(fd, "later");
	usleep(20000);
	assert_int_equal(received(), 0);
	pthread_mutex_lock(&guest.lock);
	guest.full = false;
	pthread_mutex_unlock(&guest.lock);
	guest.n->ops->resume(guest.n);
	wait_for(20);
	close(fd);
}

static void assert_error(const char *text, const char *word)
{
	struct net_spec *spec;
	struct netdev *n;
	struct error err = { 0 };

	assert_int_equal(net_parse(text, &spec, &err), 0);
	assert_true(net_open(spec, &guest.m, NULL, &n, &err) < 0);
	assert_null(n);
	if (!strstr(err.text, word))
		fail_msg("'%s' is not in '%s'", word, err.text);
	net_spec_free(spec);
}

static void test_errors(void **state)
{
	need_tap();
	assert_error("tap=nosuch", "no such interface; make one: ip tuntap add nosuch");
	assert_error("tap=lo", "is no tap");
	assert_error("tap=sxtap0", "another program uses it");
}

/* In a process of its own, as another user: /dev/net/tun is everybody's, an interface of nobody's is not. */
static void test_no_permission(void **state)
{
	struct net_spec *spec;
	struct netdev *n;
	struct error err = { 0 };
	int status;
	pid_t pid;

	need_tap();
	if (!make_tap("sxtap1"))
		skip();
	pid = fork();
	if (!pid) {
		bool told = !setresuid(65534, 65534, 65534) && !net_parse("tap=sxtap1", &spec, &err) &&
			    net_open(spec, &guest.m, NULL, &n, &err) < 0 && strstr(err.text, "no permission");

		_exit(!told);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_from_the_guest), cmocka_unit_test(test_to_the_guest),
					    cmocka_unit_test(test_without_room), cmocka_unit_test(test_errors),
					    cmocka_unit_test(test_no_permission) };

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
