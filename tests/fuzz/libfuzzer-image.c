/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container images: the first byte says which part of one the rest is. 'L', a layer: whatever is in it, nothing outside of the tree
 * changes, and what it leaves can be deleted. 'C', a compressed stream. 'M' and 'I', the JSON of docker save's manifest or of
 * an OCI index, up to a zero byte, and what every other member then holds.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/manifest.h"
#include "image/tree.h"

#define MOST (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- streams and sources of memory ---- */

struct memory {
	struct stream s;
	const u8 *data;
	size_t len;
};

static ssize_t memory_next(struct stream *s, const void **block, struct error *err)
{
	struct memory *m = container_of(s, struct memory, s);
	size_t n = m->len;

	*block = m->data;
	m->len = 0;
	return (ssize_t)n;
}

static void memory_close(struct stream *s)
{
	free(container_of(s, struct memory, s));
}

static struct stream *memory_stream(const u8 *data, size_t len)
{
	struct memory *m = malloc(sizeof(*m));

	assert(m);
	*m = (struct memory){ { memory_next, memory_close }, data, len };
	return &m->s;
}

struct pair { /* one member by name, and one for all other names */
	struct source s;
	const char *name;
	const u8 *first, *rest;
	size_t first_len, rest_len;
};

static struct stream *pair_open(struct source *s, const char *name, struct error *err)
{
	struct pair *p = container_of(s, struct pair, s);

	if (!strcmp(name, p->name))
		return memory_stream(p->first, p->first_len);
	if (!strcmp(name, "index.json") || !strcmp(name, "oci-layout")) {
		error_set(err, ENOENT, "not in the image");
		return NULL;
	}
	return memory_stream(p->rest, p->rest_len);
}

/* ---- parts ---- */

static void check(int r, const struct error *err)
{
	assert(r <= 0);
	if (r)
		assert(err->code < 0 && err->text[0]);
}

static void load(const char *name, const u8 *data, size_t size)
{
	static const struct source_ops ops = { .open = pair_open };
	const u8 *zero = memchr(data, 0, size);
	size_t len = zero ? (size_t)(zero - data) : size;
	struct pair p = { { &ops }, name, data, zero ? zero + 1 : data, len, zero ? size - len - 1 : 0 };
	struct error err = { 0 };
	struct manifest m;

	check(manifest_load(&m, &p.s, len & 1 ? "tag" : NULL, &err), &err);
	manifest_free(&m);
}

static void decompress(const u8 *data, size_t size)
{
	struct error err = { 0 };
	struct stream *s = stream_unpack(memory_stream(data, size), &err);
	char *text = NULL;
	size_t len;

	if (s)
		check(stream_slurp(s, MOST, &text, &len, &err), &err);
	else
		check(err.code, &err);
	stream_close(s);
	free(text);
}

static int open_at(int parent, const char *name)
{
	int fd;

	assert(!mkdirat(parent, name, 0700));
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(fd >= 0);
	return fd;
}

static void layer(const u8 *data, size_t size)
{
	static char top_name[] = "/dev/shm/sextant-fuzz-XXXXXX";
	struct error err = { 0 };
	struct budget budget;
	struct stat st;
	char *name = strdup(top_name);

	assert(name && mkdtemp(name));
	int top = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(top >= 0);
	struct tree t = { .budget = &budget };
	t.root = open_at(top, "root");
	t.trash = open_at(top, "trash");
	close(open_at(top, "outside"));
	assert(!budget_init(&budget, top, &err));
	budget.left = MOST;
	budget.entries = 1000;
	struct stream *s = memory_stream(data, size);
	check(tree_add_layer(&t, s, &err), &err);
	stream_close(s);
	close(t.root);
	close(t.trash);
	/* Nothing has come or gone beside the tree: a directory has a link for each that is in it, and files would keep it. */
	assert(!fstatat(top, "outside", &st, AT_SYMLINK_NOFOLLOW) && st.st_nlink == 2 && !fstat(top, &st) &&
	       st.st_nlink == 5);
	assert(!unlinkat(top, "outside", AT_REMOVEDIR));
	trash_empty(top);
	close(top);
	assert(!rmdir(name));
	free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0]) {
	case 'L': layer(data + 1, size - 1); break;
	case 'C': decompress(data + 1, size - 1); break;
	case 'M': load("manifest.json", data + 1, size - 1); break;
	case 'I': load("index.json", data + 1, size - 1); break;
	}
	return 0;
}
