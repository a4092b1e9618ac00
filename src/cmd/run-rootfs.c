/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --rootfs names becomes a directory, a command, and who runs it where with what environment: from the options first, else
 * from the image's configuration, else as at a console login. Engines of all kinds take it from here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/run.h"
#include "util/cleanup.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define LOGIN_HOME   "/root"

/* ---- environment ---- */

static size_t name_length(const char *assignment)
{
	return strcspn(assignment, "=");
}

static char **find_variable(struct run_rootfs *r, const char *assignment)
{
	size_t len = name_length(assignment);

	for (char **e = r->env; e < r->env + r->nenv; e++)
		if (!strncmp(*e, assignment, len) && (*e)[len] == '=')
			return e;
	return NULL;
}

/* What is set again takes the old one's place. */
static int set_variable(struct run_rootfs *r, const char *assignment)
{
	char **old = find_variable(r, assignment), **grown;
	char *copy = strdup(assignment);

	if (copy && old) {
		free(*old);
		*old = copy;
		return 0;
	}
	grown = copy ? reallocarray(r->env, r->nenv + 2, sizeof(*grown)) : NULL;
	if (!grown) {
		free(copy);
		return -ENOMEM;
	}
	r->env = grown;
	grown[r->nenv++] = copy;
	grown[r->nenv] = NULL;
	return 0;
}

static int default_variable(struct run_rootfs *r, const char *assignment)
{
	return find_variable(r, assignment) ? 0 : set_variable(r, assignment);
}

/* "NAME" alone is the host's, if it has it. */
static int set_asked(struct run_rootfs *r, const char *word)
{
	_cleanup_free_ char *both = NULL;
	const char *value;

	if (word[name_length(word)])
		return set_variable(r, word);
	value = getenv(word);
	if (!value)
		return 0;
	if (asprintf(&both, "%s=%s", word, value) < 0) {
		both = NULL;
		return -ENOMEM;
	}
	return set_variable(r, both);
}

/* A machine's console is one; a container has the user's own. */
static int default_terminal(struct run_rootfs *r, bool in_place)
{
	const char *own = in_place && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? getenv("TERM") : NULL;
	_cleanup_free_ char *term = NULL;

	if (asprintf(&term, "TERM=%s", own && *own ? own : "linux") < 0) {
		term = NULL;
		return -ENOMEM;
	}
	return default_variable(r, term);
}

static int make_environment(struct run_rootfs *r, const struct run_options *o, const char *home, bool in_place)
{
	_cleanup_free_ char *home_is = NULL;
	int e = 0;

	if (asprintf(&home_is, "HOME=%s", home) < 0) {
		home_is = NULL;
		return -ENOMEM;
	}
	/* What is no assignment is left out, as by other engines. */
	for (char **w = r->config->env; !e && w && *w; w++)
		if (strchr(*w, '=') > *w)
			e = set_variable(r, *w);
	for (unsigned i = 0; !e && i < o->nenv; i++)
		e = set_asked(r, o->env[i]);
	if (!e)
		e = default_variable(r, DEFAULT_PATH);
	if (!e)
		e = default_variable(r, home_is);
	return e ? e : default_terminal(r, in_place);
}

/* ---- all of it ---- */

/* ---- the directory ---- */

/* What is written goes to a folder that goes with the run. */
static void write_to_scratch(struct overlay *o, const struct scratch *s)
{
	o->upper = s->upper;
	o->work = s->work;
}

static int open_image(struct run_rootfs *r, const struct run_options *o, bool in_place, struct error *err)
{
	struct overlay over = { .lowers = 1 };
	struct error why = { 0 };
	int e = image_open(&r->image, o->rootfs, err);

	if (e)
		return e;
	r->config = &r->image;
	r->look = r->path = r->image.path;
	/* A container has its own way of covering what it runs in, in memory: good for root, and for who has no folder. */
	if (!in_place || !overlay_unprivileged() || scratch_make(&r->scratch, r->image.path, &why))
		return 0;
	over.lower[0] = r->image.path;
	write_to_scratch(&over, &r->scratch);
	r->path = r->scratch.root;
	return overlay_data(&r->overlay, &over, err);
}

