/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user-mode network with a guest that is a script: ARP, DHCP, connections to servers of this host and back, a segment as
 * long as they come, and the policy in its place before libslirp. Everything stays on the loopback interface.
 */
#include "net-frames.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host/net/net.h"

#define ME	"10.0.2.15"
#define HOST	"10.0.2.2"
#define LONGEST 60 /* seconds that anything may take on a slow machine */
#define QUEUE	512

/* ---- the guest's side of the link ---- */
struct guest {
	struct machine m;
	struct netdev *n;
	pthread_t loop;
	pthread_mutex_t lock;
	pthread_cond_t arrived;
	struct bytes *frame[QUEUE];
	unsigned count;
	char log[4096];
};

static bool receive(void *arg, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct guest *g = arg;
	struct bytes *b = malloc(sizeof(*b));

	assert(b && iovs == 1 && iov->iov_len <= sizeof(b->b));
	b->len = (u32)iov->iov_len;
	memcpy(b->b, iov->iov_base, iov->iov_len);
	pthread_mutex_lock(&g->lock);
	if (g->count < QUEUE)
		g->frame[g->count++] = b;
	else
		free(b);
	pthread_cond_broadcast(&g->arrived);
	pthread_mutex_unlock(&g->lock);
	return true;
}

static void writable(void *arg)
{
}

static void line(void *arg, const char *text)
{
	struct guest *g = arg;

	pthread_mutex_lock(&g->lock);
	snprintf(g->log + strlen(g->log), sizeof(g->log) - strlen(g->log), "%s\n", text);
	pthread_mutex_unlock(&g->lock);
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

static struct guest *guest_start(const char *spec_text)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct net_log log = { line, g };
	struct net_spec *spec;
	struct error err = { 0 };

	assert_non_null(g);
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->arrived, NULL);
	g->m.loop = loop_new(&err);
	assert_non_null(g->m.loop);
	if (net_parse(spec_text, &spec, &err) || net_open(spec, &g->m, &log, &g->n, &err))
		fail_msg("%s", err.text);
	net_spec_free(spec);
	g->n->front = (struct netdev_front){ receive, writable, g, 0 };
	pthread_create(&g->loop, NULL, run_loop, g->m.loop);
	return g;
}

static void guest_end(struct guest *g)
{
	loop_quit(g->m.loop);
	pthread_join(g->loop, NULL);
	netdev_destroy(g->n);
	loop_free(g->m.loop);
	for (unsigned i = 0; i < g->count; i++)
		free(g->frame[i]);
	free(g);
}

static void put(struct guest *g, const struct bytes *b, const struct virtio_net_hdr *h)
{
	static const struct virtio_net_hdr none;
	struct iovec iov = { (void *)b->b, b->len };

	while (!g->n->ops->send(g->n, h ? h : &none, &iov, 1))
		usleep(1000);
}

/* The first frame that `wanted` says is the one; others stay. False after patience_ms. */
static bool get(struct guest *g, bool (*wanted)(const struct bytes *b, const void *what), const void *what,
		struct bytes *out, int patience_ms)
{
	struct timespec until;
	bool found = false;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += patience_ms / 1000;
	until.tv_nsec += patience_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&g->lock);
	for (int e = 0; !found && !e;) {
		for (unsigned i = 0; i < g->count && !found; i++)
			if (wanted(g->frame[i], what)) {
				*out = *g->frame[i];
				free(g->frame[i]);
				memmove(&g->frame[i], &g->frame[i + 1], (--g->count - i) * sizeof(g->frame[0]));
				found = true;
			}
		if (!found)
			e = pthread_cond_timedwait(&g->arrived, &g->lock, &until);
	}
	pthread_mutex_unlock(&g->lock);
	return found;
}

static struct bytes out, in;

static bool is_arp_reply(const struct bytes *b, const void *what)
{
	return rd16(b->b + 12) == 0x0806 && rd16(b->b + 14 + 6) == 2;
}

/* Tells libslirp where we are, too. */
static void ask_arp(struct guest *g)
{
	u8 *a = out.b + 14;

	memset(out.b, 0, 42);
	memset(out.b, 0xff, 6);
	memcpy(out.b + 6, guest_mac, 6);
	wr16(out.b + 12, 0x0806);
	wr16(a, 1);
	wr16(a + 2, 0x0800);
	a[4] = 6;
	a[5] = 4;
	wr16(a + 6, 1);
	memcpy(a + 8, guest_mac, 6);
	inet_pton(AF_INET, ME, a + 14);
	inet_pton(AF_INET, HOST, a + 24);
	out.len = 42;
	put(g, &out, NULL);
	assert_true(get(g, is_arp_reply, NULL, &in, LONGEST * 1000));
	assert_memory_equal(in.b + 14 + 14, a + 24, 4);
}

