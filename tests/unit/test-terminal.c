/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console's back end without a PC: a front end as small and slow as a UART echoes what it gets. Whatever the pipes' ends
 * do, no byte is lost or doubled, nothing blocks, and a reader that goes away ends the run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sched.h>

#include "host/terminal.h"
#include "util/cleanup.h"

#define FIFO  16
#define TOTAL (300 * 1024)

struct echo { /* what a UART is to the terminal */
	struct terminal *terminal;
	pthread_mutex_t lock;
	u8 fifo[FIFO];
	unsigned used;
	unsigned line;
	bool quoted;
	bool to_eof; /* echo until Ctrl-d; otherwise send for ever */
};
static struct echo echo;

static size_t echo_receive(void *arg, const u8 *data, size_t len)
{
	size_t n;

	pthread_mutex_lock(&echo.lock);
	n = MIN(len, (size_t)(FIFO - echo.used));
	memcpy(echo.fifo + echo.used, data, n);
	echo.used += n;
	pthread_mutex_unlock(&echo.lock);
	return n;
}

static void send_byte(struct vcpu *v, u8 byte)
{
	struct chardev *c = terminal_chardev(echo.terminal);

	while (!c->ops->write(c, &byte, 1) && !(v->events & EV_STOP))
		sched_yield();
}

/* As a tty would: Ctrl-d at the start of a line is the end, elsewhere it only hands over; Ctrl-v quotes. */
static void take_byte(struct vcpu *v, u8 byte)
{
	bool quoted = echo.quoted;

	echo.quoted = !quoted && byte == 0x16;
	if (echo.quoted)
		return;
	if (quoted || byte != 0x04) {
		send_byte(v, byte);
		echo.line = byte == '\n' ? 0 : echo.line + 1;
		return;
	}
	if (!echo.line)
		machine_end(v->machine, END_POWEROFF, 0);
	echo.line = 0;
}

static int echo_create(struct vcpu *v, struct error *err)
{
	return 0;
}

static void echo_destroy(struct vcpu *v)
{
}

static int echo_run(struct vcpu *v, struct error *err)
{
	struct chardev *c = terminal_chardev(echo.terminal);
	u8 got[FIFO];
	unsigned n;

	while (!(v->events & EV_STOP)) {
		pthread_mutex_lock(&echo.lock);
		n = echo.used;
		memcpy(got, echo.fifo, n);
		echo.used = 0;
		pthread_mutex_unlock(&echo.lock);
		if (n)
			c->ops->resume(c);
		else
			sched_yield();
		for (unsigned i = 0; i < n && echo.to_eof; i++) {
			take_byte(v, got[i]);
		}
		if (!echo.to_eof)
			send_byte(v, 'x');
	}
	return 0;
}

static const struct vcpu_ops echo_ops = { .create = echo_create, .destroy = echo_destroy, .run = echo_run };

static u8 pattern(unsigned i)
{
	return (u8)(i * 7 + i / 251);
}

static void *feed(void *arg)
{
	int fd = *(int *)arg;
	u8 buf[1000];

	for (unsigned i = 0; i < TOTAL; i += sizeof(buf)) {
		unsigned n = MIN((unsigned)sizeof(buf), TOTAL - i), done = 0;

		for (unsigned k = 0; k < n; k++)
			buf[k] = pattern(i + k);
		while (done < n) {
			ssize_t r = write(fd, buf + done, n - done);

			if (r <= 0)
				return NULL;
			done += (unsigned)r;
		}
	}
	close(fd);
	return NULL;
}

struct reader {
	int fd;
	unsigned bad, got;
};

static void *read_slowly(void *arg)
{
	struct reader *r = arg;
	u8 buf[3000];
	ssize_t n;

	while ((n = read(r->fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			r->bad += buf[i] != pattern(r->got++);
		if (r->got % 5 == 0)
			usleep(2000);
	}
	return NULL;
}

static struct machine *machine_with_echo(int in_fd, int out_fd, bool to_eof)
{
	const struct machine_config mc = { .ram_size = 1 << 20, .cpus = 1, .model = cpu_model_find(NULL, NULL) };
	const struct terminal_config tc = { .in_fd = in_fd, .out_fd = out_fd, .guest_tty = true };
	struct error err = { 0 };
	struct machine *m = machine_new(&mc, &err);

	assert_non_null(m);
	memset(&echo, 0, sizeof(echo));
	pthread_mutex_init(&echo.lock, NULL);
	echo.to_eof = to_eof;
	echo.terminal = terminal_new(m, &tc, &err);
	assert_non_null(echo.terminal);
	terminal_chardev(echo.terminal)->front.receive = echo_receive;
	terminal_ready(echo.terminal);
	return m;
}

static void streams_lose_nothing(void **state)
{
	struct reader reader = { 0 };
	pthread_t feeder, slow;
	struct error err = { 0 };
	int in[2], out[2];
	struct machine *m;

	assert_int_equal(pipe(in) | pipe(out), 0);
	reader.fd = out[0];
	m = machine_with_echo(in[0], out[1], true);
	assert_int_equal(fcntl(in[0], F_GETFL) & O_NONBLOCK, 0);
	pthread_create(&feeder, NULL, feed, &in[1]);
	pthread_create(&slow, NULL, read_slowly, &reader);
	assert_int_equal(machine_run(m, &echo_ops, &err), 0);
	assert_int_equal(m->end, END_POWEROFF);
	terminal_drain(echo.terminal, -1);
	terminal_free(echo.terminal);
	machine_free(m);
	close(out[1]);
	pthread_join(feeder, NULL);
	pthread_join(slow, NULL);
	assert_int_equal(reader.bad, 0);
	assert_int_equal(reader.got, TOTAL);
	close(in[0]);
	close(out[0]);
}

static void *close_soon(void *arg)
{
	usleep(20000);
	close(*(int *)arg);
	return NULL;
}

static void closed_output_ends_the_run(void **state)
{
	struct error err = { 0 };
	pthread_t closer;
	struct machine *m;
	int out[2], in = open("/dev/null", O_RDONLY);

	assert_int_equal(pipe(out), 0);
	m = machine_with_echo(in, out[1], false);
	pthread_create(&closer, NULL, close_soon, &out[0]);
	assert_int_equal(machine_run(m, &echo_ops, &err), 0);
	assert_int_equal(m->end, END_USER);
	assert_true(terminal_broken(echo.terminal));
	pthread_join(closer, NULL);
	terminal_drain(echo.terminal, -1);
	terminal_free(echo.terminal);
	machine_free(m);
	close(out[1]);
	close(in);
}

/* A reader that never reads must not keep the machine from ending. */
static void *end_soon(void *arg)
{
	usleep(50000);
	machine_end(arg, END_TIMEOUT, 0);
	return NULL;
}

static void stalled_reader_does_not_block(void **state)
{
	struct error err = { 0 };
	pthread_t ender;
	struct machine *m;
	int out[2], in = open("/dev/null", O_RDONLY);

	assert_int_equal(pipe(out), 0);
	m = machine_with_echo(in, out[1], false);
	pthread_create(&ender, NULL, end_soon, m);
	assert_int_equal(machine_run(m, &echo_ops, &err), 0);
	assert_int_equal(m->end, END_TIMEOUT);
	pthread_join(ender, NULL);
	terminal_drain(echo.terminal, 10);
	terminal_free(echo.terminal);
	machine_free(m);
	close(out[0]);
	close(out[1]);
	close(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_lose_nothing),
		cmocka_unit_test(closed_output_ends_the_run),
		cmocka_unit_test(stalled_reader_does_not_block),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}
