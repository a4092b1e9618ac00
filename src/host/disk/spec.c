/* SPDX-License-Identifier: Apache-2.0 */
/* The words of --disk: TARGET[,NAME=VALUE]..., a comma in a value doubled. Looks at no file. */
#include <errno.h>
#include <string.h>

#include "host/disk/disk.h"
#include "host/disk/format.h"
#include "util/cleanup.h"

#define TIMEOUT_MAX 86400

/* The next word, its doubled commas made single, in place; *rest is moved behind it, NULL at the end. */
static char *next_word(char **rest)
{
	char *word = *rest, *to = word, *from = word;

	for (; *from; *to++ = *from++) {
		if (*from != ',')
			continue;
		if (from[1] != ',')
			break;
		from++;
	}
	*rest = *from ? from + 1 : NULL;
	*to = 0;
	return word;
}

static int set_switch(bool *to, const char *name, const char *value, struct error *err)
{
	if (strcmp(value, "on") && strcmp(value, "off"))
		return error_set(err, EINVAL, "%s=%s: that is neither on nor off", name, value);
	*to = !strcmp(value, "on");
	return 0;
}

/* An enum's value by its place in names, which end with NULL; -1 after err. */
static int choice(const char *const *names, const char *name, const char *value, struct error *err)
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(names[i], value))
			return i;
	error_set(err, EINVAL, "%s=%s is unknown; known are %s, %s%s%s", name, value, names[0], names[1],
		  names[2] ? ", " : "", names[2] ? names[2] : "");
	return -1;
}

static int set_cache(struct disk_spec *s, const char *value, struct error *err)
{
	static const char *const names[] = { "writeback", "none", NULL };
	int n = choice(names, "cache", value, err);

	if (n >= 0)
		s->cache = (enum disk_cache)n;
	return n < 0 ? -EINVAL : 0;
}

static int set_aio(struct disk_spec *s, const char *value, struct error *err)
{
	static const char *const names[] = { "auto", "io_uring", "threads", NULL };
	int n = choice(names, "aio", value, err);

	if (n >= 0)
		s->aio = (enum disk_aio)n;
	return n < 0 ? -EINVAL : 0;
}

static int set_timeout(struct disk_spec *s, const char *value, struct error *err)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || !n || n > TIMEOUT_MAX)
		return error_set(err, EINVAL, "timeout=%s: that is not a number of seconds from 1 to %d", value,
				 TIMEOUT_MAX);
	s->timeout = (unsigned)n;
	return 0;
}

static int set_format(struct disk_spec *s, const char *value, struct error *err)
{
	s->format = format_find(value);
	return s->format ? 0 : error_set(err, EINVAL, "format=%s is unknown; known are %s", value, format_names());
}

/* The guest sees it, and so do udev's rules and shells: printable ASCII without blanks. */
static int set_serial(struct disk_spec *s, const char *value, struct error *err)
{
	size_t len = strlen(value);

	if (!len || len > DISK_SERIAL_MAX)
		return error_set(err, EINVAL, "serial=%s: a serial number has 1 to %d characters", value,
				 DISK_SERIAL_MAX);
	for (size_t i = 0; i < len; i++)
		if (value[i] <= ' ' || value[i] > '~')
			return error_set(err, EINVAL, "serial=%s: only printable ASCII without blanks", value);
	memcpy(s->serial, value, len + 1);
	return 0;
}

static int set_id(struct disk_spec *s, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, EINVAL, "id= needs a name");
	free(s->id);
	s->id = strdup(value);
	return s->id ? 0 : error_set(err, ENOMEM, "out of memory");
}

static int set_word(struct disk_spec *s, char *word, struct error *err)
{
	char *value = strchr(word, '=');

	if (!value)
		return error_set(err, EINVAL, "'%s' is not NAME=VALUE (a comma in a file name is written twice)", word);
	*value++ = 0;
	if (!strcmp(word, "readonly"))
		return set_switch(&s->readonly, word, value, err);
	if (!strcmp(word, "snapshot"))
		return set_switch(&s->snapshot, word, value, err);
	if (!strcmp(word, "cache"))
		return set_cache(s, value, err);
	if (!strcmp(word, "aio"))
		return set_aio(s, value, err);
	if (!strcmp(word, "timeout"))
		return set_timeout(s, value, err);
	if (!strcmp(word, "format"))
		return set_format(s, value, err);
	if (!strcmp(word, "serial"))
		return set_serial(s, value, err);
	if (!strcmp(word, "id"))
		return set_id(s, value, err);
	return error_set(err, EINVAL, "'%s' is unknown (a comma in a file name is written twice)", word);
}

static int parse(struct disk_spec *s, char *text, struct error *err)
{
	char *rest = text, *word = next_word(&rest);
	int e = 0;

	if (!*word)
		return error_set(err, EINVAL, "a disk needs a file, a block device or an NBD URI");
	s->target = strdup(word);
	if (!s->target)
		return error_set(err, ENOMEM, "out of memory");
	while (!e && rest)
		e = set_word(s, next_word(&rest), err);
	if (!e && s->format && target_is_uri(s->target))
		return error_set(err, EINVAL, "format= is for files; an NBD server knows its disk's format");
	return e;
}

struct disk_spec *disk_parse(const char *text, struct error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	struct disk_spec *s = calloc(1, sizeof(*s));

	if (!copy || !s) {
		free(s);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	if (!parse(s, copy, err))
		return s;
	error_wrap(err, "disk %s", text);
	disk_spec_free(s);
	return NULL;
}

void disk_spec_free(struct disk_spec *s)
{
	if (!s)
		return;
	free(s->target);
	free(s->id);
	free(s);
}
