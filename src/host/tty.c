/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw mode and the way back. The guest's tty does all that a tty does, so ours does nothing; messages of our own wait until
 * the terminal is given back.
 *
 * Invariant: `owner` is the one tty whose settings must be restored; signal handlers and atexit() have no argument to find
 * it by. All that handlers call is async-signal-safe (POSIX.1-2017, 2.4.3).
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/tty.h"
#include "util/types.h"

static _Atomic(struct tty *) owner;

static bool ours_to_change(const struct tty *t)
{
	return t->fd >= 0 && tcgetpgrp(t->fd) == getpgrp();
}

void tty_raw(struct tty *t)
{
	struct termios raw;

	if (!ours_to_change(t))
		return;
	raw = t->saved;
	cfmakeraw(&raw);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	t->raw = true;
	tcsetattr(t->fd, TCSADRAIN, &raw);
}

void tty_restore(struct tty *t)
{
	if (!t->raw || !ours_to_change(t))
		return;
	/* TCSANOW: draining waits for ever on a terminal whose output is stopped. */
	tcsetattr(t->fd, TCSANOW, &t->saved);
	t->raw = false;
}

static void restore_owner(void)
{
	struct tty *t = atomic_load(&owner);

	if (t)
		tty_restore(t);
}

/* SA_RESETHAND has put the default action back: a fault repeats and kills, and so does a signal raised again. */
static void on_crash(int sig)
{
	restore_owner();
	raise(sig);
}

static void catch_crashes(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };
	struct sigaction act = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_ONSTACK };
	struct sigaction old;

	sigemptyset(&act.sa_mask);
	for (unsigned i = 0; i < ARRAY_SIZE(fatal); i++) {
		/* Whoever handles a signal already (an engine, a sanitizer) goes first and chains or dies its own way. */
		if (!sigaction(fatal[i], NULL, &old) && old.sa_handler == SIG_DFL && !(old.sa_flags & SA_SIGINFO))
			sigaction(fatal[i], &act, NULL);
	}
}

void tty_open(struct tty *t, int fd)
{
	static atomic_flag hooked = ATOMIC_FLAG_INIT;

	t->fd = -1;
	t->raw = false;
	if (!isatty(fd) || tcgetattr(fd, &t->saved))
		return;
	t->fd = fd;
	atomic_store(&owner, t);
	if (!atomic_flag_test_and_set(&hooked)) {
		atexit(restore_owner);
		catch_crashes();
	}
}

void tty_close(struct tty *t)
{
	struct tty *mine = t;

	tty_restore(t);
	atomic_compare_exchange_strong(&owner, &mine, NULL);
}