/* ---- a guest's TCP, as little of it as will do ---- */
struct conn {
	struct guest *g;
	const char *peer;
	u16 mine, theirs;
	u32 seq, ack;
};

static bool is_segment(const struct bytes *b, const void *what)
{
	const struct conn *c = what;
	const u8 *ip = b->b + 14;

	return rd16(b->b + 12) == 0x0800 && ip[9] == TCP && rd16(ip + 20) == c->theirs && rd16(ip + 22) == c->mine;
}

static void say(struct conn *c, u8 flags, const void *data, u32 len)
{
	tcp_frame(&out, ME, c->mine, c->peer, c->theirs, flags, c->seq, c->ack, len);
	memcpy(out.b + out.len - len, data, len);
	finish(&out);
	put(c->g, &out, NULL);
	c->seq += len + !!(flags & (SYN | FIN));
}

/* Its flags; data is acknowledged and appended to text. -1: nothing came. */
static int hear(struct conn *c, char *text, size_t max, int patience_ms)
{
	const u8 *tcp;
	u32 data, len;

	if (!get(c->g, is_segment, c, &in, patience_ms))
		return -1;
	assert_checksums(&in);
	tcp = in.b + 34;
	data = 34 + (tcp[12] >> 4) * 4u;
	len = 14u + rd16(in.b + 16) - data;
	if (tcp[13] & SYN)
		c->ack = rd32(tcp + 4);
	if (rd32(tcp + 4) == c->ack && (len || tcp[13] & (SYN | FIN))) {
		c->ack += len + !!(tcp[13] & (SYN | FIN));
		if (text && strlen(text) + len < max)
			strncat(text, (char *)in.b + data, len);
		say(c, ACK, "", 0);
	}
	return tcp[13];
}

static bool connect_to(struct guest *g, struct conn *c, const char *peer, u16 port)
{
	static u16 ports = 40000;
	int flags;

	*c = (struct conn){ .g = g, .peer = peer, .mine = ports++, .theirs = port, .seq = 1000 };
	say(c, SYN, "", 0);
	flags = hear(c, NULL, 0, LONGEST * 1000);
	assert_true(flags >= 0);
	return !(flags & RST);
}

/* ---- servers of the host ---- */
struct server {
	int fd;
	u16 port;
	_Atomic unsigned connections;
	_Atomic u64 received;
	pthread_t thread;
};

static u16 listen_any(int type, int *fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	*fd = socket(AF_INET, type, 0);
	assert_true(*fd >= 0 && !bind(*fd, (struct sockaddr *)&a, sizeof(a)));
	assert_true(type != SOCK_STREAM || !listen(*fd, 16));
	assert_int_equal(getsockname(*fd, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.sin_port);
}

/* Reads until the end or a blank line, says what it got, closes. */
static void serve_one(struct server *s, int fd)
{
	static const char answer[] = "HTTP/1.0 200 OK\r\n\r\nhello from the host\n";
	char buf[65536];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		s->received += (u64)n;
		if (n >= 4 && !memcmp(buf + n - 4, "\r\n\r\n", 4))
			break;
	}
	if (send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0)
		print_message("the server's peer has gone\n");
	close(fd);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		s->connections++;
		serve_one(s, fd);
	}
	return NULL;
}

static void server_start(struct server *s)
{
	*s = (struct server){ 0 };
	s->port = listen_any(SOCK_STREAM, &s->fd);
	pthread_create(&s->thread, NULL, serve, s);
}

