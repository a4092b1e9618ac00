/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console's two streams. Nothing blocks: our file descriptors are opened anew without O_NONBLOCK being forced on the
 * shell, which shares the old ones, and what the reader is too slow for waits in a ring that pushes back on the device.
 *
 * Output: any thread appends to the ring under `lock`; the I/O thread writes it out, a millisecond after the first byte so
 * that a device that sends byte by byte costs few system calls.
 * Input: the I/O thread's alone. A terminal is always read, as Ctrl-a x must work while the guest takes nothing; what then
 * does not fit is dropped. Other input waits until the guest takes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "host/monitor-line.h"
#include "host/terminal.h"
#include "host/tty.h"
#include "util/cleanup.h"

#define OUT_SIZE      65536u /* a power of two */
#define IN_SIZE	      65536u
#define CHUNK	      4096u /* PIPE_BUF: a pipe that polls writable takes that much at once */
#define GATHER_NS     1000000
#define ESCAPE	      0x01
#define CTRL_D	      0x04 /* end of file at the start of a line, elsewhere: hand over the line so far */
#define CTRL_O	      0x0f /* of hvc, before any tty: a SysRq command follows, or the byte itself */
#define CTRL_V	      0x16 /* the next byte means itself */
#define LINE_MAX_SENT 1024 /* a tty in the guest keeps no more than 4095 bytes of a line */

struct terminal {
	struct chardev chardev;
	struct machine *machine;
	struct tty tty;

	int out_fd; /* ours */
	bool out_watched, out_pollable, out_socket;
	int flush_fd; /* timer: output has been gathered */
	pthread_mutex_t lock;
	u8 out[OUT_SIZE];
	u32 out_head, out_tail; /* free running: bytes [tail, head) wait */
	bool armed; /* flush_fd is set, or out_fd is watched: the I/O thread will come */
	bool refused; /* write() took less than it was given */
	_Atomic bool broken;

	int in_fd; /* ours; -1 after its end */
	int wake_fd; /* eventfd: the front end has room again */
	bool in_pollable, in_watched, escaped;
	bool plain; /* config's guest_tty, and input is no terminal */
	bool hvc; /* config's guest_hvc */
	_Atomic bool held; /* not before terminal_ready() */
	u8 in[IN_SIZE];
	u32 in_start, in_end; /* bytes [start, end) wait for the guest */
	u32 in_line; /* plain: bytes since the last newline or Ctrl-d */

	struct text text;
	struct console_monitor monitor;
};

/* ---- output ---- */
static void arm_flush(struct terminal *t)
{
	struct itimerspec soon = { .it_value = { 0, GATHER_NS } };

	t->armed = true;
	timerfd_settime(t->flush_fd, 0, &soon, NULL);
}

/* Appends what fits; the lock is held. */
static size_t append(struct terminal *t, const u8 *data, size_t len)
{
	u32 room = OUT_SIZE - (t->out_head - t->out_tail);
	size_t n = MIN(len, room);

	for (size_t i = 0; i < n; i++)
		t->out[t->out_head++ % OUT_SIZE] = data[i];
	if (n && !t->armed)
		arm_flush(t);
	return n;
}

static size_t terminal_write(struct chardev *c, const u8 *data, size_t len)
{
	struct terminal *t = container_of(c, struct terminal, chardev);
	size_t n;

	if (t->broken)
		return len; /* the run is ending */
	pthread_mutex_lock(&t->lock);
	n = append(t, data, len);
	t->refused |= n < len;
	pthread_mutex_unlock(&t->lock);
	return n;
}

static void print(struct terminal *t, const char *text)
{
	pthread_mutex_lock(&t->lock);
	append(t, (const u8 *)text, strlen(text));
	pthread_mutex_unlock(&t->lock);
}

/* In raw mode nobody else returns the carriage. */
static void print_text(struct text *text, const char *s, size_t len)
{
	struct terminal *t = container_of(text, struct terminal, text);

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\n')
			append(t, (const u8 *)"\r", 1);
		append(t, (const u8 *)s + i, 1);
	}
	pthread_mutex_unlock(&t->lock);
}

/* Writes one piece. True while there may be more to write now; false when nothing is left, or the reader must be waited
 * for (`*wait`), or nobody reads. Runs without the lock: only the I/O thread moves the tail, and the head only grows. */