/* What is to be kept is written to the snapshot's own folder; what it is mounted on is scratch all the same. */
static int cover_snapshot(struct run_rootfs *r, bool keep, struct error *err)
{
	char *room[SNAPSHOT_LAYERS + 3] = { 0 };
	struct overlay over;
	int e = scratch_make(&r->scratch, r->look, err);

	if (!e)
		e = snapshot_overlay(&r->snapshot, keep, &over, room, err);
	if (!e && !keep)
		write_to_scratch(&over, &r->scratch);
	if (!e)
		e = overlay_data(&r->overlay, &over, err);
	r->path = r->scratch.root;
	for (unsigned i = 0; i < ARRAY_SIZE(room); i++)
		free(room[i]);
	return e;
}

static int open_snapshot(struct run_rootfs *r, const struct run_options *o, bool in_place, struct error *err)
{
	bool keep = in_place && !o->ephemeral;
	int e = snapshot_open(&r->snapshot, o->rootfs + strlen(SNAPSHOT_PREFIX), keep ? SNAPSHOT_WRITE : SNAPSHOT_READ,
			      err);

	if (e)
		return e;
	r->tree = snapshot_tree(&r->snapshot, err);
	if (r->tree < 0)
		return error_wrap(err, "rootfs %s", o->rootfs);
	snprintf(r->tree_path, sizeof(r->tree_path), "/proc/self/fd/%d", r->tree);
	r->config = &r->snapshot.image;
	r->look = r->path = r->tree_path;
	return in_place ? cover_snapshot(r, keep, err) : 0;
}

/* ---- all of it ---- */

static int find_user(struct run_rootfs *r, const struct run_options *o, struct error *err)
{
	const char *who = o->user ? o->user : r->config->user;

	if (!who)
		return 0;
	r->has_user = true;
	return user_find(&r->user, r->look, who, err) ? error_wrap(err, "rootfs %s", o->rootfs) : 0;
}

static int open_rootfs(struct run_rootfs *r, const struct run_options *o, bool in_place, struct error *err)
{
	bool snapshot = !strncmp(o->rootfs, SNAPSHOT_PREFIX, strlen(SNAPSHOT_PREFIX));
	int e = (snapshot ? open_snapshot : open_image)(r, o, in_place, err);

	if (!e)
		e = find_user(r, o, err);
	if (e)
		return e;
	/* Without a user in it an image is root's, at home in /root as images expect it. */
	if (make_environment(r, o, r->has_user ? r->user.home : LOGIN_HOME, in_place))
		return error_set(err, ENOMEM, "out of memory");
	r->argv = o->guest_argv ? o->guest_argv : r->config->argv;
	r->workdir = o->workdir ? o->workdir : r->config->workdir;
	r->is_image = r->config->is_image;
	r->owners_beside = r->config->owners_beside;
	return 0;
}

int run_rootfs_open(struct run_options *o, bool in_place)
{
	struct run_rootfs *r = &o->root;
	struct error err = { 0 };

	if (!o->rootfs)
		return 0;
	if (open_rootfs(r, o, in_place, &err)) {
		say("%s", err.text);
		return EXIT_FAILURE;
	}
	if (!r->argv || !r->argv[0] || !*r->argv[0])
		return say_usage(&cmd_run,
				 r->is_image ? "rootfs %s: the image names no command to run: give one after --"
					     : "--rootfs needs a command to run: --rootfs %s -- CMD ARG...",
				 o->rootfs);
	if (o->verbose && r->image.is_image)
		say("image %s %s", r->image.digest, r->image.unpacked ? "was unpacked" : "is in the cache");
	return 0;
}

void run_rootfs_close(struct run_options *o)
{
	struct run_rootfs *r = &o->root;

	for (size_t i = 0; i < r->nenv; i++)
		free(r->env[i]);
	free(r->env);
	free(o->env);
	free(r->overlay);
	if (r->tree >= 0)
		close(r->tree);
	scratch_free(&r->scratch);
	snapshot_close(&r->snapshot);
	image_close(&r->image);
	*r = (struct run_rootfs)RUN_ROOTFS_NONE;
}
