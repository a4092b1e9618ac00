/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that are pulled through stages: a file, a member of an archive, a digest taken on the way, a decompressor. A block
 * stays valid until the next call on the same stream. A stage owns the one that it reads from.
 */
#pragma once
#include <sys/types.h>

#include "image/digest.h"

struct stream {
	/* The next block: its length; 0 at the end; negative errno and err. */
	ssize_t (*next)(struct stream *s, const void **block, struct error *err);
	void (*close)(struct stream *s);
};

static inline void stream_close(struct stream *s)
{
	if (s)
		s->close(s);
}
static inline void stream_cleanup(struct stream **s)
{
	stream_close(*s);
}
#define _cleanup_stream_ __attribute__((cleanup(stream_cleanup)))

/* Of an open file, from where it stands; takes the descriptor. */
struct stream *stream_file(int fd, struct error *err);
/* Passes on what it reads, and fails at the end if that was not the promised digest, or not `size` bytes. */
#define STREAM_ANY_SIZE (~0ull)
struct stream *stream_verify(struct stream *from, const struct digest *promised, u64 size, struct error *err);
/* gzip, zstd, xz, bzip2, or neither: as the bytes tell. */
struct stream *stream_unpack(struct stream *from, struct error *err);
/* The callback that libarchive reads by, and its argument; drain reads what libarchive had no use for, so that all is verified. */
struct feed {
	struct stream *from; /* not owned */
	struct error inner; /* what `from` said */
	bool ended;
};
struct archive;
ssize_t feed_read(struct archive *a, void *feed, const void **block);
int feed_drain(struct feed *f, struct error *err);
/* An error of libarchive's, or the one of ours that caused it, after `what`. */
int feed_fail(struct feed *f, struct archive *a, const char *what, struct error *err);

/* All of it, with a 0 after the end; more than `most` bytes is an error. */
int stream_slurp(struct stream *s, size_t most, char **text, size_t *len, struct error *err);
