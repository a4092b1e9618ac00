/* SPDX-License-Identifier: Apache-2.0 */
/* Stages of streams: see stream.h. A constructor that fails has closed the stream that it was given. */
#include "image/stream.h"

#include <archive.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"

#define BLOCK 65536

/* ---- files ---- */

struct file_stream {
	struct stream s;
	int fd;
	u8 block[BLOCK];
};

static ssize_t file_next(struct stream *s, const void **block, struct error *err)
{
	struct file_stream *f = container_of(s, struct file_stream, s);
	ssize_t n;

	do
		n = read(f->fd, f->block, BLOCK);
	while (n < 0 && errno == EINTR);
	*block = f->block;
	return n < 0 ? error_set(err, errno, "cannot be read: %s", strerror(errno)) : n;
}

static void file_close(struct stream *s)
{
	struct file_stream *f = container_of(s, struct file_stream, s);

	close(f->fd);
	free(f);
}

struct stream *stream_file(int fd, struct error *err)
{
	struct file_stream *f = malloc(sizeof(*f));

	if (!f) {
		close(fd);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	f->s = (struct stream){ file_next, file_close };
	f->fd = fd;
	return &f->s;
}

/* ---- verification ---- */

struct verify_stream {
	struct stream s, *from;
	struct digest promised;
	u64 size;
	struct hasher hasher;
	bool ended;
};

static int verify_end(struct verify_stream *v, struct error *err)
{
	if (v->size != STREAM_ANY_SIZE && v->hasher.bytes != v->size)
		return error_set(err, EBADMSG, "corrupt: it has %llu bytes, and should have %llu",
				 (unsigned long long)v->hasher.bytes, (unsigned long long)v->size);
	return hasher_check(&v->hasher, &v->promised, err);
}

static ssize_t verify_next(struct stream *s, const void **block, struct error *err)
{
	struct verify_stream *v = container_of(s, struct verify_stream, s);
	ssize_t n = v->ended ? 0 : v->from->next(v->from, block, err);

	if (v->ended || n < 0)
		return n;
	if (n > 0)
		hasher_update(&v->hasher, *block, (size_t)n);
	if (n > 0 && v->hasher.bytes > v->size)
		return error_set(err, EBADMSG, "corrupt: it has more than its %llu bytes", (unsigned long long)v->size);
	v->ended = !n;
	return n ? n : verify_end(v, err);
}

static void verify_close(struct stream *s)
{
	struct verify_stream *v = container_of(s, struct verify_stream, s);

	stream_close(v->from);
	free(v);
}

struct stream *stream_verify(struct stream *from, const struct digest *promised, u64 size, struct error *err)
{
	struct verify_stream *v = malloc(sizeof(*v));

	if (!v) {
		stream_close(from);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	*v = (struct verify_stream){
		.s = { verify_next, verify_close }, .from = from, .promised = *promised, .size = size
	};
	hasher_init(&v->hasher, promised);
	return &v->s;
}

/* ---- libarchive ---- */

ssize_t feed_read(struct archive *a, void *feed, const void **block)
{
	struct feed *f = feed;
	ssize_t n = f->ended ? 0 : f->from->next(f->from, block, &f->inner);

	if (n < 0)
		archive_set_error(a, -(int)n, "%s", f->inner.text);
	f->ended = n <= 0;
	return n < 0 ? ARCHIVE_FATAL : n;
}

int feed_drain(struct feed *f, struct error *err)
{
	const void *block;

	while (!f->ended)
		f->ended = f->from->next(f->from, &block, &f->inner) <= 0;
	/* libarchive reads ahead, and has no use for an error behind what it wanted. */
	if (f->inner.code)
		*err = f->inner;
	return f->inner.code;
}

int feed_fail(struct feed *f, struct archive *a, const char *what, struct error *err)
{
	const char *why = archive_error_string(a);

	if (f->inner.code) {
		*err = f->inner;
		return err->code;
	}
	return error_set(err, EBADMSG, "%s: %s", what, why ? why : "damaged");
}

/* ---- decompression ---- */

struct unpack_stream {
	struct stream s, *from;
	struct archive *archive;
	struct feed feed;
	bool empty;
};

static int unpack_fail(struct unpack_stream *u, struct error *err)
{
	return feed_fail(&u->feed, u->archive, "cannot be decompressed", err);
}

static ssize_t unpack_next(struct stream *s, const void **block, struct error *err)
{
	struct unpack_stream *u = container_of(s, struct unpack_stream, s);
	la_int64_t offset;
	size_t len = 0;
	int r = ARCHIVE_OK;

	while (!u->empty && !len && r == ARCHIVE_OK)
		r = archive_read_data_block(u->archive, block, &len, &offset);
	if (r != ARCHIVE_OK && r != ARCHIVE_EOF)
		return unpack_fail(u, err);
	return r == ARCHIVE_OK && len ? (ssize_t)len : feed_drain(&u->feed, err);
}

static void unpack_close(struct stream *s)
{
	struct unpack_stream *u = container_of(s, struct unpack_stream, s);

	archive_read_free(u->archive);
	stream_close(u->from);
	free(u);
}

static int unpack_open(struct unpack_stream *u, struct error *err)
{
	struct archive_entry *entry;
	int r;

	archive_read_support_filter_gzip(u->archive);
	archive_read_support_filter_zstd(u->archive);
	archive_read_support_filter_xz(u->archive);
	archive_read_support_filter_bzip2(u->archive);
	archive_read_support_format_raw(u->archive);
	archive_read_support_format_empty(u->archive);
	r = archive_read_open(u->archive, &u->feed, NULL, feed_read, NULL);
	if (r == ARCHIVE_OK)
		r = archive_read_next_header(u->archive, &entry);
	u->empty = r == ARCHIVE_EOF;
	return r == ARCHIVE_OK || r == ARCHIVE_EOF ? 0 : unpack_fail(u, err);
}

struct stream *stream_unpack(struct stream *from, struct error *err)
{
	struct unpack_stream *u = calloc(1, sizeof(*u));
	struct archive *a = u ? archive_read_new() : NULL;

	if (!a) {
		free(u);
		stream_close(from);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	*u = (struct unpack_stream){
		.s = { unpack_next, unpack_close }, .from = from, .archive = a, .feed.from = from
	};
	if (!unpack_open(u, err))
		return &u->s;
	unpack_close(&u->s);
	return NULL;
}

/* ---- into memory ---- */

int stream_slurp(struct stream *s, size_t most, char **text, size_t *len, struct error *err)
{
	_cleanup_free_ char *all = NULL;
	size_t have = 0;
	const void *block;
	ssize_t n;

	while ((n = s->next(s, &block, err)) > 0) {
		if ((size_t)n > most - have)
			return error_set(err, EFBIG, "larger than %zu MiB, which is too much for what it should be",
					 most >> 20);
		char *grown = realloc(all, have + (size_t)n + 1);
		if (!grown)
			return error_set(err, ENOMEM, "out of memory");
		all = grown;
		memcpy(all + have, block, (size_t)n);
		have += (size_t)n;
	}
	if (n < 0)
		return (int)n;
	if (!all)
		all = calloc(1, 1);
	if (!all)
		return error_set(err, ENOMEM, "out of memory");
	all[have] = 0;
	*len = have;
	*text = steal_ptr(all);
	return 0;
}
