/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much an image may unpack to. A few kilobytes can say that they are an exabyte: so all that is written is taken from a
 * budget first, which ends before the file system does.
 */
#pragma once
#include "util/error.h"
#include "util/types.h"

struct budget {
	u64 limit, left; /* bytes */
	u64 entries; /* that are left */
	u64 unchecked; /* written since the file system was asked for its room */
	int fd; /* anything on the file system; not owned */
};
/* The limit is $SEXTANT_IMAGE_LIMIT, a number of bytes with a suffix K, M, G or T, else 16G. */
int budget_init(struct budget *b, int fd, struct error *err);
int budget_bytes(struct budget *b, u64 bytes, struct error *err);
int budget_entry(struct budget *b, struct error *err);
