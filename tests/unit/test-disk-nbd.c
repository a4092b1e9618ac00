/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks behind an NBD server of the test's own, which works, or lies, garbles, falls silent or dies, in the handshake and
 * later: opening ends with an error, requests with -EIO, nothing hangs, and no answer is written where it should not.
 */
#include "disk-util.h"

#include <endian.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SIZE	   (1u << 20)
#define OPTION_MAX 4096

#define NBD_OPT_GO	   7
#define NBD_REP_ACK	   1
#define NBD_REP_INFO	   3
#define NBD_REP_UNSUP	   0x80000001u
#define FLAGS_ALL	   (1 | 4 | 8 | 32 | 64) /* has flags, flush, FUA, trim, write zeroes */
#define FLAG_READ_ONLY	   2
#define FLAG_FLUSH	   4
#define FLAG_FUA	   8
#define FLAG_ZEROES	   64
#define CMD_FUA		   1
#define CMD_NO_HOLE	   2
#define SIMPLE_REPLY_MAGIC 0x67446698u

enum { READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, ZEROES };

enum fault { /* what the server does to the request after `good` good ones */
	     NONE,
	     DIE,
	     SILENT,
	     BAD_MAGIC,
	     BAD_COOKIE,
	     ERROR,
	     HALF_DATA, /* and then nothing more */
	     HALF_DATA_DIE,
	     MORE_DATA, /* than was asked for */
	     TWICE,
	     GARBAGE,
	     /* in the handshake */
	     HELLO_SILENT,
	     HELLO_GARBAGE,
	     HELLO_DIE,
	     OPTION_GARBAGE,
	     OPTION_SILENT
};

struct server {
	enum fault fault;
	unsigned good;
	u64 size; /* that it tells; it has SIZE bytes */
	u16 flags;
	u32 min, max; /* block sizes; 0: it does not tell */
	u32 error; /* of ERROR */
	int listener;
	pthread_t thread;
	u8 *data;
	/* what it has seen */
	unsigned commands[8], fua, no_hole;
};

static bool get(int fd, void *p, size_t n)
{
	return !n || recv(fd, p, n, MSG_WAITALL) == (ssize_t)n;
}

