/* SPDX-License-Identifier: Apache-2.0 */
/* sextant snapshot: states of a root file system that are kept under names. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/cmd.h"
#include "image/json.h"
#include "snapshot/snapshot.h"
#include "util/cleanup.h"

struct snapshot_words {
	char **word;
	unsigned words;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct snapshot_words *w = state->input;

	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	w->word = state->argv + state->next - 1;
	w->words = (unsigned)(state->argc - state->next) + 1;
	state->next = state->argc;
	return 0;
}

/* What the user typed wrong is usage; all else a failure. */
static int failed(const struct error *err)
{
	say("%s", err->text);
	return err->code == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
}

/* "snapshot:NAME" is accepted wherever NAME is. */
static const char *bare(const char *name)
{
	size_t n = strlen(SNAPSHOT_PREFIX);

	return strncmp(name, SNAPSHOT_PREFIX, n) ? name : name + n;
}

static int create(char **word, unsigned words)
{
	struct error err = { 0 };

	return snapshot_create(bare(word[0]), word[1], &err) ? failed(&err) : 0;
}

/* Names in it are a user's or an image's: nothing of them is a terminal's command. */
static void print_plain(const char *text)
{
	for (; *text; text++)
		putchar((unsigned char)*text < ' ' || *text == 127 ? '?' : *text);
}

static void print_when(s64 when)
{
	char text[32] = "-";
	struct tm tm;
	time_t t = (time_t)when;

	if (localtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm);
	fputs(text, stdout);
}

static int list(char **word, unsigned words)
{
	struct error err = { 0 };
	char **names;
	int status = 0;

	if (snapshot_names(&names, &err))
		return failed(&err);
	for (char **n = names; *n; n++) {
		struct snapshot s;
		if (snapshot_open(&s, *n, SNAPSHOT_LOOK, &err)) {
			status = failed(&err);
			continue;
		}
		printf("%-20s  ", *n);
		print_when(s.created);
		printf("  ");
		print_plain(s.base);
		putchar('\n');
		snapshot_close(&s);
	}
	words_free(names);
	return status;
}

static int show(char **word, unsigned words)
{
	struct error err = { 0 };
	struct snapshot s;

	if (snapshot_open(&s, bare(word[0]), SNAPSHOT_LOOK, &err))
		return failed(&err);
	printf("name      %s\ncreated   ", s.name);
	print_when(s.created);
	printf("\nbase      ");
	print_plain(s.base);
	if (s.chain)
		printf("\nimage     %s", s.chain);
	printf("\nlayers    %u\nupper     %s/upper\n", s.layers, s.path);
	snapshot_close(&s);
	return 0;
}

static void print_difference(void *arg, char what, const char *path)
{
	printf("%c ", what);
	print_plain(path);
	putchar('\n');
}

/* Against what it stands on, or another. */
static int open_trees(struct snapshot s[2], char **word, unsigned words, int tree[2], struct error *err)
{
	int r = snapshot_open(&s[1], bare(word[0]), SNAPSHOT_READ, err);

	if (!r && words > 1)
		r = snapshot_open(&s[0], bare(word[1]), SNAPSHOT_READ, err);
	if (r)
		return r;
	tree[1] = snapshot_tree(&s[1], err);
	if (tree[1] < 0)
		return tree[1];
	tree[0] = words > 1 ? snapshot_tree(&s[0], err) : open(s[1].image.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return tree[0] >= 0 ? 0 : words > 1 ? err->code : error_set(err, ENOENT, "%s cannot be read", s[1].image.path);
}

static int diff(char **word, unsigned words)
{
	struct snapshot s[2] = { { .fd = -1, .image.lock = -1 }, { .fd = -1, .image.lock = -1 } };
	struct error err = { 0 };
	int tree[2] = { -1, -1 };
	int r = open_trees(s, word, words, tree, &err);

	if (!r)
		r = tree_differences(tree[0], tree[1], print_difference, NULL, &err);
	for (unsigned i = 0; i < 2; i++) {
		if (tree[i] >= 0)
			close(tree[i]);
		snapshot_close(&s[i]);
	}
	return r ? failed(&err) : 0;
}

static int restore(char **word, unsigned words)
{
	struct error err = { 0 };

	return snapshot_restore(bare(word[0]), words > 1 ? bare(word[1]) : NULL, &err) ? failed(&err) : 0;
}

static int delete (char **word, unsigned words)
{
	int status = 0;

	for (unsigned i = 0; i < words; i++) {
		struct error err = { 0 };
		if (snapshot_delete(bare(word[i]), &err))
			status = failed(&err);
	}
	return status;
}

static const struct verb {
	const char *name, *takes;
	unsigned least, most;
	int (*run)(char **word, unsigned words);
} verbs[] = {
	{ "create", "NAME and ROOT", 2, 2, create },
	{ "list", "nothing", 0, 0, list },
	{ "show", "one NAME", 1, 1, show },
	{ "diff", "NAME and perhaps another", 1, 2, diff },
	{ "restore", "NAME and perhaps another", 1, 2, restore },
	{ "delete", "a NAME", 1, ~0u, delete },
};

static int snapshot_main(const struct command *self, int argc, char **argv)
{
	struct snapshot_words w = { 0 };
	int status = cmd_parse(self, argc, argv, &w);

	if (status)
		return status;
	if (!w.words)
		return say_usage(self, "what about snapshots: create, list, show, diff, restore or delete");
	for (const struct verb *v = verbs; v < verbs + ARRAY_SIZE(verbs); v++) {
		if (strcmp(v->name, w.word[0]) != 0)
			continue;
		if (w.words - 1 < v->least || w.words - 1 > v->most)
			return say_usage(self, "snapshot %s takes %s", v->name, v->takes);
		return v->run(w.word + 1, w.words - 1);
	}
	return say_usage(self, "unknown '%s'", w.word[0]);
}

static const struct argp argp = {
	.parser = parse,
	.args_doc = "create NAME ROOT\nlist\nshow NAME\ndiff NAME [OTHER]\nrestore NAME [OTHER]\ndelete NAME...",
	.doc = "States of a root file system that are kept under names; sextant run --rootfs snapshot:NAME runs one, "
	       "and what a "
	       "container changes in it stays in it. No file is copied: a snapshot keeps what differs from what it "
	       "stands on.\v"
	       "create: a snapshot of ROOT as it is now: a directory or an image, which are not written to, or "
	       "snapshot:OTHER.\n"
	       "diff: what was added (A), changed (C) and deleted (D) since, or compared to OTHER.\n"
	       "restore: as OTHER is; without it as it was when it was created, or a snapshot was last taken of it.",
};
const struct command cmd_snapshot = { "snapshot", "states of a root file system", &argp, snapshot_main };
