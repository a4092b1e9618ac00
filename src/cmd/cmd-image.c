/* SPDX-License-Identifier: Apache-2.0 */
/* sextant image: what an image says of itself, and the cache that images are unpacked to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/cmd.h"
#include "image/image.h"

#define SHORT 12 /* digits of a name in the cache that are shown, and enough to name one */

struct image_words {
	const char *what;
	char **word;
	unsigned words;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct image_words *w = state->input;

	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	w->what = arg;
	w->word = state->argv + state->next;
	w->words = (unsigned)(state->argc - state->next);
	state->next = state->argc;
	return 0;
}

static int failed(const struct error *err)
{
	say("%s", err->text);
	return EXIT_FAILURE;
}

static void print_size(u64 bytes)
{
	if (bytes >= 10ull << 30)
		printf("%6llu GiB", (unsigned long long)bytes >> 30);
	else if (bytes >= 10 << 20)
		printf("%6llu MiB", (unsigned long long)bytes >> 20);
	else
		printf("%6llu KiB", (unsigned long long)bytes >> 10);
}

/* Names are of images, whose authors may be hostile to terminals. */
static void print_plain(const char *text)
{
	for (; *text; text++)
		putchar((unsigned char)*text < ' ' || *text == 127 ? '?' : *text);
}

static int list(void)
{
	struct image_entry *l;
	struct error err = { 0 };
	size_t n;

	if (image_list(&l, &n, &err))
		return failed(&err);
	for (size_t i = 0; i < n; i++) {
		char day[32] = "-";
		struct tm tm;
		time_t t = (time_t)l[i].unpacked;
		if (localtime_r(&t, &tm))
			strftime(day, sizeof(day), "%Y-%m-%d %H:%M", &tm);
		printf("%.*s  ", SHORT, l[i].chain);
		print_size(l[i].bytes);
		printf("  %s  ", day);
		print_plain(l[i].name);
		putchar('\n');
	}
	image_list_free(l, n);
	return 0;
}

static void show_words(const char *title, char *const *words)
{
	for (; words && *words; words++) {
		printf("%-9s ", title);
		print_plain(*words);
		putchar('\n');
		title = "";
	}
}

static void show_text(const char *title, const char *text)
{
	char *const words[] = { (char *)text, NULL };

	show_words(title, words);
}

static int show(const char *spec)
{
	struct image im;
	struct error err = { 0 };

	if (image_open(&im, spec, &err))
		return failed(&err);
	if (im.is_image) {
		show_text("digest", im.digest);
		show_text("layers", im.chain);
	}
	show_text("root", im.path);
	show_words("command", im.argv);
	show_words("env", im.env);
	show_text("workdir", im.workdir);
	show_text("user", im.user);
	image_close(&im);
	return 0;
}

/* which: the beginning of a name in the cache; NULL: all. What is in use stays. */
static int remove_entries(const char *which)
{
	struct image_entry *l;
	struct error err = { 0 };
	unsigned hits = 0;
	int status = 0;
	size_t n;

	if (image_list(&l, &n, &err))
		return failed(&err);
	for (size_t i = 0; which && i < n; i++)
		hits += !strncmp(l[i].chain, which, strlen(which));
	if (which && hits != 1) {
		say(hits ? "'%s' names several; see sextant image list" : "'%s' is not in the cache", which);
		status = EXIT_FAILURE;
	}
	for (size_t i = 0; !(which && hits != 1) && i < n; i++) {
		if (which && strncmp(l[i].chain, which, strlen(which)) != 0)
			continue;
		if (image_remove(l[i].chain, &err)) {
			say("%.*s is kept: %s", SHORT, l[i].chain, err.text);
			status = EXIT_FAILURE;
		}
	}
	image_list_free(l, n);
	return status;
}

static int remove_each(const struct image_words *w)
{
	int status = 0;

	for (unsigned i = 0; i < w->words; i++)
		if (remove_entries(w->word[i]))
			status = EXIT_FAILURE;
	return status;
}

static int image_main(const struct command *self, int argc, char **argv)
{
	struct image_words w = { 0 };
	int status = cmd_parse(self, argc, argv, &w);

	if (status)
		return status;
	if (!w.what)
		return say_usage(self, "what about images: list, show, remove or clear");
	if (!strcmp(w.what, "list") && !w.words)
		return list();
	if (!strcmp(w.what, "show") && w.words == 1)
		return show(w.word[0]);
	if (!strcmp(w.what, "remove") && w.words)
		return remove_each(&w);
	if (!strcmp(w.what, "clear") && !w.words)
		return remove_entries(NULL);
	if (!strcmp(w.what, "show") || !strcmp(w.what, "remove"))
		return say_usage(self, "image %s needs %s", w.what, *w.what == 's' ? "one IMAGE" : "an ID");
	if (!strcmp(w.what, "list") || !strcmp(w.what, "clear"))
		return say_usage(self, "image %s takes no '%s'", w.what, w.word[0]);
	return say_usage(self, "unknown '%s'", w.what);
}

static const struct argp argp = {
	.parser = parse,
	.args_doc = "list\nshow IMAGE\nremove ID...\nclear",
	.doc = "Container images, as sextant run --rootfs takes them, and the cache that they are unpacked to.\v"
	       "list: what is in the cache. show: an image's digest, where its root file system is, and how it is to "
	       "be run. "
	       "remove: from the cache, by what list shows. clear: all that is not in use.",
};
const struct command cmd_image = { "image", "container images and their cache", &argp, image_main };