static void server_stop(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static void fetch(struct guest *g, u16 port)
{
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";
	struct conn c;
	char text[1024] = "";
	int flags = 0;

	assert_true(connect_to(g, &c, HOST, port));
	say(&c, ACK, request, sizeof(request) - 1);
	while (!(flags & FIN)) {
		flags = hear(&c, text, sizeof(text), LONGEST * 1000);
		assert_true(flags >= 0 && !(flags & RST));
	}
	assert_non_null(strstr(text, "hello from the host\n"));
	say(&c, FIN | ACK, "", 0);
}

static void test_nat(void **state)
{
	struct guest *g = guest_start("user");
	struct server s;
	struct conn c;

	server_start(&s);
	ask_arp(g);
	fetch(g, s.port);
	fetch(g, s.port);
	assert_int_equal(s.connections, 2);
	server_stop(&s);
	assert_false(connect_to(g, &c, HOST, s.port)); /* nobody listens any more */
	guest_end(g);
}

static bool is_dhcp(const struct bytes *b, const void *what)
{
	return rd16(b->b + 12) == 0x0800 && b->b[14 + 9] == UDP && rd16(b->b + 34 + 2) == 68;
}

static void dhcp(struct guest *g, const char *address, const char *router, const char *resolver)
{
	u8 msg[300] = { 1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef }, want[4];
	static const u8 discover[] = { 0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255 };
	const u8 *bootp;

	memcpy(msg + 28, guest_mac, 6);
	memcpy(msg + 236, discover, sizeof(discover));
	udp_frame(&out, "0.0.0.0", 68, "255.255.255.255", 67, msg, sizeof(msg));
	put(g, &out, NULL);
	assert_true(get(g, is_dhcp, NULL, &in, LONGEST * 1000));
	assert_checksums(&in);
	bootp = in.b + 42;
	inet_pton(AF_INET, address, want);
	assert_memory_equal(bootp + 16, want, 4);
	inet_pton(AF_INET, router, want);
	assert_non_null(memmem(in.b, in.len, want, 4));
	if (!resolver)
		return;
	inet_pton(AF_INET, resolver, want);
	assert_non_null(memmem(bootp + 240, in.len - 42 - 240, want, 4));
}

static void test_dhcp(void **state)
{
	static const char *const nets[][4] = {
		{ "user", "10.0.2.15", "10.0.2.2", "10.0.2.3" },
		{ "user,subnet=192.168.7.99/24", "192.168.7.15", "192.168.7.2", "192.168.7.3" },
		{ "user,restrict", "10.0.2.15", "10.0.2.2", NULL }, /* nothing to be asked or to go through */
		{ "user,allow=198.51.100.1,subnet=172.20.0.0/20", "172.20.0.15", "172.20.0.2", "172.20.0.3" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(nets); i++) {
		struct guest *g = guest_start(nets[i][0]);

		dhcp(g, nets[i][1], nets[i][2], nets[i][3]);
		guest_end(g);
	}
}

/* A frame that leaves both segmentation and checksum to us, as long as IPv4 allows. */
static void test_segmentation(void **state)
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				    .gso_size = 1460,
				    .hdr_len = 54,
				    .csum_start = 34,
				    .csum_offset = 16 };
	static const char *const specs[] = { "user", "user,allow=host" };

	for (unsigned i = 0; i < ARRAY_SIZE(specs); i++) {
		struct guest *g = guest_start(specs[i]);
		struct server s;
		struct conn c;
		u32 total = 0;

		assert_true(g->n->takes & NET_TSO4 && g->n->takes & NET_CSUM);
		server_start(&s);
		ask_arp(g);
		assert_true(connect_to(g, &c, HOST, s.port));
		for (unsigned j = 0; j < 8; j++) {
			u32 len = j ? 32000 : 65535 - 40, acked;

			tcp_frame(&out, ME, c.mine, HOST, s.port, ACK, c.seq, c.ack, len);
			wr16(out.b + 34 + 16, 0xbad);
			put(g, &out, &h);
			c.seq += len;
			total += len;
			do {
				assert_true(hear(&c, NULL, 0, LONGEST * 1000) >= 0);
				acked = rd32(in.b + 34 + 8);
			} while (acked != c.seq);
		}
		say(&c, FIN | ACK, "", 0);
		while (s.received < total)
			usleep(1000);
		assert_int_equal(s.received, total);
		server_stop(&s);
		guest_end(g);
	}
}

static bool is_syn(const struct bytes *b, const void *what)
{
	const u8 *ip = b->b + 14;

	return rd16(b->b + 12) == 0x0800 && ip[9] == TCP && rd16(ip + 22) == *(const u16 *)what && ip[33] == SYN;
}

