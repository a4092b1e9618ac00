/* SPDX-License-Identifier: Apache-2.0 */
/* Host names in the policy: who may be asked for, what goes to the resolver, what its answers open, and hostile ones. */
#include "net-frames.h"
#include "host/net/dns.h"

#define ME  "10.0.2.15"
#define DNS "10.0.2.3"
#define WEB "93.184.216.34"
enum { A = 1, NS = 2, CNAME = 5, TXT = 16, AAAA = 28, ANY = 255 };

static struct bytes f;
static u8 msg[4096];
static u32 len;

/* ---- messages, by hand ---- */
static void start(u16 id, u16 flags, u16 questions, u16 answers)
{
	memset(msg, 0, 12);
	wr16(msg, id);
	wr16(msg + 2, flags);
	wr16(msg + 4, questions);
	wr16(msg + 6, answers);
	len = 12;
}

static void put_name(const char *name)
{
	while (*name) {
		u8 n = (u8)strcspn(name, ".");

		msg[len++] = n;
		memcpy(msg + len, name, n);
		len += n;
		name += n + (name[n] == '.');
	}
	msg[len++] = 0;
}

static void put_question(const char *name, u16 type)
{
	put_name(name);
	wr16(msg + len, type);
	wr16(msg + len + 2, 1);
	len += 4;
}

static void put_record(const char *owner, u16 type, u32 ttl, const void *data, u16 n)
{
	put_name(owner);
	wr16(msg + len, type);
	wr16(msg + len + 2, 1);
	wr32(msg + len + 4, ttl);
	wr16(msg + len + 8, n);
	memcpy(msg + len + 10, data, n);
	len += 10u + n;
}

static void put_address(const char *owner, u32 ttl, const char *address)
{
	u8 b[16];
	bool six = strchr(address, ':');

	inet_pton(six ? AF_INET6 : AF_INET, address, b);
	put_record(owner, six ? AAAA : A, ttl, b, six ? 16 : 4);
}

static void put_alias(const char *owner, u32 ttl, const char *target)
{
	u32 at;

	put_record(owner, CNAME, ttl, "", 0);
	at = len;
	put_name(target);
	wr16(msg + at - 2, len - at);
}

/* ---- the conversation ---- */
static void ask(struct net *t, const char *name, u16 type, u16 port, u16 id)
{
	t->out.count = t->in.count = 0;
	start(id, 0x0100, 1, 0);
	put_question(name, type);
	udp_frame(&f, ME, port, DNS, 53, msg, len);
	assert_true(guest_sends(t, &f, NULL));
}

/* The resolver's answer is what is in msg, under the id that the policy chose. */
static void resolver_says(struct net *t, u16 port)
{
	wr16(msg, rd16(last(&t->out)->b + 14 + 28));
	udp_frame(&f, DNS, 53, ME, port, msg, len);
	assert_true(host_sends_back(t, &f));
}

static void answer_of(struct net *t, const u8 **m, u32 *n)
{
	const struct bytes *r = last(&t->in);

	assert_checksums(r);
	assert_memory_equal(r->b, guest_mac, 6);
	assert_int_equal(rd16(r->b + 14 + 20), 53);
	*m = r->b + 14 + 28;
	*n = r->len - 14 - 28;
}

/* The guest was told this code and this many records. */
static void assert_told(struct net *t, u16 id, unsigned code, unsigned records)
{
	const u8 *m;
	u32 n;

	assert_int_equal(t->in.count, 1);
	answer_of(t, &m, &n);
	assert_int_equal(rd16(m), id);
	assert_int_equal(rd16(m + 2) & 0xf80f, 0x8000 | code);
	assert_int_equal(rd16(m + 6), records);
}

