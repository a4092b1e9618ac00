/* SPDX-License-Identifier: Apache-2.0 */
/* The store of a PV guest: what it may read and write, watches, transactions, its quotas, and messages that make no sense. */
#include "xen-store-client.h"

#include <sched.h>
#include <time.h>

static unsigned heard;

static void hear(void *arg)
{
	heard++;
}

static int setup(void **state)
{
	guest_start(2);
	client_start();
	heard = 0;
	return 0;
}

static int teardown(void **state)
{
	store_destroy(d);
	guest_stop();
	return 0;
}

static void reads(void **state)
{
	const char *list;

	assert_string_equal(client_ask(XS_READ, "memory/target"), "16384");
	assert_string_equal(client_ask(XS_READ, "/local/domain/1/memory/static-max"), "16384");
	assert_string_equal(client_ask(XS_READ, "control/shutdown"), "");
	assert_int_equal(client.answer.h.type, XS_READ);
	assert_string_equal(client_ask(XS_READ, "cpu/1/availability"), "online");
	assert_string_equal(client_ask(XS_READ, "domid"), "1");
	assert_string_equal(client_ask(XS_READ, "nothing"), "ENOENT");
	assert_string_equal(client_ask(XS_DIRECTORY, "backend"), "ENOENT");
	list = client_ask(XS_DIRECTORY, "cpu");
	assert_int_equal(client.answer.h.len, 4);
	assert_memory_equal(list, "0\0001", 4);
	assert_string_equal(client_ask(XS_GET_DOMAIN_PATH, "0"), "/local/domain/0");
	assert_string_equal(client_ask(XS_IS_DOMAIN_INTRODUCED, "1"), "T");
	assert_string_equal(client_ask(XS_IS_DOMAIN_INTRODUCED, "9"), "F");
	assert_string_equal(client_ask(XS_GET_PERMS, "data"), "n1");
	assert_memory_equal(client.answer.payload, "n1\0r0", 6);
}

static void writes_what_is_its_own(void **state)
{
	char text[32];

	assert_string_equal(client_write("control/feature-poweroff", "1"), "OK");
	assert_true(store_read(d, STORE_HOME "/control/feature-poweroff", text, sizeof(text)));
	assert_string_equal(text, "1");
	assert_string_equal(client_write("data/a/b/c", "deep"), "OK");
	assert_string_equal(client_ask(XS_READ, "data/a/b/c"), "deep");
	assert_string_equal(client_ask(XS_READ, "data/a"), "");
	assert_string_equal(client_ask(XS_MKDIR, "data/d"), "OK");
	assert_string_equal(client_ask(XS_MKDIR, "data/d"), "OK");
	assert_string_equal(client_ask(XS_RM, "data/a"), "OK");
	assert_string_equal(client_ask(XS_RM, "data/a"), "OK"); /* it is gone */
	assert_string_equal(client_ask(XS_RM, "data/a/b"), "ENOENT");
	assert_string_equal(client_ask(XS_READ, "data/a/b/c"), "ENOENT");
	/* What is domain 0's. */
	assert_string_equal(client_write("memory/target", "1"), "EACCES");
	assert_string_equal(client_write("device/vbd/51712/backend", "x"), "EACCES");
	assert_string_equal(client_write("/local/domain/0/backend/vbd/1/1/state", "4"), "EACCES");
	assert_string_equal(client_write("/x", "1"), "EACCES");
	assert_string_equal(client_ask(XS_MKDIR, "new"), "EACCES");
	assert_string_equal(client_ask(XS_RM, "memory"), "EACCES");
	assert_string_equal(client_ask(XS_RM, "/"), "EACCES");
	assert_string_equal(client_ask(XS_CONTROL, "print"), "EACCES");
	assert_string_equal(client_ask(XS_INTRODUCE, "1"), "EACCES");
}

