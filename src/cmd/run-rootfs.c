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
#define DEFAULT_TERM "TERM=linux"
#define LOGIN_HOME   "HOME=/root"

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

static int make_environment(struct run_rootfs *r, const struct run_options *o, const char *home)
{
	_cleanup_free_ char *home_is = NULL;
	int e = 0;

	if (asprintf(&home_is, "HOME=%s", home) < 0) {
		home_is = NULL;
		return -ENOMEM;
	}
	/* What is no assignment is left out, as by other engines. */
	for (char **w = r->image.env; !e && w && *w; w++)
		if (strchr(*w, '=') > *w)
			e = set_variable(r, *w);
	for (unsigned i = 0; !e && i < o->nenv; i++)
		e = set_asked(r, o->env[i]);
	if (!e)
		e = default_variable(r, DEFAULT_PATH);
	if (!e)
		e = default_variable(r, home_is);
	return e ? e : default_variable(r, DEFAULT_TERM);
}

/* ---- all of it ---- */

static int find_user(struct run_rootfs *r, const struct run_options *o, struct error *err)
{
	const char *who = o->user ? o->user : r->image.user;

	if (!who)
		return 0;
	r->has_user = true;
	return user_find(&r->user, r->image.path, who, err) ? error_wrap(err, "rootfs %s", o->rootfs) : 0;
}

static int open_rootfs(struct run_rootfs *r, const struct run_options *o, struct error *err)
{
	int e = image_open(&r->image, o->rootfs, err);

	if (!e)
		e = find_user(r, o, err);
	if (e)
		return e;
	/* Without a user in it an image is root's, at home in /root as images expect it. */
	if (make_environment(r, o, r->has_user ? r->user.home : LOGIN_HOME + 5))
		return error_set(err, ENOMEM, "out of memory");
	r->argv = o->guest_argv ? o->guest_argv : r->image.argv;
	r->workdir = o->workdir ? o->workdir : r->image.workdir;
	return 0;
}

int run_rootfs_open(struct run_options *o)
{
	struct run_rootfs *r = &o->root;
	struct error err = { 0 };

	if (!o->rootfs)
		return 0;
	if (open_rootfs(r, o, &err)) {
		say("%s", err.text);
		return EXIT_FAILURE;
	}
	if (!r->argv || !r->argv[0] || !*r->argv[0])
		return say_usage(&cmd_run,
				 r->image.is_image ? "rootfs %s: the image names no command to run: give one after --"
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
	image_close(&r->image);
	*r = (struct run_rootfs){ .image.lock = -1 };
}