static bool put(int fd, const void *p, size_t n)
{
	return send(fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* Until the client gives up. */
static bool silence(int fd)
{
	u8 byte[256];

	while (recv(fd, byte, sizeof(byte), 0) > 0)
		;
	return false;
}

static bool garbage(int fd)
{
	u8 junk[65536];

	for (unsigned i = 0; i < sizeof(junk); i++)
		junk[i] = (u8)(i * 7 + 1);
	put(fd, junk, sizeof(junk));
	return silence(fd);
}

struct __attribute__((packed)) option {
	u64 magic;
	u32 option, len;
};
struct __attribute__((packed)) option_reply {
	u64 magic;
	u32 option, type, len;
};
struct __attribute__((packed)) info_export {
	u16 type;
	u64 size;
	u16 flags;
};
struct __attribute__((packed)) info_blocks {
	u16 type;
	u32 min, best, max;
};
struct __attribute__((packed)) request {
	u32 magic;
	u16 flags, type;
	u64 cookie, offset;
	u32 len;
};
struct __attribute__((packed)) reply {
	u32 magic, error;
	u64 cookie;
};

static bool answer_option(int fd, u32 option, u32 type, const void *data, u32 len)
{
	struct option_reply r = { htobe64(0x3e889045565a9ull), htobe32(option), htobe32(type), htobe32(len) };

	return put(fd, &r, sizeof(r)) && (!len || put(fd, data, len));
}

static bool go(struct server *s, int fd, u32 option)
{
	struct info_export e = { 0, htobe64(s->size), htobe16(s->flags) };
	struct info_blocks b = { htobe16(3), htobe32(s->min), htobe32(MAX(s->min, 4096)), htobe32(s->max) };

	return answer_option(fd, option, NBD_REP_INFO, &e, sizeof(e)) &&
	       (!s->max || answer_option(fd, option, NBD_REP_INFO, &b, sizeof(b))) &&
	       answer_option(fd, option, NBD_REP_ACK, NULL, 0);
}

static bool handshake(struct server *s, int fd)
{
	static const u8 hello[] = "NBDMAGICIHAVEOPT\0\3";
	u8 data[OPTION_MAX];
	struct option o;
	u32 flags;

	if (s->fault == HELLO_SILENT)
		return silence(fd);
	if (s->fault == HELLO_GARBAGE)
		return garbage(fd);
	if (s->fault == HELLO_DIE || !put(fd, hello, 18) || !get(fd, &flags, 4))
		return false;
	for (;;) {
		if (!get(fd, &o, sizeof(o)) || be32toh(o.len) > sizeof(data) || !get(fd, data, be32toh(o.len)))
			return false;
		if (s->fault == OPTION_SILENT)
			return silence(fd);
		if (s->fault == OPTION_GARBAGE)
			return garbage(fd);
		if (be32toh(o.option) == NBD_OPT_GO)
			return go(s, fd, be32toh(o.option));
		if (!answer_option(fd, be32toh(o.option), NBD_REP_UNSUP, NULL, 0))
			return false;
	}
}

static bool answer(struct server *s, int fd, const struct request *q, enum fault fault)
{
	u32 len = be32toh(q->len), n = len;
	u64 offset = be64toh(q->offset);
	struct reply r = { htobe32(SIMPLE_REPLY_MAGIC), 0, q->cookie };
	bool is_read = be16toh(q->type) == READ;

	switch (fault) {
	case DIE: return false;
	case SILENT: return silence(fd);
	case GARBAGE: return garbage(fd);
	case BAD_MAGIC: r.magic = 1; break;
	case BAD_COOKIE: r.cookie ^= ~0ull; break;
	case ERROR: r.error = htobe32(s->error); return put(fd, &r, sizeof(r));
	case HALF_DATA:
	case HALF_DATA_DIE: n = len / 2; break;
	default: break;
	}
	if (offset > SIZE || len > SIZE - offset) {
		r.error = htobe32(EINVAL);
		return put(fd, &r, sizeof(r));
	}
	if (!put(fd, &r, sizeof(r)) || (is_read && !put(fd, s->data + offset, n)))
		return false;
	if (fault == MORE_DATA)
		return put(fd, s->data, 4096);
	if (fault == TWICE)
		return put(fd, &r, sizeof(r)) && (!is_read || put(fd, s->data + offset, n));
	return fault == HALF_DATA ? silence(fd) : fault != HALF_DATA_DIE;
}

static bool serve_one(struct server *s, int fd, unsigned count)
{
	struct request q;
	u64 offset;
	u32 len;
	unsigned type;

	if (!get(fd, &q, sizeof(q)))
		return false;
	type = be16toh(q.type);
	offset = be64toh(q.offset);
	len = be32toh(q.len);
	s->commands[MIN(type, 7u)]++;
	s->fua += be16toh(q.flags) & CMD_FUA;
	s->no_hole += !!(be16toh(q.flags) & CMD_NO_HOLE);
	if (type == DISCONNECT)
		return false;
	if (offset <= SIZE && len <= SIZE - offset) {
		if (type == WRITE && !get(fd, s->data + offset, len))
			return false;
		if (type == ZEROES)
			memset(s->data + offset, 0, len);
	}
	return answer(s, fd, &q, count >= s->good ? s->fault : NONE);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->listener, NULL, NULL);

	if (fd < 0)
		return NULL;
	if (handshake(s, fd))
		for (unsigned n = 0; serve_one(s, fd, n); n++)
			;
	close(fd);
	return NULL;
}

static void server_start(struct server *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", disk_path("nbd"));
	unlink(a.sun_path);
	s->size = s->size ? s->size : SIZE;
	s->data = calloc(1, SIZE + 4096);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (void *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->listener, 1), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

/* From here on what it has seen is complete. */
static void server_join(struct server *s)
{
	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
}

static void server_end(struct server *s)
{
	server_join(s);
	free(s->data);
}

static struct blockdev *connect_to(struct error *err, const char *words)
{
	return disk_try(err, "nbd+unix:///?socket=%s%s", disk_path("nbd"), words);
}

static struct blockdev *open_server(struct server *s, const char *words)
{
	struct blockdev *b;
	struct error err;

	server_start(s);
	b = connect_to(&err, words);
	if (!b)
		fail_msg("%s", err.text);
	return b;
}

static void exercise_server(struct server s)
{
	u8 *model = calloc(1, SIZE);
	struct blockdev *b = open_server(&s, "");

	assert_int_equal(b->info.size, SIZE);
	disk_exercise(b, model, 7, 2000);
	blockdev_destroy(b);
	server_join(&s);
	assert_memory_equal(s.data, model, SIZE);
	assert_int_equal(s.commands[DISCONNECT], 1);
	free(s.data);
	free(model);
}

static void test_works(void **state)
{
	exercise_server((struct server){ .flags = FLAGS_ALL });
	exercise_server((struct server){ .flags = FLAGS_ALL & ~FLAG_ZEROES });
	exercise_server((struct server){ .flags = FLAGS_ALL, .min = 4096, .max = 65536 });
	exercise_server((struct server){ .flags = FLAGS_ALL, .min = 1, .max = 4096 });
	exercise_server((struct server){ .flags = 1 });
}

/* A flush is a flush; without one at the server, each write is durable by itself. */
static void test_flush(void **state)
{
	struct server s = { .flags = FLAGS_ALL }, t = { .flags = FLAGS_ALL & ~FLAG_FLUSH };
	struct blockdev *b = open_server(&s, "");
	u8 data[512] = { 0 };

	assert_int_equal(disk_do(b, DISK_WRITE, 0, 512, data), 0);
	assert_int_equal(s.commands[FLUSH], 0);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(s.commands[FLUSH], 1);
	assert_int_equal(disk_do(b, DISK_WRITE_ZEROES, 0, 512, NULL), 0);
	assert_int_equal(s.no_hole, 1);
	assert_int_equal(s.fua, 0);
	blockdev_destroy(b);
	server_end(&s);

	b = open_server(&t, "");
	assert_int_equal(disk_do(b, DISK_WRITE, 0, 512, data), 0);
	assert_int_equal(t.fua, 1);
	assert_int_equal(disk_do(b, DISK_WRITE_ZEROES, 0, 512, NULL), 0);
	assert_int_equal(t.fua, 2);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(t.commands[FLUSH], 0);
	blockdev_destroy(b);
	server_end(&t);
}

static void test_readonly(void **state)
{
	struct server s = { .flags = FLAGS_ALL | FLAG_READ_ONLY };
	struct blockdev *b;
	struct error err;
	u8 data[512];

	server_start(&s);
	assert_null(connect_to(&err, ""));
	assert_non_null(strstr(err.text, "readonly=on"));
	server_end(&s);
	b = open_server(&s, ",readonly=on");
	assert_int_equal(disk_do(b, DISK_READ, 0, 512, data), 0);
	assert_int_equal(disk_do(b, DISK_WRITE, 0, 512, data), -EROFS);
	blockdev_destroy(b);
	server_end(&s);
	b = open_server(&s, ",snapshot=on");
	memset(data, 3, sizeof(data));
	assert_int_equal(disk_do(b, DISK_WRITE, 0, 512, data), 0);
	blockdev_destroy(b);
	assert_int_equal(s.data[0], 0);
	server_end(&s);
}

static void not_opened(struct server s, const char *words, const char *says)
{
	struct error err;

	server_start(&s);
	if (connect_to(&err, words))
		fail_msg("opened: fault %d, size %llx, blocks of %u to %u", s.fault, (unsigned long long)s.size, s.min,
			 s.max);
	if (!strstr(err.text, says))
		fail_msg("not '%s': %s", says, err.text);
	server_end(&s);
}

static void test_handshake(void **state)
{
	const struct server ok = { .flags = FLAGS_ALL };
	struct server s = ok;
	struct error err;

	for (s.fault = HELLO_GARBAGE; s.fault <= OPTION_GARBAGE; s.fault++)
		not_opened(s, ",timeout=60", "");
	s.fault = HELLO_SILENT;
	not_opened(s, ",timeout=1", "not answered");
	s.fault = OPTION_SILENT;
	not_opened(s, ",timeout=1", "not answered");
	s = ok;
	s.size = 511;
	not_opened(s, "", "size");
	s.size = 1ull << 63;
	not_opened(s, "", "");
	s.size = ~0ull;
	not_opened(s, "", "");
	s = ok;
	s.min = 1 << 16;
	s.max = 1 << 20;
	not_opened(s, "", "");
	unlink(disk_path("nbd"));
	assert_null(connect_to(&err, ""));
	assert_null(disk_try(&err, "nbd://127.0.0.1:1/"));
	assert_non_null(strstr(err.text, "nbd://127.0.0.1:1/"));
	assert_null(disk_try(&err, "nbds://127.0.0.1:1/"));
	assert_non_null(strstr(err.text, "tls-certificates"));
	assert_null(disk_try(&err, "nbd://"));
	assert_null(disk_try(&err, "nbd+unix://"));
}

/* A disk that is larger than what is behind it: errors there, and only there. */
static void test_too_large(void **state)
{
	struct server s = { .flags = FLAGS_ALL, .size = (1ull << 62) + 700 };
	struct blockdev *b = open_server(&s, "");
	u8 data[1024];

	assert_int_equal(b->info.size, (1ull << 62) + 512);
	assert_int_equal(disk_do(b, DISK_READ, SIZE - 512, 1024, data), -EIO);
	assert_int_equal(disk_do(b, DISK_READ, 1ull << 62, 512, data), -EIO);
	assert_int_equal(disk_do(b, DISK_READ, (1ull << 62) + 512, 512, data), -EINVAL);
	assert_int_equal(disk_do(b, DISK_READ, SIZE - 512, 512, data), 0);
	blockdev_destroy(b);
	server_end(&s);
}

static void test_errors(void **state)
{
	static const int errors[][2] = {
		{ EIO, -EIO }, { ENOSPC, -ENOSPC }, { EPERM, -EROFS }, { EINVAL, -EIO }, { 12345, -EIO }
	};

	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		struct server s = { .flags = FLAGS_ALL, .fault = ERROR, .error = (u32)errors[i][0] };
		struct blockdev *b = open_server(&s, "");
		u8 data[512] = { 0 };

		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(disk_do(b, DISK_WRITE, 0, 512, data), errors[i][1]);
		blockdev_destroy(b);
		server_end(&s);
	}
}

/* Many requests under way when it happens: each ends, the first in its turn, the others with an error. */
#define CROWD 40
struct crowd {
	struct disk_request r[CROWD];
	struct iovec iov[CROWD];
	u8 memory[CROWD][8192];
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned ended, failed;
};

static void crowd_done(struct disk_request *r, int error)
{
	struct crowd *c = r->arg;

	pthread_mutex_lock(&c->lock);
	c->ended++;
	c->failed += error == -EIO;
	assert_true(!error || error == -EIO);
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

static void crowd(enum fault fault, unsigned good, enum disk_op op)
{
	struct server s = { .flags = FLAGS_ALL, .fault = fault, .good = good };
	struct crowd *c = calloc(1, sizeof(*c));
	struct blockdev *b = open_server(&s, ",timeout=1");
	u8 data[512];

	disk_reports = 0;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
	for (unsigned i = 0; i < CROWD; i++) {
		memset(c->memory[i], 0xee, sizeof(c->memory[i]));
		c->iov[i] = (struct iovec){ c->memory[i], 4096 };
		c->r[i] = (struct disk_request){ .op = op,
						 .offset = i * 4096,
						 .len = 4096,
						 .iov = &c->iov[i],
						 .iovs = 1,
						 .done = crowd_done,
						 .arg = c };
		b->ops->submit(b, &c->r[i]);
	}
	pthread_mutex_lock(&c->lock);
	while (c->ended < CROWD)
		pthread_cond_wait(&c->cond, &c->lock);
	pthread_mutex_unlock(&c->lock);
	assert_true(c->failed > 0 && c->ended - c->failed <= good + 1);
	assert_int_equal(disk_do(b, DISK_READ, 0, 512, data), -EIO);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), -EIO);
	assert_int_equal(disk_reports, 1);
	blockdev_destroy(b);
	for (unsigned i = 0; i < CROWD; i++)
		for (unsigned k = 4096; k < 8192; k++)
			assert_int_equal(c->memory[i][k], 0xee);
	server_end(&s);
	free(c);
}

static void test_dies(void **state)
{
	static const enum fault faults[] = { DIE, BAD_MAGIC, BAD_COOKIE, HALF_DATA_DIE, MORE_DATA, TWICE, GARBAGE };

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		for (unsigned good = 0; good < 12; good += 5)
			crowd(faults[i], good, DISK_READ);
	crowd(DIE, 3, DISK_WRITE);
	crowd(GARBAGE, 3, DISK_WRITE);
}

static void test_silent(void **state)
{
	crowd(SILENT, 3, DISK_READ);
	crowd(SILENT, 0, DISK_WRITE);
	crowd(HALF_DATA, 5, DISK_READ);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_works),	  cmocka_unit_test(test_flush),	    cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_handshake), cmocka_unit_test(test_too_large), cmocka_unit_test(test_errors),
		cmocka_unit_test(test_dies),	  cmocka_unit_test(test_silent),
	};

	return cmocka_run_group_tests_name("disks over NBD", tests, disk_setup, disk_teardown);
}
