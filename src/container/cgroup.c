/* SPDX-License-Identifier: Apache-2.0 */
/* Which hierarchies there are, and a container's place in each. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "container/cgroup.h"
#include "container/fileio.h"
#include "container/json.h"
#include "util/cleanup.h"

#define TABLE_MAX (1u << 20)

static void free_hierarchy(struct hierarchy *h)
{
	free(h->mount);
	free(h->controllers);
	free(h->own);
	free(h->path);
	*h = (struct hierarchy){ 0 };
}

void cgroup_free(struct cgroup *c)
{
	for (unsigned i = 0; i < c->n; i++)
		free_hierarchy(&c->h[i]);
	free(c->unit);
	*c = (struct cgroup){ 0 };
}

/* Whether the comma-separated list has the word. */
static bool listed(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (!strncmp(p, word, n) && (p[n] == ',' || !p[n]))
			return true;
	return false;
}

/* Of a mount's options those that are controllers' names, as /proc/self/cgroup has them. */
static char *controllers_of(char *options)
{
	static const char *const others[] = { "rw", "ro", "xattr", "clone_children", "noprefix", "nsdelegate", "none" };
	char *out = calloc(1, strlen(options) + 1), *save = NULL;

	for (char *w = strtok_r(options, ",\n", &save); out && w; w = strtok_r(NULL, ",\n", &save)) {
		bool other = !strncmp(w, "release_agent=", 14);

		for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
			other |= !strcmp(w, others[i]);
		if (other)
			continue;
		if (*out)
			strcat(out, ",");
		strcat(out, w);
	}
	return out;
}

static bool known(const struct cgroup *c, const char *controllers, bool v2)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->h[i].v2 == v2 && !strcmp(c->h[i].controllers, controllers))
			return true;
	return false;
}

/* Our own group in that hierarchy, as seen from its mount, whose root may be a group below the hierarchy's. */
static char *own_group(const char *table, const struct hierarchy *h, const char *root)
{
	const char *line = table;

	for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		const char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
		size_t n, r = strlen(root);

		if (!path)
			continue;
		n = (size_t)(path - names - 1);
		if (h->v2 ? n || strncmp(line, "0:", 2)
			  : n != strlen(h->controllers) || strncmp(names + 1, h->controllers, n))
			continue;
		path++;
		n = strcspn(path, "\n");
		if (r > 1 && n >= r && !strncmp(path, root, r)) {
			path += r;
			n -= r;
		}
		return strndup(path, n);
	}
	return strdup("/");
}

/* One line of mountinfo (proc_pid_mountinfo(5)). */
static int add_mount(struct cgroup *c, char *line, const char *table)
{
	char *dash = strstr(line, " - "), *field[5], *save = NULL, *type, *options;
	struct hierarchy h = { 0 };

	if (!dash || (strncmp(dash, " - cgroup ", 10) && strncmp(dash, " - cgroup2 ", 11)))
		return 0;
	*dash = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(field); i++)
		if (!(field[i] = strtok_r(i ? NULL : line, " ", &save)))
			return 0;
	type = strtok_r(dash + 3, " ", &save);
	strtok_r(NULL, " ", &save);
	options = strtok_r(NULL, " ", &save);
	h.v2 = type && !strcmp(type, "cgroup2");
	h.controllers = h.v2 ? strdup("") : controllers_of(options ? options : (char[]){ "" });
	if (h.controllers && (known(c, h.controllers, h.v2) || c->n == CGROUP_HIERARCHIES)) {
		free_hierarchy(&h);
		return 0;
	}
	h.mount = strdup(field[4]);
	h.own = h.controllers ? own_group(table, &h, field[3]) : NULL;
	if (!h.controllers || !h.mount || !h.own) {
		free_hierarchy(&h);
		return -ENOMEM;
	}
	c->h[c->n++] = h;
	return 0;
}