static bool reaches(struct net *t, const char *address, u16 port)
{
	static u16 sport = 30000;

	t->out.count = t->in.count = 0;
	tcp_frame(&f, strchr(address, ':') ? "fec0::77" : ME, ++sport, address, port, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	return t->out.count;
}

static void test_a_name_is_followed(void **state)
{
	struct net *t = net_start("www.example.org:80");
	const u8 *m;
	u32 n;

	assert_false(reaches(t, WEB, 80));
	ask(t, "WwW.eXample.org", A, 5000, 0x1234);
	assert_int_equal(t->out.count, 1);
	assert_int_equal(t->in.count, 0);
	start(0, 0x8180, 1, 2);
	put_question("www.example.org", A);
	put_address("www.example.org", 300, WEB);
	put_address("www.example.org", 200, "93.184.216.35");
	resolver_says(t, 5000);
	assert_told(t, 0x1234, 0, 2);
	answer_of(t, &m, &n);
	assert_memory_equal(m + 12, "\3WwW\7eXample\3org", 17); /* as it was asked */
	assert_int_equal(n, 12 + 21 + 2 * 16);
	assert_int_equal(rd16(m + 33), 0xc00c);
	assert_int_equal(rd32(m + 33 + 6), 200); /* the shorter of both */
	assert_memory_equal(m + 33 + 12, "\x5d\xb8\xd8\x22", 4);
	assert_true(reaches(t, WEB, 80));
	assert_true(reaches(t, "93.184.216.35", 80));
	assert_false(reaches(t, WEB, 443));
	assert_false(reaches(t, "93.184.216.36", 80));
	net_end(t);
}

/* What leaves is a function of the name and the type: not of the guest's id, its letters' case, flags or options. */
static void test_the_query_is_made_anew(void **state)
{
	struct net *t = net_start("www.example.org");
	struct bytes first;
	u32 at = 14 + 28;

	ask(t, "www.example.org", A, 5000, 1);
	first = *last(&t->out);
	assert_checksums(&first);
	assert_memory_equal(first.b + at + 12, "\3www\7example\3org\0\0\1\0\1", 21);
	t->out.count = 0;
	start(0x7777, 0x0130, 1, 0); /* AD, CD */
	put_question("WWW.EXAMPLE.ORG", A);
	wr16(msg + 10, 1);
	memcpy(msg + len, "\0\0\x29\xff\xff\xab\xcd\x80\0\0\x8\0\xa\0\4abcd", 19); /* EDNS with a cookie */
	udp_frame(&f, ME, 5000, DNS, 53, msg, len + 19);
	assert_true(guest_sends(t, &f, NULL));
	assert_int_equal(t->out.count, 1);
	assert_int_equal(last(&t->out)->len, first.len);
	assert_memory_equal(last(&t->out)->b + at + 2, first.b + at + 2, first.len - at - 2);
	net_end(t);
}

static void test_names_that_are_not_listed(void **state)
{
	struct net *t = net_start("www.example.org *.example.net 192.0.2.1");
	static const char *const others[] = { "example.org",
					      "xwww.example.org",
					      "a.www.example.org",
					      "www.example.org.evil.com",
					      "example.net",
					      "xexample.net",
					      "org",
					      "",
					      "secret.evil.com",
					      "localhost" };
	static const char *const listed[] = { "a.example.net", "b.a.example.net", "_x-1.example.net" };

	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		ask(t, others[i], A, 5000, (u16)i);
		assert_int_equal(t->out.count, 0);
		assert_told(t, (u16)i, 3, 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(listed); i++) {
		ask(t, listed[i], A, 5000, 1);
		assert_int_equal(t->out.count, 1);
	}
	assert_logged(t, "net: refused name xwww.example.org\n");
	/* Bytes that are in no rule must not match one, nor reach a terminal. */
	t->out.count = t->in.count = 0;
	start(1, 0x0100, 1, 0);
	put_question("a\033[31m.example.net", A);
	udp_frame(&f, ME, 5000, DNS, 53, msg, len);
	fake_now += 100 * SECOND;
	assert_true(guest_sends(t, &f, NULL));
	assert_told(t, 1, 3, 0);
	assert_int_equal(t->out.count, 0);
	assert_logged(t, "refused name a??31m.example.net\n");
	/* A label with a dot in it is not two labels. */
	start(1, 0x0100, 1, 0);
	memcpy(msg + len, "\xfwww.example.org\0\0\1\0\1", 21);
	msg[len] = 15;
	udp_frame(&f, ME, 5000, DNS, 53, msg, len + 21);
	assert_true(guest_sends(t, &f, NULL));
	assert_int_equal(t->out.count, 0);
	net_end(t);
}

static void test_other_questions(void **state)
{
	struct net *t = net_start("www.example.org");

	ask(t, "www.example.org", TXT, 5000, 7);
	assert_int_equal(t->out.count, 0);
	assert_told(t, 7, 0, 0); /* it has none */
	ask(t, "www.example.org", ANY, 5000, 7);
	assert_int_equal(t->out.count, 0);
	ask(t, "evil.com", TXT, 5000, 8);
	assert_told(t, 8, 3, 0);
	ask(t, "www.example.org", AAAA, 5000, 9);
	assert_int_equal(t->out.count, 1);
	net_end(t);
}

static void test_queries_that_are_none(void **state)
{
	struct net *t = net_start("www.example.org");

	t->in.count = 0;
	start(1, 0x8100, 1, 0); /* an answer */
	put_question("www.example.org", A);
	udp_frame(&f, ME, 5000, DNS, 53, msg, len);
	assert_true(guest_sends(t, &f, NULL));
	assert_int_equal(t->in.count, 0);
	wr16(msg + 2, 0x2800); /* an update */
	udp_frame(&f, ME, 5000, DNS, 53, msg, len);
	assert_true(guest_sends(t, &f, NULL));
	assert_told(t, 1, 4, 0);
	for (u32 cut = 0; cut < len; cut++) {
		start(1, 0x0100, 1, 0);
		put_question("www.example.org", A);
		udp_frame(&f, ME, 5000, DNS, 53, msg, cut);
		assert_true(guest_sends(t, &f, NULL));
	}
	start(1, 0x0100, 2, 0);
	put_question("www.example.org", A);
	put_question("evil.com", A);
	udp_frame(&f, ME, 5000, DNS, 53, msg, len);
	assert_true(guest_sends(t, &f, NULL));
	start(1, 0x0100, 1, 0);
	memcpy(msg + len, "\xc0\x0c\0\1\0\1", 6); /* a name that is itself */
	udp_frame(&f, ME, 5000, DNS, 53, msg, len + 6);
	assert_true(guest_sends(t, &f, NULL));
	start(1, 0x0100, 1, 0);
	put_question("www.example.org", A);
	memset(msg + len, 'x', 100); /* more than was understood: none of it may leave */
	udp_frame(&f, ME, 5000, DNS, 53, msg, len + 100);
	t->out.count = 0;
	assert_true(guest_sends(t, &f, NULL));
	assert_int_equal(t->out.count, 1);
	assert_int_equal(last(&t->out)->len, 14 + 28 + 12 + 21 + 11);
	net_end(t);
}

/* DNS is nowhere but at the virtual resolver, and by UDP. */
static void test_other_resolvers(void **state)
{
	struct net *t = net_start("www.example.org");

	start(1, 0x0100, 1, 0);
	put_question("www.example.org", A);
	t->out.count = 0;
	udp_frame(&f, ME, 5000, "8.8.8.8", 53, msg, len);
	assert_true(guest_sends(t, &f, NULL));
	udp_frame(&f, ME, 5000, "10.0.2.2", 53, msg, len);
	assert_true(guest_sends(t, &f, NULL));
	udp_frame(&f, ME, 5000, DNS, 5353, msg, len);
	assert_true(guest_sends(t, &f, NULL));
	tcp_frame(&f, ME, 5000, DNS, 53, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	tcp_frame(&f, ME, 5000, DNS, 853, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	assert_int_equal(t->out.count, 0);
	net_end(t);
}

static void test_aliases(void **state)
{
	struct net *t = net_start("www.example.org");

	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 5); /* in any order, with things that do not belong */
	put_question("www.example.org", A);
	put_address("edge.cdn.net", 1000, WEB);
	put_address("other.net", 1000, "192.0.2.66");
	put_alias("cdn.net", 50, "edge.cdn.net");
	put_alias("www.example.org", 1000, "CDN.net");
	put_address("cdn.net.example.org", 1000, "192.0.2.67");
	resolver_says(t, 5000);
	assert_told(t, 1, 0, 1);
	assert_true(reaches(t, WEB, 80));
	assert_false(reaches(t, "192.0.2.66", 80));
	assert_false(reaches(t, "192.0.2.67", 80));
	ask(t, "edge.cdn.net", A, 5000, 1); /* the alias does not become a listed name */
	assert_int_equal(t->out.count, 0);
	net_end(t);
}

static void test_time(void **state)
{
	struct net *t = net_start("www.example.org");

	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 2);
	put_question("www.example.org", A);
	put_address("www.example.org", 0, WEB);
	put_address("www.example.org", 1, "192.0.2.5");
	resolver_says(t, 5000);
	fake_now += 59 * SECOND;
	assert_true(reaches(t, WEB, 80));
	tcp_frame(&f, WEB, 80, ME, 30000, SYN | ACK, 1, 2, 0); /* none of ours */
	assert_true(reaches(t, "192.0.2.5", 80));
	fake_now += 400 * SECOND;
	assert_false(reaches(t, WEB, 80));
	assert_false(reaches(t, "192.0.2.5", 80));
	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 1);
	put_question("www.example.org", A);
	put_address("www.example.org", 1000, WEB);
	resolver_says(t, 5000);
	fake_now += 999 * SECOND;
	assert_true(reaches(t, WEB, 80));
	assert_false(reaches(t, "192.0.2.5", 80));
	net_end(t);
}

