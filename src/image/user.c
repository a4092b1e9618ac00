/* SPDX-License-Identifier: Apache-2.0 */
/* Users of a root file system: see user.h. */
#include "image/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/tree.h"
#include "util/cleanup.h"

#define FIELDS_MAX 8
#define LINES_MAX  100000
#define SHOWN	   100
#define FILE_MAX   (16 << 20) /* what is larger lists no users */

struct lines { /* of a file with fields between colons; NULL file: there is none, so no lines */
	FILE *file;
	char *line;
	size_t room;
	unsigned count;
	char *field[FIELDS_MAX]; /* of the current line; "" where there are fewer */
};

static void lines_open(struct lines *l, const struct tree *t, const char *path)
{
	int fd = tree_open(t, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	*l = (struct lines){ 0 };
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX)
		l->file = fdopen(fd, "r");
	if (fd >= 0 && !l->file)
		close(fd);
}

static void lines_close(struct lines *l)
{
	if (l->file)
		fclose(l->file);
	free(l->line);
}

static bool lines_next(struct lines *l)
{
	ssize_t n = l->file && l->count++ < LINES_MAX ? getline(&l->line, &l->room, l->file) : -1;
	char *rest = l->line;

	if (n < 0)
		return false;
	l->line[strcspn(l->line, "\n")] = 0;
	for (unsigned i = 0; i < FIELDS_MAX; i++) {
		l->field[i] = rest ? strsep(&rest, ":") : NULL;
		if (!l->field[i])
			l->field[i] = "";
	}
	return true;
}

/* Ids end before 2^32 - 1, which system calls take for "as it is". */
static bool parse_id(const char *text, u32 *out)
{
	char *end;
	unsigned long long n;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || n >= UINT32_MAX)
		return false;
	*out = (u32)n;
	return true;
}

/* name: set to the user's, to find its groups by; empty if it is not listed. */
static bool find_passwd(struct user *u, const struct tree *t, const char *who, char name[64])
{
	struct lines l;
	u32 uid = 0, gid;
	/* Root is root, listed or not. */
	bool number = parse_id(who, &uid) || !strcmp(who, "root"), found = false;

	*name = 0;
	lines_open(&l, t, "etc/passwd");
	while (!found && lines_next(&l)) {
		u32 listed;
		if (!parse_id(l.field[2], &listed) || !parse_id(l.field[3], &gid))
			continue;
		found = !strcmp(l.field[0], who) || (number && listed == uid);
		if (!found)
			continue;
		u->uid = listed;
		u->gid = gid;
		snprintf(name, 64, "%s", l.field[0]);
		if (l.field[5][0] == '/')
			snprintf(u->home, sizeof(u->home), "%s", l.field[5]);
	}
	lines_close(&l);
	if (!found && number)
		u->uid = uid;
	return found || number;
}

static bool find_group(struct user *u, const struct tree *t, const char *group)
{
	struct lines l;
	u32 gid;
	bool found = false;

	if (parse_id(group, &u->gid))
		return true;
	lines_open(&l, t, "etc/group");
	while (!found && lines_next(&l))
		found = !strcmp(l.field[0], group) && parse_id(l.field[2], &gid);
	lines_close(&l);
	if (found)
		u->gid = gid;
	return found;
}

static bool lists(char *members, const char *name)
{
	for (char *m; (m = strsep(&members, ","));)
		if (!strcmp(m, name))
			return true;
	return false;
}

static void find_further_groups(struct user *u, const struct tree *t, const char *name)
{
	struct lines l;
	u32 gid;

	lines_open(&l, t, "etc/group");
	while (u->ngroups < USER_GROUPS_MAX && lines_next(&l))
		if (parse_id(l.field[2], &gid) && gid != u->gid && lists(l.field[3], name))
			u->group[u->ngroups++] = gid;
	lines_close(&l);
}

int user_find(struct user *u, const char *root, const char *who, struct error *err)
{
	_cleanup_free_ char *user = strdup(who);
	_cleanup_fd_ int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct tree t = { .root = fd };
	char *group = user ? strchr(user, ':') : NULL;
	char name[64];

	*u = (struct user){ .home = "/" };
	if (!user || fd < 0)
		return error_set(err, errno, "%s", strerror(errno));
	if (group)
		*group++ = 0;
	if (!find_passwd(u, &t, *user ? user : "0", name))
		return error_set(err, EINVAL, "user '%.*s' is not in its /etc/passwd", SHOWN, user);
	if (group && *group) {
		if (!find_group(u, &t, group))
			return error_set(err, EINVAL, "group '%.*s' is not in its /etc/group", SHOWN, group);
	} else if (*name) {
		find_further_groups(u, &t, name);
	}
	return 0;
}

void user_format(char text[USER_TEXT], const struct user *u)
{
	size_t n = (size_t)snprintf(text, USER_TEXT, "%u:%u:", u->uid, u->gid);

	for (unsigned i = 0; i < u->ngroups; i++)
		n += (size_t)snprintf(text + n, USER_TEXT - n, "%s%u", i ? "," : "", u->group[i]);
}