static void permissions(void **state)
{
	assert_string_equal(client_write("data/x", "1"), "OK");
	assert_string_equal(client_call(XS_SET_PERMS, "data/x\0n1\0r7\0b0", 16), "OK");
	client_ask(XS_GET_PERMS, "data/x");
	assert_memory_equal(client.answer.payload, "n1\0r7\0b0", 9);
	assert_string_equal(client_call(XS_SET_PERMS, "data/x\0n0", 10), "EPERM");
	assert_string_equal(client_call(XS_SET_PERMS, "data/x\0q1", 10), "EINVAL");
	assert_string_equal(client_call(XS_SET_PERMS, "data/x\0n", 9), "EINVAL");
	assert_string_equal(client_call(XS_SET_PERMS, "data/x\0n99999999999999999999", 28), "EINVAL");
	assert_string_equal(client_call(XS_SET_PERMS, "data/x", 7), "EINVAL");
	assert_string_equal(client_call(XS_SET_PERMS, "data/x\0n1\0r2\0r3\0r4\0r5\0r6", 25), "ENOSPC");
	assert_string_equal(client_call(XS_SET_PERMS, "memory\0n1", 10), "EACCES");
	/* A node that it may not even look at hides what is below. */
	assert_int_equal(store_write(d, "/local/domain/0/secret/key", "1"), 0);
	assert_string_equal(client_ask(XS_READ, "/local/domain/0/secret/key"), "1");
}

static void watches(void **state)
{
	assert_string_equal(client_watch(XS_WATCH, "data", "t1"), "OK");
	assert_string_equal(client_event("t1"), "data"); /* at once */
	assert_string_equal(client_watch(XS_WATCH, "/local/domain/1/data", "t2"), "OK");
	assert_string_equal(client_event("t2"), "/local/domain/1/data");
	assert_string_equal(client_watch(XS_WATCH, "data", "t1"), "EEXIST");
	assert_string_equal(client_write("data/k", "v"), "OK");
	assert_string_equal(client_event("t1"), "data/k");
	assert_string_equal(client_event("t2"), "/local/domain/1/data/k");
	assert_null(client_event("t1"));
	assert_string_equal(client_write("database", "v"), "EACCES"); /* of like name, and not below */
	store_write(d, STORE_HOME "/database", "1");
	assert_null(client_event("t1"));
	assert_string_equal(client_watch(XS_WATCH, "data/k/deeper", "t3"), "OK");
	assert_string_equal(client_event("t3"), "data/k/deeper");
	assert_string_equal(client_ask(XS_RM, "data/k"), "OK");
	assert_string_equal(client_event("t3"), "data/k/deeper"); /* it went along */
	assert_string_equal(client_watch(XS_UNWATCH, "data", "t9"), "ENOENT");
	assert_string_equal(client_watch(XS_UNWATCH, "data", "t1"), "OK");
	assert_string_equal(client_watch(XS_WATCH, "memory/target", "m"), "OK");
	assert_string_equal(client_event("m"), "memory/target");
	toolstack_set_balloon(d, 4 << 20);
	guest_settle();
	assert_string_equal(client_event("m"), "memory/target");
	assert_string_equal(client_ask(XS_READ, "memory/target"), "12288");
	assert_string_equal(client_ask(XS_RESET_WATCHES, ""), "OK");
	toolstack_set_balloon(d, 0);
	assert_null(client_event("m"));
}

static void we_watch_too(void **state)
{
	struct store_watch w = { .path = STORE_HOME "/data/x", .fn = hear };

	store_add_watch(d, &w);
	client_write("data/x", "1");
	assert_int_equal(heard, 1);
	client_write("data/x/y", "1");
	client_write("data/z", "1");
	assert_int_equal(heard, 2);
	client_ask(XS_RM, "data");
	assert_int_equal(heard, 3);
	store_remove_watch(d, &w);
	store_write(d, STORE_HOME "/data/x", "1");
	assert_int_equal(heard, 3);
}

static void transactions(void **state)
{
	u32 first;

	client_watch(XS_WATCH, "data", "t");
	client_event("t");
	client_begin();
	assert_string_equal(client_write("data/a", "1"), "OK");
	assert_string_equal(client_ask(XS_READ, "data/a"), "1");
	assert_string_equal(client_ask(XS_TRANSACTION_START, ""), "EBUSY");
	assert_string_equal(client_end("X"), "EINVAL");
	assert_string_equal(client_ask(XS_READ, "data/a"), "ENOENT"); /* outside it is not there */
	assert_null(client_event("t"));
	client_begin();
	first = client.tx;
	client_write("data/a", "1");
	client_write("data/b", "2");
	assert_string_equal(client_end("T"), "OK");
	assert_string_equal(client_ask(XS_READ, "data/b"), "2");
	assert_string_equal(client_event("t"), "data/a");
	assert_string_equal(client_event("t"), "data/b");
	/* Dropped, or overtaken. */
	client_begin();
	assert_int_not_equal(client.tx, first);
	client_write("data/a", "lost");
	assert_string_equal(client_end("F"), "OK");
	assert_string_equal(client_ask(XS_READ, "data/a"), "1");
	client_begin();
	client_write("data/a", "late");
	store_write(d, STORE_HOME "/data/c", "3");
	assert_string_equal(client_end("T"), "EAGAIN");
	assert_string_equal(client_ask(XS_READ, "data/a"), "1");
	/* One that only reads is never late. */
	client_begin();
	client_ask(XS_READ, "data/a");
	store_write(d, STORE_HOME "/data/c", "4");
	assert_string_equal(client_ask(XS_READ, "data/c"), "3");
	assert_string_equal(client_end("T"), "OK");
	client.tx = first;
	assert_string_equal(client_ask(XS_READ, "data/a"), "ENOENT");
	assert_string_equal(client_ask(XS_TRANSACTION_END, "T"), "ENOENT");
	client.tx = 0;
}