/* Who is connected stays connected, and may connect again. */
static void test_time_with_connections(void **state)
{
	struct net *t = net_start("www.example.org");

	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 1);
	put_question("www.example.org", A);
	put_address("www.example.org", 60, WEB);
	resolver_says(t, 5000);
	tcp_frame(&f, ME, 1000, WEB, 80, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	tcp_frame(&f, WEB, 80, ME, 1000, SYN | ACK, 1, 2, 0);
	assert_true(host_sends_back(t, &f));
	fake_now += 3600 * SECOND;
	t->out.count = 0;
	tcp_frame(&f, ME, 1000, WEB, 80, ACK, 2, 2, 10);
	assert_true(guest_sends(t, &f, NULL));
	assert_int_equal(t->out.count, 1);
	assert_true(reaches(t, WEB, 80));
	tcp_frame(&f, WEB, 80, ME, 1000, RST, 2, 2, 0);
	assert_true(host_sends_back(t, &f));
	fake_now += 300 * SECOND;
	assert_false(reaches(t, WEB, 80));
	net_end(t);
}

/* A datagram flow is renewed by the rules or by the other side, not by the guest alone. */
static void test_datagrams_end(void **state)
{
	struct net *t = net_start("www.example.org");
	unsigned passed = 0;

	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 1);
	put_question("www.example.org", A);
	put_address("www.example.org", 60, WEB);
	resolver_says(t, 5000);
	t->out.count = 0;
	for (unsigned i = 0; i < 200; i++, fake_now += 10 * SECOND) {
		udp_frame(&f, ME, 1000, WEB, 80, "x", 1);
		assert_true(guest_sends(t, &f, NULL));
		passed = t->out.count;
	}
	assert_in_range(passed, 8, 60); /* of 2000 seconds' worth */
	net_end(t);
}

