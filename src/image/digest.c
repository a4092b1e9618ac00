/* SPDX-License-Identifier: Apache-2.0 */
/* Digests: see digest.h. The arithmetic is nettle's. */
#include "image/digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SHOWN 12 /* as many digits as people compare */

static bool is_hex(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!s[i] || !strchr("0123456789abcdef", s[i]))
			return false;
	return true;
}

bool digest_is_hex256(const char *text, size_t len)
{
	return len == 2 * SHA256_DIGEST_SIZE && is_hex(text, len);
}

bool digest_parse(struct digest *d, const char *text)
{
	static const struct {
		const char *name;
		size_t len;
	} known[] = { { "sha256", 2 * SHA256_DIGEST_SIZE }, { "sha512", 2 * SHA512_DIGEST_SIZE } };
	const char *colon = strchr(text, ':');
	size_t hex = colon ? strlen(colon + 1) : 0;

	for (unsigned i = 0; colon && i < ARRAY_SIZE(known); i++) {
		if (strlen(known[i].name) != (size_t)(colon - text) ||
		    strncmp(known[i].name, text, (size_t)(colon - text)) != 0)
			continue;
		if (hex != known[i].len || !is_hex(colon + 1, hex))
			return false;
		d->algorithm = known[i].name;
		memcpy(d->hex, colon + 1, hex + 1);
		return true;
	}
	return false;
}

void hasher_init(struct hasher *h, const struct digest *like)
{
	h->wide = like && like->algorithm && !strcmp(like->algorithm, "sha512");
	h->bytes = 0;
	if (h->wide)
		sha512_init(&h->sha512);
	else
		sha256_init(&h->sha256);
}

void hasher_update(struct hasher *h, const void *data, size_t len)
{
	h->bytes += len;
	if (h->wide)
		sha512_update(&h->sha512, len, data);
	else
		sha256_update(&h->sha256, len, data);
}

void hasher_result(struct hasher *h, struct digest *out)
{
	u8 raw[SHA512_DIGEST_SIZE];
	size_t len = h->wide ? SHA512_DIGEST_SIZE : SHA256_DIGEST_SIZE;

	out->algorithm = h->wide ? "sha512" : "sha256";
	if (h->wide)
		sha512_digest(&h->sha512, len, raw);
	else
		sha256_digest(&h->sha256, len, raw);
	for (size_t i = 0; i < len; i++)
		snprintf(out->hex + 2 * i, 3, "%02x", raw[i]);
}

int hasher_check(struct hasher *h, const struct digest *promised, struct error *err)
{
	struct digest is;

	hasher_result(h, &is);
	if (!promised->algorithm || !strcmp(is.hex, promised->hex))
		return 0;
	return error_set(err, EBADMSG, "corrupt: its digest is %s:%.*s..., and should be %.*s...", is.algorithm, SHOWN,
			 is.hex, SHOWN, promised->hex);
}
