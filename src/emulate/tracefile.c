/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of --trace. It may be a pipe that nobody reads or a disk that is full: writing never blocks for good, as
 * the vCPU must still be able to stop, and what cannot be written ends the run with an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emulate/emulate.h"
#include "emulate/tracefile.h"

#define ROOM	 (1u << 18)
#define LINE_MAX 4096 /* of a line with every register in it */
#define LOOK_MS	 100 /* how often a stalled writer looks whether the run is over */

struct tracefile {
	struct vcpu *v;
	char *path;
	int fd;
	bool failed; /* and said so, or the run has ended: nothing more is written */
	size_t len;
	char text[ROOM];
};

struct tracefile *tracefile_open(struct vcpu *v, const char *path, struct error *err)
{
	struct tracefile *f = calloc(1, sizeof(*f));

	if (!f || !(f->path = strdup(path))) {
		free(f);
		error_set(err, ENOMEM, "no memory for the trace");
		return NULL;
	}
	f->v = v;
	f->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | (v->id ? 0 : O_TRUNC) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		     0666);
	if (f->fd < 0) {
		error_set(err, errno, "cannot write trace %s: %s", path,
			  errno == ENXIO ? "nobody reads it" : strerror(errno));
		free(f->path);
		free(f);
		return NULL;
	}
	return f;
}

static void fail(struct tracefile *f, int code)
{
	struct error err = { 0 };

	f->failed = true;
	error_set(&err, code, "cannot write trace %s: %s", f->path, strerror(code));
	machine_fail(f->v->machine, &err);
}

static void flush(struct tracefile *f)
{
	size_t done = 0;

	while (done < f->len && !f->failed) {
		ssize_t n = write(f->fd, f->text + done, f->len - done);
		if (n > 0) {
			done += (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { f->fd, POLLOUT, 0 };
			if (!poll(&p, 1, LOOK_MS) && atomic_load(&f->v->machine->end) != END_NONE)
				f->failed = true;
		} else if (!(n < 0 && errno == EINTR)) {
			fail(f, n < 0 ? errno : ENOSPC);
		}
	}
	f->len = 0;
}

void tracefile_print(struct tracefile *f, const char *fmt, ...)
{
	va_list ap;

	if (f->failed)
		return;
	/* Whole lines only: the files of other vCPUs append to the same one. */
	if (ROOM - f->len < LINE_MAX && f->text[f->len - 1] == '\n')
		flush(f);
	va_start(ap, fmt);
	f->len += (size_t)vsnprintf(f->text + f->len, TRACEFILE_PRINT_MAX, fmt, ap);
	va_end(ap);
}

void tracefile_close(struct tracefile *f)
{
	flush(f);
	if (close(f->fd) && !f->failed)
		fail(f, errno);
	free(f->path);
	free(f);
}
