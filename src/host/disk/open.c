/* SPDX-License-Identifier: Apache-2.0 */
/* disk_open(): which back ends a disk is made of. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "host/disk/backend.h"
#include "host/disk/format.h"
#include "host/disk/lock.h"
#include "util/cleanup.h"

void disk_report(const struct disk_log *log, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!log->line)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *c = text; *c; c++)
		if ((u8)*c < ' ')
			*c = '?';
	log->line(log->arg, text);
}

static int open_file(const struct disk_spec *s, bool writable, struct error *err)
{
	struct stat st;
	int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY;
	int fd;

	if (stat(s->target, &st))
		return error_set(err, errno, "%s: %s", s->target, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(err, EINVAL, "%s is neither a file nor a block device", s->target);
	/* A block device: nobody has it mounted. */
	if (S_ISBLK(st.st_mode) && writable)
		flags |= O_EXCL;
	fd = open(s->target, flags | O_NONBLOCK); /* it may have become something else */
	if (fd >= 0) {
		fcntl(fd, F_SETFL, 0);
		return fd;
	}
	if (writable && (errno == EACCES || errno == EROFS || errno == EPERM))
		return error_set(err, errno, "%s cannot be written: %s (readonly=on or snapshot=on only reads it)",
				 s->target, strerror(errno));
	if (errno == EBUSY)
		return error_set(err, EBUSY, "%s is in use: mounted, or another disk", s->target);
	return error_set(err, errno, "%s: %s", s->target, strerror(errno));
}

static struct blockdev *open_image(const struct disk_spec *s, const char *format, struct disk_file *file,
				   struct error *err)
{
	int fd;
	struct qemu_nbd *server = qemu_nbd_start(s, format, file->writable, &fd, err);

	if (server)
		return nbd_open_socket(s, fd, file->fd, server, err);
	close(file->fd);
	return NULL;
}

static struct blockdev *open_target(const struct disk_spec *s, bool writable, struct error *err)
{
	struct disk_file file = { .path = s->target, .writable = writable };
	const char *format;
	bool raw;

	if (target_is_uri(s->target))
		return nbd_open_uri(s, err);
	file.fd = open_file(s, writable, err);
	if (file.fd < 0)
		return NULL;
	format = s->format ? s->format : format_detect(file.fd, file.path, err);
	raw = format && !strcmp(format, "raw");
	if (!format || disk_lock(file.fd, file.path, writable, raw, err)) {
		close(file.fd);
		return NULL;
	}
	return raw ? raw_open(&file, s, err) : open_image(s, format, &file, err);
}

struct blockdev *disk_open(const struct disk_spec *s, struct error *err)
{
	bool overlay = s->snapshot && !s->readonly;
	struct blockdev *b = open_target(s, !s->readonly && !overlay, err);

	if (b && overlay)
		b = overlay_open(b, s, err);
	if (b && (*s->serial || s->id))
		snprintf(b->info.id, sizeof(b->info.id), "%s", *s->serial ? s->serial : s->id);
	else if (!b)
		error_wrap(err, "disk");
	return b;
}
