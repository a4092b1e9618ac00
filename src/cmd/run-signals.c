/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ends a run from outside: signals and --timeout, as file descriptors of the machine's event loop. The signals are
 * blocked in every thread from before the first one starts, so that none is interrupted where it cannot be.
 *
 * Stopping (SIGTSTP) gives the terminal back first and takes it again when the process continues, however it was stopped.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cmd/run.h"
#include "host/terminal.h"

static void stop_process(struct run_watch *w)
{
	terminal_restore(w->terminal);
	raise(SIGSTOP); /* at this thread: kill() would return while another one is only about to stop us all */
	terminal_enter(w->terminal); /* continued */
}

static void on_signal(void *arg, u32 events)
{
	struct run_watch *w = arg;
	struct signalfd_siginfo s;

	while (read(w->signal_fd, &s, sizeof(s)) == sizeof(s)) {
		switch (s.ssi_signo) {
		case SIGTSTP: stop_process(w); break;
		case SIGCONT: terminal_enter(w->terminal); break;
		default: w->signal = (int)s.ssi_signo; machine_end(w->machine, END_USER, 0);
		}
	}
}

static void on_timeout(void *arg, u32 events)
{
	struct run_watch *w = arg;

	loop_unwatch(w->machine->loop, w->timer_fd);
	machine_end(w->machine, END_TIMEOUT, 0);
}

static int watch_signals(struct run_watch *w, struct error *err)
{
	static const int which[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT };
	struct sigaction old;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN); /* a closed output is seen as EPIPE */
	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(which); i++) {
		/* What was ignored when we started stays so: nohup, background jobs of scripts. */
		if (!sigaction(which[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaddset(&set, which[i]);
	}
	pthread_sigmask(SIG_BLOCK, &set, &w->old_mask);
	w->masked = true;
	w->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (w->signal_fd < 0)
		return error_set(err, errno, "cannot watch signals: %s", strerror(errno));
	return loop_watch(w->machine->loop, w->signal_fd, EPOLLIN, on_signal, w, err);
}

static int watch_timeout(struct run_watch *w, double timeout, struct error *err)
{
	double whole = floor(timeout);
	struct itimerspec t = { .it_value = { (time_t)whole, (long)((timeout - whole) * 1e9) } };

	w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (!t.it_value.tv_sec && !t.it_value.tv_nsec)
		t.it_value.tv_nsec = 1; /* 0 would disarm it */
	if (w->timer_fd < 0 || timerfd_settime(w->timer_fd, 0, &t, NULL))
		return error_set(err, errno, "cannot set the time limit: %s", strerror(errno));
	return loop_watch(w->machine->loop, w->timer_fd, EPOLLIN, on_timeout, w, err);
}

int run_watch_start(struct run_watch *w, double timeout, struct error *err)
{
	int r = watch_signals(w, err);

	if (!r && timeout > 0)
		r = watch_timeout(w, timeout, err);
	return r;
}

/* From here on signals kill as usual: what is left is writing to a reader that may never read. */
void run_watch_stop(struct run_watch *w)
{
	if (w->masked)
		pthread_sigmask(SIG_SETMASK, &w->old_mask, NULL);
	if (w->signal_fd >= 0)
		close(w->signal_fd);
	if (w->timer_fd >= 0)
		close(w->timer_fd);
}
