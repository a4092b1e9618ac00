/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks the compressed kernel of a bzImage on the host, so that no engine spends its time in the guest's decompressor.
 *
 * The kernel's build leaves the unpacked size in the payload's last four bytes: gzip has it there by itself, for the others
 * it is appended. That size is the buffer's, and a stream that ends before or after it is corrupt. A row of `formats` is
 * all that a compression is.
 */
#include "boot/image.h"
#include "boot/unpackers.h"

#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define SIZE_FIELD	 4
#define LZ4_LEGACY_BLOCK (8u << 20) /* most that a block of a legacy frame unpacks to */
#define LZMA_MEMORY	 (1ull << 30)

struct job {
	const u8 *in;
	size_t in_len;
	u8 *out;
	size_t out_len;
};

/* Each returns 0 when the stream is whole and gave exactly out_len bytes, else -1. */

static int unpack_gzip(const struct job *j)
{
	z_stream z = { .next_in = (Bytef *)j->in,
		       .avail_in = (uInt)j->in_len,
		       .next_out = j->out,
		       .avail_out = (uInt)j->out_len };
	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return -1;
	int r = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return r == Z_STREAM_END && !z.avail_out ? 0 : -1;
}

static int run_lzma(lzma_stream *s, const struct job *j)
{
	s->next_in = j->in;
	s->avail_in = j->in_len;
	s->next_out = j->out;
	s->avail_out = j->out_len;
	lzma_ret r = LZMA_OK;
	/* A stream that is done needs one more call to say so when its last byte filled the buffer. */
	for (int i = 0; i < 2 && r == LZMA_OK; i++)
		r = lzma_code(s, LZMA_FINISH);
	bool full = !s->avail_out;
	lzma_end(s);
	return r == LZMA_STREAM_END && full ? 0 : -1;
}

static int unpack_xz(const struct job *j)
{
	lzma_stream s = LZMA_STREAM_INIT;
	return lzma_stream_decoder(&s, LZMA_MEMORY, 0) == LZMA_OK ? run_lzma(&s, j) : -1;
}

static int unpack_lzma(const struct job *j)
{
	lzma_stream s = LZMA_STREAM_INIT;
	return lzma_alone_decoder(&s, LZMA_MEMORY) == LZMA_OK ? run_lzma(&s, j) : -1;
}

static int unpack_lz4(const struct job *j)
{
	size_t in = 4, out = 0; /* past the magic */
	while (j->in_len - in > SIZE_FIELD) {
		u32 block = *(const u32_una *)(j->in + in);
		in += 4;
		if (block > j->in_len - in)
			return -1;
		int room = (int)MIN(j->out_len - out, (size_t)LZ4_LEGACY_BLOCK);
		int n = LZ4_decompress_safe((const char *)j->in + in, (char *)j->out + out, (int)block, room);
		if (n < 0)
			return -1;
		in += block;
		out += (size_t)n;
	}
	return out == j->out_len ? 0 : -1;
}

static int unpack_zstd(const struct job *j)
{
	size_t frame = ZSTD_findFrameCompressedSize(j->in, j->in_len);
	if (ZSTD_isError(frame))
		return -1;
	size_t n = ZSTD_decompress(j->out, j->out_len, j->in, frame);
	return !ZSTD_isError(n) && n == j->out_len ? 0 : -1;
}

static const struct format {
	const char *name;
	u8 magic[6];
	u8 magic_len;
	const struct lazy_library *library;
	int (*unpack)(const struct job *j); /* NULL: known, but no library of ours reads it */
} formats[] = {
	{ "gzip", { 0x1f, 0x8b }, 2, &lib_zlib, unpack_gzip },
	{ "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, &lib_lzma, unpack_xz },
	{ "lzma", { 0x5d, 0, 0 }, 3, &lib_lzma, unpack_lzma },
	{ "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4, &lib_lz4, unpack_lz4 },
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, &lib_zstd, unpack_zstd },
	{ "bzip2", { 'B', 'Z', 'h' }, 3, NULL, NULL },
	{ "lzo", { 0x89, 'L', 'Z', 'O', 0, '\r' }, 6, NULL, NULL },
};

static const struct format *find_format(const u8 *data, size_t len)
{
	for (const struct format *f = formats; f < formats + ARRAY_SIZE(formats); f++)
		if (len >= f->magic_len && !memcmp(data, f->magic, f->magic_len))
			return f;
	return NULL;
}

int payload_unpack(struct blob *out, const u8 *data, size_t len, u64 limit, struct error *err)
{
	*out = (struct blob){ 0 };
	const struct format *f = find_format(data, len);
	if (!f)
		return error_set(err, EINVAL, "corrupt: its payload has no compression that is known");
	if (!f->unpack)
		return error_set(err, ENOTSUP, "compressed with %s; gzip, xz, lzma, lz4 and zstd can be unpacked",
				 f->name);
	if (len < (size_t)f->magic_len + SIZE_FIELD)
		return error_set(err, EINVAL, "corrupt: its payload is too short");
	u32 size = *(const u32_una *)(data + len - SIZE_FIELD);
	if (!size)
		return error_set(err, EINVAL, "corrupt: its payload claims to be empty");
	if (size > limit)
		return error_set(err, EFBIG,
				 "unpacks to %u MiB, more than the %llu MiB of memory there are; try a larger --mem",
				 size >> 20, (unsigned long long)limit >> 20);
	if (lazy_load(f->library, err))
		return err ? err->code : -ENOENT;
	out->data = blob_alloc(size);
	if (!out->data)
		return error_set(err, ENOMEM, "no memory to unpack it (%u MiB)", size >> 20);
	out->len = size;
	if (f->unpack(&(struct job){ .in = data, .in_len = len, .out = out->data, .out_len = size })) {
		blob_free(out);
		return error_set(err, EINVAL, "corrupt: its %s payload does not unpack", f->name);
	}
	return 0;
}
