/* SPDX-License-Identifier: Apache-2.0 */
/* Libraries to lazy_load() before what they do is asked of them. */
#pragma once
#include "util/lazy.h"

extern const struct lazy_library lib_zlib, lib_lzma, lib_lz4, lib_zstd;
