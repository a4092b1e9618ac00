/* SPDX-License-Identifier: Apache-2.0 */
/* Uppers of runs that keep nothing: deleted at the end, or, if that never came, by the next who makes one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/tree.h"
#include "snapshot/store.h"
#include "util/cleanup.h"

int scratch_make(struct scratch *s, const char *like, struct error *err)
{
	struct store store;
	int r = store_open(&store, err);

	*s = (struct scratch){ .fd = -1 };
	if (r)
		return r;
	store_sweep(&store);
	if (asprintf(&s->path, "%s/tmp/run-XXXXXX", store.path) < 0)
		s->path = NULL;
	/* Made and locked while the store is: nobody sweeps in between. */
	if (!s->path || !mkdtemp(s->path))
		r = error_set(err, errno, "%s/tmp: %s", store.path, strerror(errno));
	else
		s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!r && (s->fd < 0 || flock(s->fd, LOCK_EX) || mkdirat(s->fd, "work", 0700) || mkdirat(s->fd, "root", 0755)))
		r = error_set(err, errno, "%s: %s", s->path, strerror(errno));
	if (!r)
		r = overlay_make_upper(s->fd, "upper", like, err);
	store_close(&store);
	if (!r && (asprintf(&s->upper, "%s/upper", s->path) < 0 || asprintf(&s->work, "%s/work", s->path) < 0 ||
		   asprintf(&s->root, "%s/root", s->path) < 0))
		r = error_set(err, ENOMEM, "out of memory");
	if (r)
		scratch_free(s);
	return r;
}

void scratch_free(struct scratch *s)
{
	if (s->fd >= 0) {
		trash_empty(s->fd);
		close(s->fd);
	}
	if (s->path)
		rmdir(s->path);
	free(s->path);
	free(s->upper);
	free(s->work);
	free(s->root);
	*s = (struct scratch){ .fd = -1 };
}