static void quotas(void **state)
{
	static char big[XENSTORE_PAYLOAD_MAX], path[64];
	unsigned n = 0;

	memset(big, 'v', sizeof(big));
	memcpy(big, "data/v", 7);
	assert_string_equal(client_call(XS_WRITE, big, 7 + 2048), "OK");
	assert_string_equal(client_call(XS_WRITE, big, 7 + 2049), "ENOSPC");
	while (snprintf(path, sizeof(path), "data/n/%u", n) && !strcmp(client_write(path, "1"), "OK") && n < 2000)
		n++;
	assert_string_equal(client.answer.payload, "ENOSPC");
	assert_in_range(n, 900, 1000);
	assert_string_equal(client_ask(XS_RM, "data/n/7"), "OK");
	assert_string_equal(client_write(path, "1"), "OK");
	assert_string_equal(client_write("data/more", "1"), "ENOSPC");
	for (n = 0; n < 200; n++) {
		snprintf(path, sizeof(path), "token%u", n);
		if (strcmp(client_watch(XS_WATCH, "data", path), "OK"))
			break;
	}
	assert_int_equal(n, 128);
	assert_string_equal(client.answer.payload, "E2BIG");
	client_ask(XS_RESET_WATCHES, "");
	for (n = 0; n < 20 && strcmp(client_ask(XS_TRANSACTION_START, ""), "ENOSPC"); n++)
		;
	assert_int_equal(n, 10);
	/* And a transaction has so many changes at most. */
	client_ask(XS_RESET_WATCHES, "");
	client_begin();
	for (n = 0; n < 1000 && !strcmp(client_write("data/v", "1"), "OK"); n++)
		;
	assert_int_equal(n, 256);
	assert_string_equal(client_end("T"), "OK");
}

static void long_directories_come_in_parts(void **state)
{
	unsigned n = 0;
	u64 offset = 0;
	char name[256], ask[300];

	for (; n < 60; n++) {
		snprintf(name, sizeof(name), "data/n/%0100u", n);
		assert_string_equal(client_write(name, ""), "OK");
	}
	assert_string_equal(client_ask(XS_DIRECTORY, "data/n"), "E2BIG");
	for (n = 0;;) {
		int len = snprintf(ask, sizeof(ask), "data/n%c%llu", 0, (unsigned long long)offset);
		const char *p = client_call(XS_DIRECTORY_PART, ask, (u32)len + 1);
		const char *end = p + client.answer.h.len;

		assert_int_equal(client.answer.h.type, XS_DIRECTORY_PART);
		for (p += strlen(p) + 1; p < end && *p; p += strlen(p) + 1, n++) {
			assert_int_equal(atoi(p), n);
			offset += strlen(p) + 1;
		}
		if (p < end)
			break;
	}
	assert_int_equal(n, 60);
	assert_string_equal(client_ask(XS_DIRECTORY_PART, "data/n"), "EINVAL");
}

