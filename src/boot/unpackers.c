/* SPDX-License-Identifier: Apache-2.0 */
/* The libraries that unpack a kernel, each loaded for the first kernel that needs it: util/lazy.h. */
#include "boot/unpackers.h"

#define ZLIB(F) F(inflateInit2_) F(inflate) F(inflateEnd)
#define LZMA(F) F(lzma_code) F(lzma_end) F(lzma_stream_decoder) F(lzma_alone_decoder)
#define LZ4(F)	F(LZ4_decompress_safe)
#define ZSTD(F) F(ZSTD_findFrameCompressedSize) F(ZSTD_isError) F(ZSTD_decompress)

ZLIB(LAZY_FUNCTION)
LZMA(LAZY_FUNCTION)
LZ4(LAZY_FUNCTION)
ZSTD(LAZY_FUNCTION)

static const struct lazy_symbol zlib[] = { ZLIB(LAZY_SYMBOL){ 0 } };
static const struct lazy_symbol lzma[] = { LZMA(LAZY_SYMBOL){ 0 } };
static const struct lazy_symbol lz4[] = { LZ4(LAZY_SYMBOL){ 0 } };
static const struct lazy_symbol zstd[] = { ZSTD(LAZY_SYMBOL){ 0 } };

const struct lazy_library lib_zlib = { "libz.so.1", zlib };
const struct lazy_library lib_lzma = { "liblzma.so.5", lzma };
const struct lazy_library lib_lz4 = { "liblz4.so.1", lz4 };
const struct lazy_library lib_zstd = { "libzstd.so.1", zstd };
