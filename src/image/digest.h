/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests as container images write them: "sha256:" or "sha512:" and lower-case hexadecimal (OCI image specification,
 * descriptor.md). A parsed digest's text is safe as a part of a path.
 */
#pragma once
#include <nettle/sha2.h>

#include "util/error.h"
#include "util/types.h"

#define DIGEST_HEX_MAX (2 * SHA512_DIGEST_SIZE)

struct digest {
	const char *algorithm; /* NULL: none is known, and nothing is to be compared */
	char hex[DIGEST_HEX_MAX + 1];
};

/* False: neither of the two algorithms, or no digest at all. */
bool digest_parse(struct digest *d, const char *text);
/* "sha256" and that many letters of it, as images' identities are shown. */
bool digest_is_hex256(const char *text, size_t len);

/* Computes one while bytes pass by. */
struct hasher {
	bool wide; /* sha512 */
	u64 bytes;
	union {
		struct sha256_ctx sha256;
		struct sha512_ctx sha512;
	};
};
void hasher_init(struct hasher *h, const struct digest *like);
void hasher_update(struct hasher *h, const void *data, size_t len);
/* Ends it; the result has the algorithm that it was begun with. */
void hasher_result(struct hasher *h, struct digest *out);
/* Ends it; 0, or err if it is not the digest that was promised. */
int hasher_check(struct hasher *h, const struct digest *promised, struct error *err);