static void bad_paths(void **state)
{
	static const char *const bad[] = {
		"", "data//x", "data/", "data/ x", "data/\xff", "/local/domain/1/data/", "//"
	};
	static char long_path[XENSTORE_PAYLOAD_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_string_equal(client_write(bad[i], "1"), "EINVAL");
	memset(long_path, 'a', sizeof(long_path));
	memcpy(long_path, "data/", 5);
	assert_string_equal(client_call(XS_READ, long_path, 4096), "EINVAL"); /* it does not end */
	long_path[2049] = 0;
	assert_string_equal(client_ask(XS_READ, long_path), "EINVAL");
	long_path[2048] = 0;
	assert_string_equal(client_ask(XS_READ, long_path), "ENOENT");
	long_path[2048] = long_path[2049] = 'a';
	long_path[0] = '/';
	long_path[3073] = 0;
	assert_string_equal(client_ask(XS_READ, long_path), "EINVAL");
	assert_string_equal(client_call(XS_WRITE, "data", 4), "EINVAL");
	assert_string_equal(client_call(XS_WRITE, "", 0), "EINVAL");
	assert_string_equal(client_call(XS_WATCH, "data\0token", 10), "EINVAL"); /* no end */
	assert_string_equal(client_call(XS_WATCH, "data", 5), "EINVAL");
	assert_string_equal(client_call(77, "data", 5), "ENOSYS");
	assert_string_equal(client_call(XS_ERROR, "data", 5), "ENOSYS");
	assert_string_equal(client_ask(XS_READ, "data"), "");
}

/* Deeper than any program's stack likes, if it were careless. */
static void deep_paths(void **state)
{
	char path[2048] = "data";

	for (unsigned i = 0; i < 900; i++)
		strcat(path, "/d");
	assert_string_equal(client_write(path, "1"), "OK");
	client_begin();
	assert_string_equal(client_ask(XS_READ, path), "1");
	assert_string_equal(client_end("F"), "OK");
	assert_string_equal(client_ask(XS_RM, "data/d"), "OK");
	assert_string_equal(client_write("data/x", "1"), "OK");
}

static void protocol_errors(void **state)
{
	struct xsd_sockmsg h = { XS_READ, 1, 0, XENSTORE_PAYLOAD_MAX + 1 };

	client_put(&h, sizeof(h));
	assert_int_equal(store_page()->error, XENSTORE_ERROR_PROTO);
	assert_string_equal(client_ask(XS_READ, "data"), "no answer");
}

static void bad_indices(void **state)
{
	store_page()->req_prod = 2000;
	guest_send(store_port(d));
	assert_int_equal(store_page()->error, XENSTORE_ERROR_RINGIDX);
	store_write(d, STORE_HOME "/data/x", "1");
	guest_settle();
}

static void bad_answer_index(void **state)
{
	store_page()->rsp_cons = 0x80000000;
	client_send(XS_READ, "data", 5);
	assert_int_equal(store_page()->error, XENSTORE_ERROR_RINGIDX);
}

/* Answers that are not fetched stop the guest, and nothing else; events that are not fetched are lost at some point. */
static void does_not_read(void **state)
{
	static char value[2000];
	struct xenstore_domain_interface *p = store_page();

	memset(value, 'x', sizeof(value) - 1);
	client_watch(XS_WATCH, "data", "t");
	client_write("data/big", value);
	while (client_event("t"))
		;
	client_send(XS_READ, "data/big", 9);
	client_send(XS_READ, "data/big", 9);
	assert_int_equal(p->rsp_prod - p->rsp_cons, XENSTORE_RING_SIZE);
	for (unsigned i = 0; i < 20000; i++)
		store_write(d, STORE_HOME "/data/many", "%u", i);
	guest_settle();
	assert_int_not_equal(p->req_prod, p->req_cons); /* the second waits */
	assert_true(client_receive(&client.answer));
	assert_int_equal(client.answer.h.len, sizeof(value) - 1);
	while (client_receive(&client.answer) && client.answer.h.type == XS_WATCH_EVENT)
		;
	assert_int_equal(client.answer.h.type, XS_READ);
}

/* ---- a guest that says no more than it has to, as Linux' does ---- */

#define ROUNDS 1000u
#define SPINS  100000u /* before others have the CPU: the two sides are to meet, also where there is but one */

static _Atomic bool quiet_done, quiet_stuck;

static void quiet_notify(void)
{
	u32 port = store_port(d);

	machine_write(m, 0x8000, &port, sizeof(port));
	hypercall_event_channel_op(m->vcpu[1], (u64[6]){ 4 /* EVTCHNOP_send */, 0x8000 });
}

/* Waits until *theirs is not what it was. */
static u32 quiet_wait(const u32 *theirs, u32 was)
{
	time_t end = time(NULL) + 20;
	u32 now, spins = 0;

	while ((now = __atomic_load_n(theirs, __ATOMIC_SEQ_CST)) == was && !quiet_stuck) {
		if (++spins % SPINS)
			continue;
		quiet_stuck = time(NULL) > end;
		sched_yield();
	}
	return now;
}

/* In pieces that end at the ring's end, and with a notification only if all before had been taken. */
static void quiet_write(const void *bytes, u32 len)
{
	struct xenstore_domain_interface *p = store_page();
	const u8 *from = bytes;

	while (len && !quiet_stuck) {
		u32 prod = p->req_prod, cons = __atomic_load_n(&p->req_cons, __ATOMIC_SEQ_CST);
		u32 at = MASK_XENSTORE_IDX(prod),
		    n = MIN(len, MIN(XENSTORE_RING_SIZE - (prod - cons), XENSTORE_RING_SIZE - at));

		if (!n) {
			quiet_wait(&p->req_cons, cons);
			continue;
		}
		memcpy(p->req + at, from, n);
		from += n;
		len -= n;
		__atomic_store_n(&p->req_prod, prod + n, __ATOMIC_SEQ_CST);
		if ((s32)(prod - __atomic_load_n(&p->req_cons, __ATOMIC_SEQ_CST)) <= 0)
			quiet_notify();
	}
}

static void quiet_read(u32 len)
{
	struct xenstore_domain_interface *p = store_page();

	while (len && !quiet_stuck) {
		u32 cons = p->rsp_cons, n = MIN(len, quiet_wait(&p->rsp_prod, cons) - cons);

		len -= n;
		__atomic_store_n(&p->rsp_cons, cons + n, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&p->rsp_prod, __ATOMIC_SEQ_CST) - cons >= XENSTORE_RING_SIZE)
			quiet_notify();
	}
}

