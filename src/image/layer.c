/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer is a tar that is unpacked over the layers below it, and of which some names mean deletion (OCI image specification,
 * layer.md): ".wh.NAME" of NAME, ".wh..wh..opq" of all that is in the directory. They mean lower layers only, wherever in the
 * tar they are.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include "image/tree.h"
#include "util/cleanup.h"

#define WHITEOUT     ".wh."
#define WHITEOUT_LEN (sizeof(WHITEOUT) - 1)
#define OPAQUE	     WHITEOUT WHITEOUT ".opq"
#define PATH_SHOWN   160

/* "./usr//bin/" and "/usr/bin" are "usr/bin"; ".." is nowhere. */
static int normalize(char out[PATH_MAX], const char *name, struct error *err)
{
	size_t len = 0;

	while (*name) {
		size_t n = strcspn(name, "/");
		if (n == 2 && !strncmp(name, "..", 2))
			return error_set(err, EBADMSG, "a name with '..' in it");
		if (n && !(n == 1 && *name == '.')) {
			if (len + n + 2 > PATH_MAX)
				return error_set(err, ENAMETOOLONG, "%s", strerror(ENAMETOOLONG));
			if (len)
				out[len++] = '/';
			memcpy(out + len, name, n);
			len += n;
		}
		name += n + (name[n] == '/');
	}
	out[len] = 0;
	return 0;
}

static bool has_prefix(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static char *last_part(char *path)
{
	char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Whether a directory on the way has a name that only whiteouts have. */
static bool under_whiteout(const char *path, const char *base)
{
	for (const char *part = path; part < base; part = strchr(part, '/') + 1)
		if (has_prefix(part, WHITEOUT))
			return true;
	return false;
}

static int whiteout(struct tree *t, char *path, char *base, struct error *err)
{
	const char *target = base + WHITEOUT_LEN;
	_cleanup_fd_ int parent = -1;
	int r;

	if (has_prefix(base, WHITEOUT WHITEOUT) && strcmp(base, OPAQUE) != 0)
		return 0; /* other bookkeeping of aufs', where whiteouts come from */
	if (!*target || !strcmp(target, ".") || !strcmp(target, ".."))
		return error_set(err, EBADMSG, "a whiteout of nothing");
	if (base > path)
		base[-1] = 0;
	parent = tree_directory(t, base > path ? path : "");
	if (parent < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : error_set(err, errno, "%s", strerror(errno));
	r = strcmp(base, OPAQUE) ? tree_hide(t, parent, target) : tree_hide_all(t, parent);
	return r ? error_set(err, errno, "cannot be hidden: %s", strerror(errno)) : 0;
}

static int add_named(struct tree *t, struct archive *a, struct archive_entry *e, const char *name, struct error *err)
{
	char path[PATH_MAX], *base;
	int r = normalize(path, name, err);

	if (r)
		return r;
	base = last_part(path);
	if (under_whiteout(path, base))
		return error_set(err, EBADMSG, "in a directory of a name that whiteouts have");
	return has_prefix(base, WHITEOUT) ? whiteout(t, path, base, err) : tree_add_entry(t, a, e, path, err);
}

static int add(struct tree *t, struct archive *a, struct archive_entry *e, struct error *err)
{
	const char *name = archive_entry_pathname(e);
	size_t len = name ? strlen(name) : 0;
	bool cut = len > PATH_SHOWN;

	if (!name)
		return error_set(err, EBADMSG, "a name that cannot be read");
	if (!add_named(t, a, e, name, err))
		return 0;
	return error_wrap(err, "%s%s", cut ? "..." : "", name + (cut ? len - PATH_SHOWN : 0));
}

static int add_all(struct tree *t, struct archive *a, struct feed *feed, struct error *err)
{
	struct archive_entry *e;
	int got = archive_read_open(a, feed, NULL, feed_read, NULL), r = 0;

	while (!r && got >= ARCHIVE_WARN) {
		got = archive_read_next_header(a, &e);
		if (got == ARCHIVE_EOF)
			return feed_drain(feed, err);
		if (got == ARCHIVE_RETRY)
			got = ARCHIVE_OK;
		else if (got >= ARCHIVE_WARN)
			r = add(t, a, e, err);
	}
	/* Where data ends too early it is the stream below that knows why. */
	return r && !feed->inner.code ? r : feed_fail(feed, a, "no tar that can be read", err);
}

/* In a UTF-8 locale names of any bytes come out of libarchive as they went in. */
int tree_add_layer(struct tree *t, struct stream *tar, struct error *err)
{
	struct feed feed = { .from = tar };
	struct archive *a = archive_read_new();
	locale_t utf8, before;
	int r;

	if (!a)
		return error_set(err, ENOMEM, "out of memory");
	utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	before = utf8 ? uselocale(utf8) : (locale_t)0;
	archive_read_support_format_tar(a);
	archive_read_support_format_empty(a);
	r = add_all(t, a, &feed, err);
	archive_read_free(a);
	if (utf8) {
		uselocale(before);
		freelocale(utf8);
	}
	tree_settle(t);
	inode_set_clear(&t->fresh);
	return r;
}