static bool write_piece(struct terminal *t, bool *wait)
{
	u32 at = t->out_tail % OUT_SIZE, n;
	ssize_t done;

	pthread_mutex_lock(&t->lock);
	n = t->out_head - t->out_tail;
	pthread_mutex_unlock(&t->lock);
	n = MIN(MIN(n, OUT_SIZE - at), CHUNK);
	*wait = false;
	if (!n || t->broken)
		return false;
	done = t->out_socket ? send(t->out_fd, t->out + at, n, MSG_DONTWAIT | MSG_NOSIGNAL)
			     : write(t->out_fd, t->out + at, n);
	if (done < 0 && errno == EINTR)
		return true;
	if (done < 0 && errno == EAGAIN) {
		*wait = true;
		return false;
	}
	if (done < 0) {
		t->broken = true;
		return false;
	}
	pthread_mutex_lock(&t->lock);
	t->out_tail += (u32)done;
	pthread_mutex_unlock(&t->lock);
	return true;
}

static void watch_out(struct terminal *t, bool on)
{
	if (t->out_watched != on)
		loop_rewatch(t->machine->loop, t->out_fd, on ? EPOLLOUT : 0);
	t->out_watched = on;
}

/* On the I/O thread: writes out what it can, and tells the device of room. */
static void flush(struct terminal *t)
{
	bool wait, refused;

	while (write_piece(t, &wait))
		;
	if (t->broken) {
		machine_end(t->machine, END_USER, 0);
		return;
	}
	pthread_mutex_lock(&t->lock);
	t->armed = wait && t->out_pollable;
	if (t->out_head != t->out_tail && !t->armed)
		arm_flush(t);
	refused = t->refused && t->out_head - t->out_tail <= OUT_SIZE / 2;
	t->refused &= !refused;
	pthread_mutex_unlock(&t->lock);
	if (t->out_pollable)
		watch_out(t, wait);
	if (refused && t->chardev.front.writable)
		t->chardev.front.writable(t->chardev.front.arg);
}

static void on_flush_timer(void *arg, u32 events)
{
	struct terminal *t = arg;
	u64 n;

	if (read(t->flush_fd, &n, sizeof(n)) == sizeof(n))
		flush(t);
}

static void on_out_ready(void *arg, u32 events)
{
	struct terminal *t = arg;

	if (events & (EPOLLERR | EPOLLHUP)) { /* the reader went away */
		t->broken = true;
		loop_unwatch(t->machine->loop, t->out_fd);
		machine_end(t->machine, END_USER, 0);
		return;
	}
	flush(t);
}

static void drain(struct terminal *t, int patience_ms)
{
	struct pollfd p = { .fd = t->out_fd, .events = POLLOUT };
	bool wait;

	do {
		while (write_piece(t, &wait))
			;
	} while (wait && poll(&p, 1, patience_ms) > 0);
}

/* The device may have bytes that we had no room for, or that the guest left in a ring when the machine ended. */
void terminal_drain(struct terminal *t, int patience_ms)
{
	struct chardev_front *f = &t->chardev.front;
	u32 head;

	do {
		drain(t, patience_ms);
		head = t->out_head;
		if (f->writable && t->out_tail == head)
			f->writable(f->arg);
	} while (t->out_head != head && !t->broken);
}

/* ---- input ---- */
static const char help[] = "\r\nCtrl-a x       leave: ends the run\r\n"
			   "Ctrl-a c       the monitor, and back\r\n"
			   "Ctrl-a h       this help\r\n"
			   "Ctrl-a Ctrl-a  send Ctrl-a to the guest\r\n";

/* One byte after Ctrl-a. True if it goes to the guest. */
static bool command(struct terminal *t, u8 c)
{
	t->escaped = false;
	switch (c) {
	case ESCAPE: return true;
	case 'x': machine_end(t->machine, END_USER, 0); return false;
	case 'h':
	case '?': print(t, help); return false;
	case 'c': monitor_line_switch(&t->monitor); return false;
	default: return false;
	}
}

static void queue(struct terminal *t, u8 c)
{
	if (t->in_end < IN_SIZE)
		t->in[t->in_end++] = c;
}

