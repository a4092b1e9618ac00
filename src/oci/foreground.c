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
#include <unistd.h>

#include "oci/oci.h"
#include "util/cleanup.h"

struct relay {
	pid_t pid;
	int terminal;
	int status;
	bool ended;
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
		if (got == r->pid) {
			r->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			r->ended = true;
		}
	return r->ended;
}

static void resize(int terminal)
{
	struct winsize w;

	if (terminal >= 0 && !ioctl(STDIN_FILENO, TIOCGWINSZ, &w))
		ioctl(terminal, TIOCSWINSZ, &w);
}

static void handle(struct relay *r, int signal)
{
	if (signal == SIGCHLD)
		reap(r);
	else if (signal == SIGWINCH && r->terminal >= 0)
		resize(r->terminal);
	else if (signal != SIGPIPE && signal != SIGTTIN && signal != SIGTTOU)
		kill(r->pid, signal);
}

static int wait_plainly(struct relay *r)
{
	sigset_t all;
	int signal;

	sigfillset(&all);
	while (!reap(r)) {
		signal = sigwaitinfo(&all, NULL);
		if (signal > 0)
			handle(r, signal);
	}
	return r->status;
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

static int wait_with_terminal(struct relay *r, int signals)
{
	struct pollfd p[3] = { { signals, POLLIN, 0 }, { r->terminal, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };

	/* After its end what it has written is still to come; the pty says EIO when that is all. */
	while (!r->ended || p[1].fd >= 0) {
		if (poll(p, 3, r->ended ? 100 : -1) == 0)
			break;
		if (p[0].revents & POLLIN) {
			struct signalfd_siginfo s;

			if (read(signals, &s, sizeof(s)) == sizeof(s))
				handle(r, (int)s.ssi_signo);
		}
		if (p[1].revents && !pass(r->terminal, STDOUT_FILENO))
			p[1].fd = -1;
		if (p[2].revents && !pass(STDIN_FILENO, r->terminal))
			p[2].fd = -1;
	}
	return r->status;
}

int foreground_wait(pid_t pid, int terminal)
{
	struct relay r = { .pid = pid, .terminal = terminal };
	struct termios before, raw;
	bool have = terminal >= 0 && !tcgetattr(STDIN_FILENO, &before);
	_cleanup_fd_ int signals = -1;
	sigset_t all;
	int status;

	if (terminal < 0)
		return wait_plainly(&r);
	sigfillset(&all);
	signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (have) {
		raw = before;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
		resize(terminal);
	}
	reap(&r);
	status = wait_with_terminal(&r, signals);
	if (have)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return status;
}