static void test_addresses_that_no_name_leads_to(void **state)
{
	static const char *const addresses[] = { "127.0.0.1",	    "10.0.2.2",	 "10.0.2.77",	   "0.0.0.0",
						 "169.254.169.254", "224.0.0.1", "255.255.255.255" };
	static const char *const addresses6[] = { "::1",     "::",	"::ffff:127.0.0.1", "fe80::1",
						  "ff02::1", "fec0::2", "::7f00:1" };
	struct net *t = net_start("www.example.org");

	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		ask(t, "www.example.org", A, 5000, 1);
		start(0, 0x8180, 1, 2);
		put_question("www.example.org", A);
		put_address("www.example.org", 60, addresses[i]);
		put_address("www.example.org", 60, WEB);
		resolver_says(t, 5000);
		assert_told(t, 1, 0, 1);
		assert_false(reaches(t, addresses[i], 80));
		ask(t, "www.example.org", AAAA, 5000, 1);
		start(0, 0x8180, 1, 1);
		put_question("www.example.org", AAAA);
		put_address("www.example.org", 60, addresses6[i]);
		resolver_says(t, 5000);
		assert_told(t, 1, 0, 0);
		assert_false(reaches(t, addresses6[i], 80));
	}
	net_end(t);
}

static void test_answers_that_are_none(void **state)
{
	struct net *t = net_start("www.example.org");

	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 1);
	put_question("www.example.org", A);
	put_address("www.example.org", 60, WEB);
	wr16(msg, (u16)(rd16(last(&t->out)->b + 14 + 28) + 1)); /* another id */
	udp_frame(&f, DNS, 53, ME, 5000, msg, len);
	assert_true(host_sends_back(t, &f));
	wr16(msg, rd16(last(&t->out)->b + 14 + 28));
	udp_frame(&f, DNS, 53, ME, 5001, msg, len); /* another port */
	assert_true(host_sends_back(t, &f));
	udp_frame(&f, "10.0.2.2", 53, ME, 5000, msg, len); /* another host */
	assert_true(host_sends_back(t, &f));
	assert_int_equal(t->in.count, 0);
	start(rd16(msg), 0x8180, 1, 1); /* another question */
	put_question("www.example.com", A);
	put_address("www.example.com", 60, WEB);
	udp_frame(&f, DNS, 53, ME, 5000, msg, len);
	assert_true(host_sends_back(t, &f));
	assert_int_equal(t->in.count, 0);
	assert_false(reaches(t, WEB, 80));
	ask(t, "www.example.org", A, 5000, 1); /* too late */
	start(0, 0x8180, 1, 1);
	put_question("www.example.org", A);
	put_address("www.example.org", 60, WEB);
	fake_now += 60 * SECOND;
	resolver_says(t, 5000);
	assert_int_equal(t->in.count, 0);
	/* An answer to no question, once more after the right one. */
	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 0);
	put_question("www.example.org", A);
	resolver_says(t, 5000);
	assert_told(t, 1, 0, 0);
	put_address("www.example.org", 60, WEB);
	wr16(msg + 6, 1);
	resolver_says(t, 5000);
	assert_int_equal(t->in.count, 1);
	assert_false(reaches(t, WEB, 80));
	net_end(t);
}