int cgroup_find(struct cgroup *c, struct error *err)
{
	_cleanup_free_ char *mounts = file_read(AT_FDCWD, "/proc/self/mountinfo", TABLE_MAX);
	_cleanup_free_ char *groups = file_read(AT_FDCWD, "/proc/self/cgroup", TABLE_MAX);
	char *save = NULL;

	*c = (struct cgroup){ 0 };
	if (!mounts || !groups)
		return error_set(err, errno, "finding control groups in /proc: %s", strerror(errno));
	for (char *line = strtok_r(mounts, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (add_mount(c, line, groups))
			return error_set(err, ENOMEM, "out of memory");
	return 0;
}

/* A relative path is below our own group; with v2 beside it, as a group with processes may have no groups with controllers. */
static char *place(const struct cgroup *c, const struct hierarchy *h, const char *path)
{
	_cleanup_free_ char *own = strdup(h->own);
	char *full = NULL, *slash;

	if (!own)
		return NULL;
	if (path[0] == '/' ? asprintf(&full, "%s", path + strspn(path, "/")) < 0 : false)
		return NULL;
	if (full)
		return full;
	slash = h->v2 && c->n == 1 ? strrchr(own, '/') : NULL;
	if (slash)
		*slash = 0;
	if (asprintf(&full, "%s/%s", own + strspn(own, "/"), path) < 0)
		return NULL;
	return memmove(full, full + strspn(full, "/"), strlen(full + strspn(full, "/")) + 1);
}

static unsigned missing_levels(const struct hierarchy *h)
{
	_cleanup_free_ char *at = NULL;
	unsigned n = 0;

	if (asprintf(&at, "%s/%s", h->mount, h->path) < 0) {
		at = NULL;
		return 0;
	}
	for (; strlen(at) > strlen(h->mount) && access(at, F_OK); n++)
		*strrchr(at, '/') = 0;
	return n;
}

static bool leaves(const char *path)
{
	for (const char *p = path; (p = strstr(p, "..")); p += 2)
		if ((p == path || p[-1] == '/') && (!p[2] || p[2] == '/'))
			return true;
	return false;
}

int cgroup_plan(struct cgroup *c, const char *path, const char *id, struct error *err)
{
	char otherwise[300];

	if (path && leaves(path))
		return error_set(err, EINVAL, "config: the path of control groups, %s, has .. in it", path);
	if (path && *path && !path[strspn(path, "/")])
		return error_set(err, EINVAL, "config: the root of all control groups is no place for a container");
	snprintf(otherwise, sizeof(otherwise), "sextant-%s", id);
	for (unsigned i = 0; i < c->n; i++) {
		struct hierarchy *h = &c->h[i];
		size_t n;

		h->path = place(c, h, path && *path ? path : otherwise);
		if (!h->path)
			return error_set(err, ENOMEM, "out of memory");
		for (n = strlen(h->path); n && h->path[n - 1] == '/'; n--)
			h->path[n - 1] = 0;
		h->made = missing_levels(h);
	}
	return 0;
}

json_t *cgroup_save(const struct cgroup *c)
{
	json_t *all = json_array(), *o = json_object();

	for (unsigned i = 0; i < c->n; i++) {
		const struct hierarchy *h = &c->h[i];

		if (h->path)
			json_array_append_new(all, json_pack("{s:s,s:s,s:s,s:i,s:b}", "mount", h->mount, "controllers",
							     h->controllers, "path", h->path, "made", (int)h->made,
							     "v2", (int)h->v2));
	}
	json_object_set_new(o, "hierarchies", all);
	if (c->unit)
		json_object_set_new(o, "unit", json_string(c->unit));
	return o;
}

int cgroup_load(struct cgroup *c, const json_t *saved, struct error *err)
{
	size_t i;
	json_t *each;

	*c = (struct cgroup){ 0 };
	json_array_foreach(js_at(saved, "hierarchies"), i, each)
	{
		const char *mount = js_str(each, "mount"), *path = js_str(each, "path"),
			   *ctl = js_str(each, "controllers");
		struct hierarchy *h = &c->h[c->n];

		if (c->n == CGROUP_HIERARCHIES || !mount || !path || !ctl)
			return error_set(err, EINVAL, "the state's control groups make no sense");
		*h = (struct hierarchy){
			.mount = strdup(mount), .path = strdup(path), .controllers = strdup(ctl), .own = strdup("/")
		};
		h->made = (unsigned)js_int(each, "made", 0);
		h->v2 = js_bool(each, "v2", false);
		c->n++;
		if (!h->mount || !h->path || !h->controllers || !h->own)
			return error_set(err, ENOMEM, "out of memory");
	}
	if (js_str(saved, "unit"))
		c->unit = strdup(js_str(saved, "unit"));
	return 0;
}

char *cgroup_dir(const struct cgroup *c, const char *controller, bool *v2)
{
	const struct hierarchy *found = NULL;
	char *dir;

	for (unsigned i = 0; i < c->n && !(found && !found->v2); i++)
		if (c->h[i].path && (c->h[i].v2 || listed(c->h[i].controllers, controller)))
			found = &c->h[i];
	if (!found || asprintf(&dir, "%s/%s", found->mount, found->path) < 0)
		return NULL;
	*v2 = found->v2;
	return dir;
}
