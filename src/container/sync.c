/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the runtime and init, whole or not at all. The runtime believes no text longer than there is room for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "container/fileio.h"
#include "container/internal.h"

int sync_send(int sock, enum sync_type type, int value, int fd)
{
	struct sync_message m = { .type = type, .value = value };

	return fd_send(sock, fd, &m, offsetof(struct sync_message, text));
}

void sync_fail(int sock, const struct error *err)
{
	/* -EPIPE is what the other end calls the end of the stream. */
	struct sync_message m = { .type = SYNC_ERROR, .value = err->code == -EPIPE ? -EIO : err->code };

	snprintf(m.text, sizeof(m.text), "%.*s", (int)sizeof(m.text) - 1, err->text);
	fd_send(sock, -1, &m, sizeof(m));
}

int sync_receive(int sock, struct sync_message *m, int *fd, struct error *err)
{
	int got = -1;
	ssize_t n = fd_receive(sock, &got, m, sizeof(*m));

	if (fd)
		*fd = got;
	else if (got >= 0)
		close(got);
	if (n < 0)
		return error_set(err, (int)-n, "waiting for the container: %s", strerror((int)-n));
	if (n < (ssize_t)offsetof(struct sync_message, text))
		return error_set(err, EPIPE, "the container's first process has ended before its program started");
	if (m->type != SYNC_ERROR)
		return 0;
	m->text[sizeof(m->text) - 1] = 0;
	return error_set(err, m->value ? m->value : EIO, "%s", m->text);
}

int sync_expect(int sock, enum sync_type type, struct error *err)
{
	struct sync_message m;
	int e = sync_receive(sock, &m, NULL, err);

	return e ? e : m.type == type ? 0 : error_set(err, EPROTO, "the container's first process is out of step");
}