static void *quiet_guest(void *arg)
{
	static const char path[] = "data/long";
	struct xsd_sockmsg h = { .type = XS_READ, .len = sizeof(path) };

	for (unsigned i = 0; i < ROUNDS && !quiet_stuck; i++) {
		quiet_write(&h, sizeof(h));
		quiet_write(path, 4);
		quiet_write(path + 4, sizeof(path) - 4);
		quiet_read(sizeof(h) + 1500);
	}
	quiet_done = true;
	return NULL;
}

static void hears_a_quiet_guest(void **state)
{
	char value[1501];
	pthread_t guest;

	memset(value, 'x', 1500);
	value[1500] = 0;
	client_write("data/long", value);
	quiet_done = quiet_stuck = false;
	assert_int_equal(pthread_create(&guest, NULL, quiet_guest, NULL), 0);
	for (u32 spins = 1; !quiet_done; spins++) {
		clock_run_timers(m->clock);
		if (spins % SPINS == 0)
			sched_yield();
	}
	pthread_join(guest, NULL);
	assert_false(quiet_stuck);
}

static void random_bytes(void **state)
{
	struct xenstore_domain_interface *p = store_page();
	u64 seed = 12345;

	for (unsigned round = 0; round < 2000; round++) {
		for (unsigned i = 0; i < 40; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			p->req[MASK_XENSTORE_IDX(p->req_prod++)] = (char)(i % 16 == 0 ? seed >> 60
									  : i % 4     ? 0
										      : seed >> 58);
		}
		guest_send(store_port(d));
		p->rsp_cons = p->rsp_prod;
		if (p->error) {
			store_destroy(d);
			memset(p, 0, PAGE_SIZE);
			client_start();
		}
	}
}

static void shuts_down(void **state)
{
	assert_false(toolstack_shutdown(d, "poweroff"));
	client_write("control/feature-poweroff", "1");
	client_watch(XS_WATCH, "control/shutdown", "s");
	client_event("s");
	assert_true(toolstack_shutdown(d, "poweroff"));
	guest_settle();
	assert_string_equal(client_event("s"), "control/shutdown");
	assert_string_equal(client_ask(XS_READ, "control/shutdown"), "poweroff");
	assert_string_equal(client_write("control/shutdown", ""), "OK");
}

static void sink_write(struct text *t, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_true((u8)s[i] >= ' ' || s[i] == '\n');
}

static void prints_for_people(void **state)
{
	struct text out = { sink_write };

	client_write("data/esc", "\x1b[2J\x07");
	store_print(d, &out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_what_is_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(permissions, setup, teardown),
		cmocka_unit_test_setup_teardown(watches, setup, teardown),
		cmocka_unit_test_setup_teardown(we_watch_too, setup, teardown),
		cmocka_unit_test_setup_teardown(transactions, setup, teardown),
		cmocka_unit_test_setup_teardown(quotas, setup, teardown),
		cmocka_unit_test_setup_teardown(long_directories_come_in_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(deep_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(protocol_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_indices, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_answer_index, setup, teardown),
		cmocka_unit_test_setup_teardown(does_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(hears_a_quiet_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(random_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(shuts_down, setup, teardown),
		cmocka_unit_test_setup_teardown(prints_for_people, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