static void test_failures(void **state)
{
	struct net *t = net_start("www.example.org");
	struct bytes sent;
	u8 *icmp;

	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8183, 1, 0);
	put_question("www.example.org", A);
	resolver_says(t, 5000);
	assert_told(t, 1, 3, 0);
	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8185, 1, 0);
	put_question("www.example.org", A);
	resolver_says(t, 5000);
	assert_told(t, 1, 2, 0);
	ask(t, "www.example.org", A, 5000, 1); /* cut before the first record */
	start(0, 0x8380, 1, 3);
	put_question("www.example.org", A);
	resolver_says(t, 5000);
	assert_told(t, 1, 2, 0);
	ask(t, "www.example.org", A, 5000, 1); /* there is no resolver */
	sent = *last(&t->out);
	icmp = ip_frame(&f, "10.0.2.2", ME, ICMP4, 8 + 28);
	icmp[0] = 3;
	memcpy(icmp + 8, sent.b + 14, 28);
	finish(&f);
	assert_true(host_sends_back(t, &f));
	assert_told(t, 1, 2, 0);
	net_end(t);
}

/* ---- hostile answers ---- */
static void deliver_hostile(struct net *t, const char *what)
{
	resolver_says(t, 5000);
	if (t->in.count > 1)
		fail_msg("%s: more than one answer", what);
	assert_false(reaches(t, "192.0.2.66", 80));
}