/* For a tty in the guest. IN_SIZE has room for what a CHUNK becomes. */
static void queue_plain(struct terminal *t, u8 c)
{
	if (c == CTRL_D || c == CTRL_V)
		queue(t, CTRL_V);
	if (c == CTRL_O && t->hvc)
		queue(t, CTRL_O);
	queue(t, c);
	t->in_line = c == '\n' ? 0 : t->in_line + 1;
	if (t->in_line == LINE_MAX_SENT) {
		queue(t, CTRL_D);
		t->in_line = 0;
	}
}

/* Hands the guest what it takes. True when nothing is left. */
static bool deliver(struct terminal *t)
{
	if (t->in_start < t->in_end && !t->held && t->chardev.front.receive)
		t->in_start += (u32)t->chardev.front.receive(t->chardev.front.arg, t->in + t->in_start,
							     t->in_end - t->in_start);
	if (t->in_start < t->in_end)
		return false;
	t->in_start = t->in_end = 0;
	return true;
}

static void on_in_ready(void *arg, u32 events);

/* Not loop_rewatch() to no events: a pipe whose writer has gone would still report that, without end. */
static void watch_in(struct terminal *t, bool on)
{
	struct loop *l = t->machine->loop;

	if (!t->in_pollable || t->in_watched == on)
		return;
	if (on)
		loop_watch(l, t->in_fd, EPOLLIN, on_in_ready, t, NULL);
	else
		loop_unwatch(l, t->in_fd);
	t->in_watched = on;
}

static void end_input(struct terminal *t)
{
	watch_in(t, false);
	close(t->in_fd);
	t->in_fd = -1;
	if (t->tty.fd >= 0) { /* it has hung up */
		machine_end(t->machine, END_USER, 0);
		return;
	}
	if (!t->plain)
		return;
	if (t->in_line)
		queue(t, CTRL_D);
	queue(t, CTRL_D);
}

/* Reads once. False when there is nothing now, or no more. */
static bool read_input(struct terminal *t)
{
	u8 buf[CHUNK];
	ssize_t n = read(t->in_fd, buf, sizeof(buf));

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		end_input(t);
		return false;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (t->plain)
			queue_plain(t, buf[i]);
		else if (t->tty.fd >= 0 && !t->escaped && buf[i] == ESCAPE)
			t->escaped = true;
		else if (!t->escaped || command(t, buf[i]))
			t->monitor.on ? monitor_line_byte(&t->monitor, buf[i]) : queue(t, buf[i]);
	}
	return true;
}

/* On the I/O thread: moves input as far as the guest takes it. */
static void pump(struct terminal *t, bool readable)
{
	bool empty = deliver(t);

	while (t->in_fd >= 0 && readable && (empty || t->tty.fd >= 0)) {
		/* What can be polled is read once a wake-up: other descriptors get their turn. */
		readable = read_input(t) && !t->in_pollable;
		empty = deliver(t);
	}
	deliver(t); /* what the end of input has added */
	if (t->in_fd >= 0)
		watch_in(t, empty || t->tty.fd >= 0);
}

static void on_in_ready(void *arg, u32 events)
{
	pump(arg, true);
}

static void on_wake(void *arg, u32 events)
{
	struct terminal *t = arg;
	u64 n;

	if (read(t->wake_fd, &n, sizeof(n)) == sizeof(n))
		pump(t, !t->in_pollable);
}

static void terminal_resume(struct chardev *c)
{
	struct terminal *t = container_of(c, struct terminal, chardev);
	u64 one = 1;

	if (write(t->wake_fd, &one, sizeof(one)) != sizeof(one))
		return; /* the counter is at its maximum: a wake-up is due anyway */
}

static const struct chardev_ops terminal_ops = { .write = terminal_write, .resume = terminal_resume };

/* ---- life ---- */

/* A descriptor of our own that does not block. A pipe's or terminal's is opened anew, as O_NONBLOCK belongs to the open
 * file, which others share; a regular file's is only copied: it never blocks, and its offset is shared on purpose. */
