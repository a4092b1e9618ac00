/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process in the foreground: its signals are ours, its end is ours, and if it has a terminal and so have we, ours is raw and bytes
 * go to and fro. Signals are blocked and fetched, so that nothing happens between two instructions.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "container/foreground.h"
#include "util/cleanup.h"

struct relay {
	struct foreground *f;
	int status;
	bool ended;
	struct timespec until;
};

void foreground_prepare(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

static bool reap(struct relay *r)
{
	pid_t got;
	int status;

	while ((got = waitpid(-1, &status, WNOHANG)) > 0)
		if (got == r->f->pid) {
			r->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			r->ended = true;
		}
	return r->ended;
}

static void resize(int terminal)
{
	struct winsize w;

	if (!ioctl(STDIN_FILENO, TIOCGWINSZ, &w))
		ioctl(terminal, TIOCSWINSZ, &w);
}

static void handle(struct relay *r, int signal)
{
	struct foreground *f = r->f;
	bool ends = signal == SIGHUP || signal == SIGINT || signal == SIGQUIT || signal == SIGTERM;

	if (signal == SIGCHLD) {
		reap(r);
	} else if (signal == SIGWINCH && f->terminal >= 0) {
		resize(f->terminal);
	} else if (f->ends && ends) {
		f->signal = signal;
		kill(f->pid, SIGKILL);
	} else if (!f->ends && signal != SIGPIPE && signal != SIGTTIN && signal != SIGTTOU) {
		kill(f->pid, signal);
	}
}

/* Milliseconds to the time limit; -1: there is none. */
static int left(const struct relay *r)
{
	struct timespec now;
	s64 ms;

	if (!(r->f->timeout > 0) || r->f->timed_out)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (r->until.tv_sec - now.tv_sec) * 1000 + (r->until.tv_nsec - now.tv_nsec) / 1000000;
	return ms < 0 ? 0 : (int)MIN(ms, 1000000);
}

static void check_limit(struct relay *r)
{
	if (left(r) != 0)
		return;
	r->f->timed_out = true;
	kill(r->f->pid, SIGKILL);
}

static void wait_plainly(struct relay *r)
{
	sigset_t all;

	sigfillset(&all);
	while (!reap(r)) {
		int ms = left(r), signal;
		struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

		signal = ms < 0 ? sigwaitinfo(&all, NULL) : sigtimedwait(&all, NULL, &t);
		if (signal > 0)
			handle(r, signal);
		check_limit(r);
	}
}

static bool pass(int from, int to)
{
	char buf[16384];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	for (ssize_t done = 0, w; done < n; done += w) {
		w = write(to, buf + done, (size_t)(n - done));
		if (w < 0 && (errno == EINTR || errno == EAGAIN))
			w = 0;
		else if (w < 0)
			return false;
	}
	return n > 0;
}

static void wait_with_terminal(struct relay *r, int signals)
{
	struct pollfd p[3] = { { signals, POLLIN, 0 }, { r->f->terminal, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };

	/* After its end what it has written is still to come; the pty says EIO when that is all. */
	while (!r->ended || p[1].fd >= 0) {
		int n = poll(p, 3, r->ended ? 100 : left(r));

		if (!n && r->ended)
			break;
		if (n > 0 && p[0].revents & POLLIN) {
			struct signalfd_siginfo s;

			if (read(signals, &s, sizeof(s)) == sizeof(s))
				handle(r, (int)s.ssi_signo);
		}
		if (n > 0 && p[1].revents && !pass(r->f->terminal, STDOUT_FILENO))
			p[1].fd = -1;
		if (n > 0 && p[2].revents && !pass(STDIN_FILENO, r->f->terminal))
			p[2].fd = -1;
		check_limit(r);
	}
}

int foreground_wait(struct foreground *f)
{
	struct relay r = { .f = f };
	struct termios before, raw;
	bool have = f->terminal >= 0 && !tcgetattr(STDIN_FILENO, &before);
	_cleanup_fd_ int signals = -1;
	sigset_t all;

	clock_gettime(CLOCK_MONOTONIC, &r.until);
	r.until.tv_sec += (time_t)f->timeout;
	r.until.tv_nsec += (long)((f->timeout - (double)(time_t)f->timeout) * 1e9);
	if (f->terminal < 0) {
		wait_plainly(&r);
		return r.status;
	}
	sigfillset(&all);
	signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (have) {
		raw = before;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
		resize(f->terminal);
	}
	reap(&r);
	wait_with_terminal(&r, signals);
	if (have)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return r.status;
}