static void test_compression(void **state)
{
	static const struct {
		const char *what, *bytes;
		u32 len;
	} cases[] = {
		{ "to itself", "\xc0\x21\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x42", 16 },
		{ "forwards", "\xc0\x23\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x42", 16 },
		{ "a label, then to itself", "\1a\xc0\x21\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x42", 18 },
		{ "past the end", "\xff\xff\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x42", 16 },
		{ "a reserved kind of label", "\x80\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x42", 16 },
		{ "into the header", "\xc0\x00\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x42", 16 },
		{ "half a pointer", "\xc0", 1 },
		{ "half a label",
		  "\x3f"
		  "abc",
		  4 },
		{ "data longer than the message", "\xc0\x0c\0\1\0\1\0\0\0\x3c\xff\xff\xc0\0\2\x42", 16 },
		{ "data too short", "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\3\xc0\0\2", 15 },
		{ "data too long", "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\5\xc0\0\2\x42\x42", 17 },
		{ "another class", "\xc0\x0c\0\1\0\3\0\0\0\x3c\0\4\xc0\0\2\x42", 16 },
		{ "another type", "\xc0\x0c\0\x1c\0\1\0\0\0\x3c\0\4\xc0\0\2\x42", 16 },
		{ "an alias of itself", "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\xc0\x0c", 14 },
		{ "an alias past its data", "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\1\3www", 16 },
	};
	struct net *t = net_start("www.example.org");

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		ask(t, "www.example.org", A, 5000, 1);
		start(0, 0x8180, 1, 0xffff);
		put_question("www.example.org", A);
		assert_int_equal(len, 0x21);
		memcpy(msg + len, cases[i].bytes, cases[i].len);
		len += cases[i].len;
		deliver_hostile(t, cases[i].what);
	}
	/* A pointer that is as it should be. */
	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 1);
	put_question("www.example.org", A);
	memcpy(msg + len, "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x42", 16);
	len += 16;
	resolver_says(t, 5000);
	assert_told(t, 1, 0, 1);
	assert_true(reaches(t, "192.0.2.66", 80));
	net_end(t);
}

static void test_long_chains(void **state)
{
	struct net *t = net_start("www.example.org");
	char from[32], to[32];

	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 61);
	put_question("www.example.org", A);
	strcpy(from, "www.example.org");
	for (unsigned i = 0; i < 30; i++) {
		snprintf(to, sizeof(to), "n%u.net", i);
		put_alias(from, 60, to);
		strcpy(from, to);
	}
	put_address(to, 60, "192.0.2.66");
	deliver_hostile(t, "a chain of 30");
	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 2);
	put_question("www.example.org", A);
	put_alias("www.example.org", 60, "b.net");
	put_alias("b.net", 60, "www.example.org");
	deliver_hostile(t, "a loop");
	assert_int_equal(rd32((u8 *)"\0\0\0\1"), 1);
	net_end(t);
}