static void test_forwarded_port(void **state)
{
	static const char *const specs[] = { "user,hostfwd=tcp::%u-:22",
					     "user,restrict,hostfwd=tcp:127.0.0.1:%u-10.0.2.15:22",
					     "user,allow=198.51.100.1,hostfwd=tcp::%u-:22" };
	u16 ssh = 22;

	for (unsigned i = 0; i < ARRAY_SIZE(specs); i++) {
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		char text[128], got[16] = "";
		struct guest *g;
		struct conn c;
		int fd;

		a.sin_port = htons(listen_any(SOCK_STREAM, &fd)); /* a free one */
		close(fd);
		snprintf(text, sizeof(text), specs[i], ntohs(a.sin_port));
		g = guest_start(text);
		ask_arp(g);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		assert_true(get(g, is_syn, &ssh, &in, LONGEST * 1000));
		c = (struct conn){ g, HOST, 22, rd16(in.b + 34), 5000, rd32(in.b + 34 + 4) + 1 };
		say(&c, SYN | ACK, "", 0);
		assert_true(hear(&c, NULL, 0, LONGEST * 1000) >= 0);
		say(&c, ACK, "guest here", 10);
		assert_int_equal(recv(fd, got, 10, MSG_WAITALL), 10);
		assert_string_equal(got, "guest here");
		close(fd);
		guest_end(g);
	}
}

static bool is_prohibited(const struct bytes *b, const void *what)
{
	return rd16(b->b + 12) == 0x0800 && b->b[14 + 9] == ICMP4 && b->b[34] == 3 && b->b[35] == 13;
}

/* Two servers, one of them listed: the other never hears of us. */
static void test_policy(void **state)
{
	struct server open, closed;
	struct guest *g;
	struct conn c;
	char text[64];
	u16 datagrams;
	int fd;

	server_start(&open);
	server_start(&closed);
	datagrams = listen_any(SOCK_DGRAM, &fd);
	snprintf(text, sizeof(text), "user,allow=host:%u/tcp,0.0.0.0/0", open.port);
	g = guest_start(text);
	ask_arp(g);
	fetch(g, open.port);
	assert_false(connect_to(g, &c, HOST, closed.port));
	assert_false(connect_to(g, &c, "10.0.2.77", closed.port));
	udp_frame(&out, ME, 5000, HOST, datagrams, "hello", 5);
	put(g, &out, NULL);
	assert_true(get(g, is_prohibited, NULL, &in, LONGEST * 1000));
	udp_frame(&out, ME, 5000, HOST, open.port, "hello", 5);
	put(g, &out, NULL);
	assert_true(get(g, is_prohibited, NULL, &in, LONGEST * 1000));
	fetch(g, open.port); /* what was sent before has been seen to by now */
	assert_int_equal(open.connections, 2);
	assert_int_equal(closed.connections, 0);
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), -1);
	guest_end(g);
	server_stop(&open);
	server_stop(&closed);
	close(fd);
}

/* Frames in great number, some of them nonsense, and an end in the middle of it all. */
static void test_flood(void **state)
{
	struct guest *g = guest_start("user");
	struct server s;
	u32 seed = 1;

	server_start(&s);
	ask_arp(g);
	for (unsigned i = 0; i < 3000; i++) {
		tcp_frame(&out, ME, (u16)(i + 1), HOST, s.port, i % 3 ? SYN : ACK, i, 0, i % 7);
		seed = seed * 1664525 + 1013904223;
		if (i % 2)
			out.b[14 + (seed >> 8) % (out.len - 14)] ^= (u8)(seed >> 24);
		out.len -= i % 5 ? 0 : (seed >> 16) % out.len;
		put(g, &out, NULL);
	}
	guest_end(g);
	server_stop(&s);
}

static u32 random_u32(void)
{
	static u64 state = 88172645463325252ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (u32)(state >> 16);
}

/* A frame of any kind that libslirp knows, to nobody but itself and this host. */
static void any_frame(u16 port)
{
	static const u8 data[600] = {
		1, 1, 6, 0, [236] = 0x63, [237] = 0x82, [238] = 0x53, [239] = 0x63, [240] = 53, [241] = 1, [242] = 1
	};
	static const u16 ports[] = { 67, 69, 547, 7 };
	const char *me = random_u32() % 2 ? ME : "fec0::15", *host = me[0] == '1' ? HOST : "fec0::2";
	u32 len = random_u32() % 2 ? random_u32() % 32 : random_u32() % sizeof(data);
	u8 *body;

	switch (random_u32() % 5) {
	case 0:
		tcp_frame(&out, me, (u16)(40000 + random_u32() % 4), host, port, (u8)random_u32(), random_u32(),
			  random_u32(), len);
		break;
	case 1: udp_frame(&out, me, (u16)random_u32(), host, ports[random_u32() % 4], data, len); break;
	case 2: udp_frame(&out, "0.0.0.0", 68, "255.255.255.255", 67, data, sizeof(data)); break;
	case 3: udp_frame(&out, "fe80::1", 546, "ff02::1:2", 547, data, len); break;
	default:
		body = ip_frame(&out, me, host, me[0] == '1' ? ICMP4 : ICMP6, 24 + len);
		body[0] = (u8)(random_u32() % 2 ? 133 + random_u32() % 5 : random_u32());
		out.b[14 + 7] = me[0] == '1' ? 0 : 255;
		finish(&out);
	}
}

