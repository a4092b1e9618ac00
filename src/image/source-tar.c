/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of an image that is a tar: an OCI layout packed as one, or what docker save writes. One pass notes where each member
 * begins; opening one starts a reader there. A compressed tar, or one that comes through a pipe, is first spooled.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/source.h"
#include "util/cleanup.h"

#define BLOCK	    65536
#define MEMBERS_MAX 100000
#define HOPS_MAX    8 /* links to links */

struct member {
	char *name, *target; /* target: of a link, NULL for files */
	off_t at; /* of its header */
};

struct tar_source {
	struct source s;
	int fd;
	off_t size;
	void *members; /* tsearch() */
	size_t count;
};

struct reader { /* libarchive's way into the file, from an offset on */
	int fd;
	off_t at, size;
	u8 block[BLOCK];
};

struct member_stream {
	struct stream s;
	struct archive *archive;
	struct reader reader;
	u64 offset; /* of what was given out; holes in between are zeroes */
	bool ended;
};

/* ---- reading ---- */

static la_ssize_t reader_read(struct archive *a, void *arg, const void **block)
{
	struct reader *r = arg;
	ssize_t n;

	do
		n = pread(r->fd, r->block, BLOCK, r->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		archive_set_error(a, errno, "%s", strerror(errno));
	else
		r->at += n;
	*block = r->block;
	return n;
}

static la_int64_t reader_skip(struct archive *a, void *arg, la_int64_t n)
{
	struct reader *r = arg;

	n = MIN(n, r->size - r->at);
	r->at += n;
	return n;
}

static struct archive *open_at(struct reader *r, const struct tar_source *t, off_t at)
{
	struct archive *a = archive_read_new();

	r->fd = t->fd;
	r->at = at;
	r->size = t->size;
	if (!a)
		return NULL;
	archive_read_support_format_tar(a);
	archive_read_set_read_callback(a, reader_read);
	archive_read_set_skip_callback(a, reader_skip);
	archive_read_set_callback_data(a, r);
	return a;
}

static int tar_fail(struct archive *a, struct error *err)
{
	const char *why = archive_error_string(a);

	return error_set(err, EBADMSG, "not a tar archive that can be read: %s", why ? why : "damaged");
}

/* ---- members by name ---- */

static int member_compare(const void *a, const void *b)
{
	return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static void member_free(void *p)
{
	struct member *m = p;

	free(m->name);
	free(m->target);
	free(m);
}

/* A name without "./", and the target of a link as a name of the same kind: relative to the link's folder if symbolic. */
static char *plain_name(const char *base, const char *name)
{
	_cleanup_free_ char *joined = NULL;
	const char *slash = base ? strrchr(base, '/') : NULL;
	char *out, *end, *part, *save = NULL;

	if (asprintf(&joined, "%.*s/%s", slash ? (int)(slash - base) : 0, base ? base : "", name) < 0) {
		joined = NULL;
		return NULL;
	}
	out = calloc(1, strlen(joined) + 2);
	end = out;
	for (part = out ? strtok_r(joined, "/", &save) : NULL; part; part = strtok_r(NULL, "/", &save)) {
		if (!strcmp(part, "."))
			continue;
		if (!strcmp(part, "..")) {
			while (end > out && *--end != '/')
				;
			*end = 0;
			continue;
		}
		end += sprintf(end, "%s%s", end > out ? "/" : "", part);
	}
	return out;
}

static int note(struct tar_source *t, struct archive_entry *e, off_t at, struct error *err)
{
	const char *name = archive_entry_pathname(e);
	const char *hard = archive_entry_hardlink(e);
	const char *soft = archive_entry_filetype(e) == AE_IFLNK ? archive_entry_symlink(e) : NULL;
	struct member *m, **known;

	if (!name || (!hard && !soft && archive_entry_filetype(e) != AE_IFREG))
		return 0;
	if (t->count++ == MEMBERS_MAX)
		return error_set(err, EFBIG, "has more than %d members, so it is no container image", MEMBERS_MAX);
	m = calloc(1, sizeof(*m));
	if (!m)
		return error_set(err, ENOMEM, "out of memory");
	m->name = plain_name(NULL, name);
	m->at = at;
	if (hard || soft)
		m->target = hard ? plain_name(NULL, hard) : plain_name(m->name, soft);
	known = m->name && (m->target || (!hard && !soft)) ? tsearch(m, &t->members, member_compare) : NULL;
	if (!known) {
		member_free(m);
		return error_set(err, ENOMEM, "out of memory");
	}
	if (*known != m) { /* the last of a name counts, as when a tar is unpacked */
		struct member old = **known;

		(*known)->target = m->target;
		(*known)->at = m->at;
		m->target = old.target;
		member_free(m);
	}
	return 0;
}

static int scan(struct tar_source *t, struct error *err)
{
	_cleanup_free_ struct reader *r = malloc(sizeof(*r));
	struct archive *a = r ? open_at(r, t, 0) : NULL;
	struct archive_entry *e;
	int got, result = 0;

	if (!a)
		return error_set(err, ENOMEM, "out of memory");
	got = archive_read_open1(a);
	while (!result && got >= ARCHIVE_WARN) {
		got = archive_read_next_header(a, &e);
		if (got < ARCHIVE_WARN || got == ARCHIVE_EOF)
			break;
		result = note(t, e, archive_read_header_position(a), err);
	}
	if (!result && got != ARCHIVE_EOF)
		result = tar_fail(a, err);
	archive_read_free(a);
	return result;
}

static const struct member *find(const struct tar_source *t, const char *name)
{
	struct member key = { .name = (char *)name };
	struct member **m = tfind(&key, &t->members, member_compare);

	for (unsigned hops = 0; m && (*m)->target; hops++) {
		if (hops == HOPS_MAX)
			return NULL;
		key.name = (*m)->target;
		m = tfind(&key, &t->members, member_compare);
	}
	return m ? *m : NULL;
}

/* ---- a member as a stream ---- */

static ssize_t member_next(struct stream *s, const void **block, struct error *err)
{
	struct member_stream *m = container_of(s, struct member_stream, s);
	la_int64_t offset = 0;
	size_t len = 0;
	int r = ARCHIVE_OK;

	while (!m->ended && !len && r == ARCHIVE_OK)
		r = archive_read_data_block(m->archive, block, &len, &offset);
	if (m->ended || r == ARCHIVE_EOF) {
		m->ended = true;
		return 0;
	}
	if (r != ARCHIVE_OK)
		return tar_fail(m->archive, err);
	if ((u64)offset != m->offset)
		return error_set(err, EBADMSG, "a sparse member, which no image has");
	m->offset += len;
	return (ssize_t)len;
}

static void member_close(struct stream *s)
{
	struct member_stream *m = container_of(s, struct member_stream, s);

	archive_read_free(m->archive);
	free(m);
}

static struct stream *tar_open(struct source *s, const char *name, struct error *err)
{
	struct tar_source *t = container_of(s, struct tar_source, s);
	const struct member *found = find(t, name);
	struct member_stream *m = found ? calloc(1, sizeof(*m)) : NULL;
	struct archive_entry *e;

	if (!m) {
		error_set(err, found ? ENOMEM : ENOENT, "%s: %s", name, found ? "out of memory" : "not in the image");
		return NULL;
	}
	m->s = (struct stream){ member_next, member_close };
	m->archive = open_at(&m->reader, t, found->at);
	if (!m->archive) {
		free(m);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	if (archive_read_open1(m->archive) < ARCHIVE_WARN || archive_read_next_header(m->archive, &e) < ARCHIVE_WARN) {
		tar_fail(m->archive, err);
		error_wrap(err, "%s", name);
		member_close(&m->s);
		return NULL;
	}
	return &m->s;
}

static void tar_close(struct source *s)
{
	struct tar_source *t = container_of(s, struct tar_source, s);

	tdestroy(t->members, member_free);
	close(t->fd);
	free(t);
}

/* ---- spooling ---- */

static bool is_plain(int fd)
{
	static const char *const magics[] = { "\x1f\x8b", "\x28\xb5\x2f\xfd",
					      "\xfd"
					      "7zXZ",
					      "BZh" };
	char head[6] = { 0 };
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || pread(fd, head, sizeof(head), 0) < 0)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(magics); i++)
		if (!memcmp(head, magics[i], strlen(magics[i])))
			return false;
	return true;
}

static int write_all(int fd, const u8 *from, size_t len, struct error *err)
{
	while (len) {
		ssize_t n = write(fd, from, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "cannot be spooled: %s", strerror(errno));
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Takes fd; the spooled file, or -1. */
static int spool(int fd, int scratch, struct budget *budget, struct error *err)
{
	struct stream *raw = stream_file(fd, err);
	_cleanup_stream_ struct stream *s = raw ? stream_unpack(raw, err) : NULL;
	_cleanup_fd_ int out = s ? openat(scratch, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
	const void *block;
	ssize_t n;
	int r = 0;

	if (s && out < 0)
		error_set(err, errno, "cannot be spooled: %s", strerror(errno));
	if (out < 0)
		return -1;
	while (!r && (n = s->next(s, &block, err))) {
		r = n < 0 ? (int)n : budget_bytes(budget, (u64)n, err);
		if (!r)
			r = write_all(out, block, (size_t)n, err);
	}
	return r ? -1 : steal_fd(out);
}

struct source *source_tar(int fd, int scratch, struct budget *budget, struct error *err)
{
	static const struct source_ops ops = { tar_open, tar_close };
	struct budget own = *budget; /* the spooled file is gone before long: it does not count as unpacked */
	struct tar_source *t;
	struct stat st;

	if (!is_plain(fd))
		fd = spool(fd, scratch, &own, err);
	if (fd < 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t || fstat(fd, &st)) {
		error_set(err, errno, "%s", strerror(errno));
		close(fd);
		free(t);
		return NULL;
	}
	*t = (struct tar_source){ .s.ops = &ops, .fd = fd, .size = st.st_size };
	if (!scan(t, err))
		return &t->s;
	tar_close(&t->s);
	return NULL;
}