static void test_many_addresses(void **state)
{
	struct net *t = net_start("www.example.org");
	const u8 *m;
	u32 n;
	char address[32];

	ask(t, "www.example.org", A, 5000, 1);
	start(0, 0x8180, 1, 100);
	put_question("www.example.org", A);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(address, sizeof(address), "192.0.2.%u", i + 1);
		put_address("www.example.org", 60, address);
	}
	resolver_says(t, 5000);
	answer_of(t, &m, &n);
	assert_in_range(n, 490, 512); /* who asks plainly gets no more */
	assert_in_range(rd16(m + 6), 28, 30);
	assert_int_equal(n, 33 + 16 * rd16(m + 6));
	assert_true(reaches(t, "192.0.2.1", 80));
	assert_true(reaches(t, "192.0.2.28", 80));
	net_end(t);
}

static void test_rule_texts(void **state)
{
	static const char *const good[] = { "a",
					    "a.b:1",
					    "*.a.b:1-2/udp",
					    "1.2.3.4",
					    "1.2.3.0/24",
					    "1.2.3.0/24:80/tcp",
					    "::/0",
					    "2001:db8::1",
					    "[2001:db8::1]:1",
					    "[2001:db8::/32]:1/tcp",
					    "host",
					    "host:1",
					    "under_score.a",
					    "A.B.",
					    "xn--a.b",
					    "1a.b1",
					    "0.0.0.0/0",
					    "2001:db8::/32/udp" };
	static const char *const bad[] = { "",
					   ":",
					   ":80",
					   "a:",
					   "a:0",
					   "a:65536",
					   "a:2-1",
					   "a:1-",
					   "a:x",
					   "a/sctp",
					   "1.2.3",
					   "1.2.3.4.5",
					   "256.1.1.1",
					   "1.2.3.4/33",
					   "1.2.3.4/",
					   "1.2.3.4/x",
					   "::/129",
					   "a..b",
					   ".a",
					   "*",
					   "*.",
					   "a.*.b",
					   "*a.b",
					   "a b",
					   "a,b",
					   "127.0.0.1",
					   "127.0.0.0/8",
					   "::1",
					   "0.0.0.0",
					   "224.0.0.1",
					   "::ffff:1.2.3.4",
					   "fe80::1",
					   "localhost",
					   "[::1",
					   "[1.2.3.4",
					   "a/24",
					   "1.2.3.4/24/24",
					   "é.org",
					   "1.2.3.4/8/tcp/udp" };
	struct error err;

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		struct net_rules r = { 0 };

		if (rules_add(&r, good[i], &err))
			fail_msg("%s", err.text);
		rules_clear(&r);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct net_rules r = { 0 };

		if (rules_add(&r, bad[i], &err) != -EINVAL || !strstr(err.text, "allow="))
			fail_msg("'%s' was taken", bad[i]);
		rules_clear(&r);
	}
	char label[80] = { 0 }, name[400] = { 0 };
	struct net_rules r = { 0 };

	memset(label, 'a', 63);
	assert_int_equal(rules_add(&r, label, &err), 0);
	label[63] = 'a';
	assert_int_equal(rules_add(&r, label, &err), -EINVAL);
	for (unsigned i = 0; i < 300; i++)
		name[i] = i % 2 ? '.' : 'a';
	assert_int_equal(rules_add(&r, name, &err), -EINVAL);
	name[253] = 0;
	assert_int_equal(rules_add(&r, name, &err), 0);
	rules_clear(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_name_is_followed),
		cmocka_unit_test(test_the_query_is_made_anew),
		cmocka_unit_test(test_names_that_are_not_listed),
		cmocka_unit_test(test_other_questions),
		cmocka_unit_test(test_queries_that_are_none),
		cmocka_unit_test(test_other_resolvers),
		cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_time_with_connections),
		cmocka_unit_test(test_datagrams_end),
		cmocka_unit_test(test_addresses_that_no_name_leads_to),
		cmocka_unit_test(test_answers_that_are_none),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_compression),
		cmocka_unit_test(test_long_chains),
		cmocka_unit_test(test_many_addresses),
		cmocka_unit_test(test_rule_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
