/* SPDX-License-Identifier: Apache-2.0 */
/* Getting an image's layers into the cache, or finding them there. */
#pragma once
#include "image/cache.h"
#include "image/image.h"
#include "image/manifest.h"

#define CHAIN_TEXT 72 /* room for what names an entry of the cache */

struct unpacking {
	struct image *image;
	struct cache cache;
	struct budget budget;
	struct manifest manifest;
	struct source *source;
	const char *spec;
};

/* What its layers together are called. */
void chain_id(char hex[CHAIN_TEXT], const struct manifest *m);
/* Ends with a shared lock on an entry that is there, image->lock. */
int unpacking_obtain(struct unpacking *u, struct error *err);
