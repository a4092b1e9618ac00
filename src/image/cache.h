/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where unpacked images are kept: $XDG_CACHE_HOME/sextant/images, else ~/.cache/sextant/images, by the digest of their layers
 * (the OCI image specification's ChainID), so that an image is unpacked once whatever it came in.
 *
 *   rootfs/HEX/root       the root file system; nobody writes to it once it is here
 *   rootfs/HEX/info.json  about it, for people
 *   rootfs/HEX/pins/NAME  a snapshot of that name stands on it
 *   locks/HEX             locked shared by who uses it, exclusively by who makes or deletes it
 *   tmp/NAME              one that is being unpacked, locked by who does it; else it was left behind, and goes
 */
#pragma once
#include "image/json.h"

struct cache {
	int fd;
	char *path;
};
int cache_open(struct cache *c, struct error *err);
void cache_close(struct cache *c);

/* A lock on an entry, -1 and err; blocks while somebody else makes it. */
int cache_lock(const struct cache *c, const char *hex, bool exclusive, struct error *err);
/* Closes an exclusive lock, and deletes it if there is nothing that it is about. */
void cache_unlock(const struct cache *c, const char *hex, int fd);
bool cache_has(const struct cache *c, const char *hex);
json_t *cache_info(const struct cache *c, const char *hex); /* NULL if it cannot be read */

/* A place to unpack in, which is the caller's until it closes the descriptor. */
struct staging {
	int fd;
	char name[32];
};
int cache_stage(const struct cache *c, struct staging *s, struct error *err);
/* Puts what was staged in its place, to which it is moved whole. The caller has the exclusive lock. */
int cache_commit(const struct cache *c, struct staging *s, const char *hex, struct error *err);
void cache_abandon(const struct cache *c, struct staging *s);

/* All entries, in no order. */
struct cache_entry {
	char hex[72];
	json_t *info; /* the caller's; NULL if it cannot be read */
};
int cache_list(const struct cache *c, struct cache_entry **list, size_t *count, struct error *err);
void cache_list_free(struct cache_entry *list, size_t count);
/* Keeps an entry from being removed, for somebody of that name. */
int cache_pin(const struct cache *c, const char *hex, const char *who, bool pin, struct error *err);
/* -EBUSY: somebody uses it. */
int cache_remove(const struct cache *c, const char *hex, struct error *err);
/* Deletes what interrupted runs have left. */
void cache_sweep(const struct cache *c);