/* Some bytes behind the addresses, or of the header before them, are others; checksums are right more often than not. */
static void spoil(void)
{
	u32 header = is6(out.b) ? 40 : 20;

	for (u32 i = random_u32() % 4; i; i--) {
		u32 at = 14 + header + random_u32() % (out.len - 14 - header);

		out.b[at] = (u8)(random_u32() % 2 ? random_u32() : 0xff * (random_u32() % 2));
	}
	if (random_u32() % 8 == 0)
		out.b[14 + (is6(out.b) ? random_u32() % 8 : 1 + random_u32() % 9)] = (u8)random_u32();
	if (random_u32() % 8)
		finish(&out);
	if (random_u32() % 8 == 0)
		out.len = 14 + random_u32() % (out.len - 14);
}

static void test_garbage(void **state)
{
	struct guest *g = guest_start("user");
	struct server s;

	server_start(&s);
	ask_arp(g);
	for (unsigned i = 0; i < 30000; i++) {
		any_frame(s.port);
		spoil();
		put(g, &out, NULL);
	}
	guest_end(g);
	g = guest_start("user"); /* the same process still can */
	ask_arp(g);
	fetch(g, s.port);
	guest_end(g);
	server_stop(&s);
}

static void test_specs(void **state)
{
	static const char *const bad[] = { "",
					   "nonsense",
					   "users",
					   "user,",
					   "user,x",
					   "user,x=1",
					   "user,subnet=10.0.0.0",
					   "user,subnet=10.0.0.0/30",
					   "user,subnet=fec0::/64",
					   "user,subnet=127.0.0.0/24",
					   "user,hostfwd=tcp::1-",
					   "user,hostfwd=sctp::1-:2",
					   "user,hostfwd=tcp::0-:2",
					   "user,hostfwd=tcp::1-:70000",
					   "user,hostfwd=tcp:x:1-:2",
					   "user,hostfwd=tcp::1-1.2.3.4:2",
					   "user,hostfwd=tcp:[::1]:1-:2",
					   "user,allow=",
					   "user,allow=a,",
					   "user,ipv6=maybe",
					   "tap",
					   "tap=",
					   "tap=a/b",
					   "tap=abcdefghijklmnopq",
					   "tap=a,allow=b",
					   "none,x" };
	static const char *const good[] = { "none",
					    "user",
					    "user,ipv6=off",
					    "user,restrict",
					    "user,allow=a,b,1.2.3.4/5:6,ipv6=on",
					    "user,allow=a,allow=b,restrict",
					    "tap=tap0",
					    "user,hostfwd=udp:[::1]:53-[fec0::15]:53",
					    "user,subnet=10.9.8.0/24,hostfwd=tcp:0.0.0.0:80-10.9.8.15:80" };
	struct net_spec *spec;
	struct error err;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		if (net_parse(bad[i], &spec, &err) != -EINVAL || spec || !err.text[0])
			fail_msg("'%s' was taken", bad[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		if (net_parse(good[i], &spec, &err))
			fail_msg("'%s': %s", good[i], err.text);
		net_spec_free(spec);
	}
}

static void test_port_in_use(void **state)
{
	struct net_spec *spec;
	struct netdev *n;
	struct machine m = { 0 };
	struct error err = { 0 };
	char text[64];
	int fd;

	snprintf(text, sizeof(text), "user,hostfwd=tcp::%u-:22", listen_any(SOCK_STREAM, &fd));
	assert_int_equal(net_parse(text, &spec, &err), 0);
	assert_int_equal(net_open(spec, &m, NULL, &n, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "cannot forward TCP port"));
	net_spec_free(spec);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nat),	     cmocka_unit_test(test_dhcp),
		cmocka_unit_test(test_segmentation), cmocka_unit_test(test_forwarded_port),
		cmocka_unit_test(test_policy),	     cmocka_unit_test(test_flood),
		cmocka_unit_test(test_garbage),	     cmocka_unit_test(test_specs),
		cmocka_unit_test(test_port_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