static int own_fd(int fd, int mode, struct error *err)
{
	struct stat st;
	char path[32];
	int r = -1;

	if (fstat(fd, &st))
		return error_set(err, errno, "standard %s is not open", mode == O_RDONLY ? "input" : "output");
	if (S_ISFIFO(st.st_mode) || isatty(fd)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		r = open(path, mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	}
	if (r < 0)
		r = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return r < 0 ? error_set(err, errno, "cannot copy a file descriptor: %s", strerror(errno)) : r;
}

static int open_fds(struct terminal *t, const struct terminal_config *cfg, struct error *err)
{
	struct stat st;

	t->out_fd = own_fd(cfg->out_fd, O_WRONLY, err);
	t->in_fd = own_fd(cfg->in_fd, O_RDONLY, err);
	t->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	t->flush_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (t->out_fd < 0)
		return t->out_fd;
	if (t->in_fd < 0)
		return t->in_fd;
	if (t->wake_fd < 0 || t->flush_fd < 0)
		return error_set(err, errno, "cannot set up the console: %s", strerror(errno));
	t->out_socket = !fstat(t->out_fd, &st) && S_ISSOCK(st.st_mode);
	return 0;
}

static int watch(struct terminal *t, struct error *err)
{
	struct loop *l = t->machine->loop;
	int r = loop_watch(l, t->flush_fd, EPOLLIN, on_flush_timer, t, err);

	if (!r)
		r = loop_watch(l, t->wake_fd, EPOLLIN, on_wake, t, err);
	if (r)
		return r;
	/* Regular files and /dev/null cannot be polled and need not be. */
	t->out_pollable = !loop_watch(l, t->out_fd, 0, on_out_ready, t, NULL);
	t->in_pollable = !loop_watch(l, t->in_fd, EPOLLIN, on_in_ready, t, NULL);
	t->in_watched = true;
	if (!t->in_pollable)
		terminal_resume(&t->chardev);
	return 0;
}

struct terminal *terminal_new(struct machine *m, const struct terminal_config *cfg, struct error *err)
{
	struct terminal *t = calloc(1, sizeof(*t));

	if (!t) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	t->chardev.ops = &terminal_ops;
	t->text.write = print_text;
	t->monitor.out = &t->text;
	t->machine = m;
	t->out_fd = t->in_fd = t->wake_fd = t->flush_fd = -1;
	pthread_mutex_init(&t->lock, NULL);
	tty_open(&t->tty, cfg->in_fd);
	t->hvc = cfg->guest_hvc;
	t->plain = t->held = cfg->guest_tty && t->tty.fd < 0;
	if (open_fds(t, cfg, err) || watch(t, err)) {
		terminal_free(t);
		return NULL;
	}
	return t;
}

static void drop_fd(struct terminal *t, int fd)
{
	if (fd < 0)
		return;
	loop_unwatch(t->machine->loop, fd);
	close(fd);
}

void terminal_free(struct terminal *t)
{
	if (!t)
		return;
	tty_close(&t->tty);
	drop_fd(t, t->in_fd);
	drop_fd(t, t->out_fd);
	drop_fd(t, t->wake_fd);
	drop_fd(t, t->flush_fd);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void terminal_ready(void *terminal)
{
	struct terminal *t = terminal;

	t->held = false;
	terminal_resume(&t->chardev);
}

void terminal_set_monitor(struct terminal *t, void (*line)(void *arg, const char *line, struct text *out), void *arg)
{
	t->monitor.line = line;
	t->monitor.arg = arg;
}

struct text *terminal_text(struct terminal *t)
{
	return &t->text;
}

struct chardev *terminal_chardev(struct terminal *t)
{
	return &t->chardev;
}

void terminal_enter(struct terminal *t)
{
	tty_raw(&t->tty);
}

void terminal_restore(struct terminal *t)
{
	tty_restore(&t->tty);
}

bool terminal_broken(const struct terminal *t)
{
	return t->broken;
}

bool terminal_interactive(const struct terminal *t)
{
	return t->tty.fd >= 0;
}

void terminal_size(const struct terminal *t, u16 *columns, u16 *rows)
{
	struct winsize w;

	*columns = *rows = 0;
	if (t->tty.fd < 0 || ioctl(t->tty.fd, TIOCGWINSZ, &w))
		return;
	*columns = w.ws_col;
	*rows = w.ws_row;
}
