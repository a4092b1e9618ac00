/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong: one line for people, and a record for the engine that called us. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "oci/oci.h"
#include "util/cleanup.h"

/* The process's own, as its standard error is. */
static int log_fd = -1;
static bool log_json;

void oci_log_open(const struct oci_options *o)
{
	log_json = o->log_json;
	if (o->log)
		log_fd = open(o->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (o->log && log_fd < 0)
		fprintf(stderr, "sextant: --log %s: %s\n", o->log, strerror(errno));
}

static void record(const char *level, const char *text)
{
	_cleanup_free_ char *line = NULL;
	char when[64];
	time_t now = time(NULL);
	struct tm tm;
	json_t *o;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	o = json_pack("{s:s,s:s,s:s}", "level", level, "msg", text, "time", when);
	line = o && log_json ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (line)
		dprintf(log_fd, "%s\n", line);
	else
		dprintf(log_fd, "time=\"%s\" level=%s msg=\"%s\"\n", when, level, text);
}

int oci_fail(const struct error *err)
{
	if (log_fd >= 0)
		record("error", err->text);
	fprintf(stderr, "sextant: %s\n", err->text);
	return EXIT_FAILURE;
}

void oci_warn(const struct error *err)
{
	if (!err->text[0])
		return;
	if (log_fd >= 0)
		record("warning", err->text);
	fprintf(stderr, "sextant: warning: %s\n", err->text);
}

int oci_usage(const char *fmt, ...)
{
	struct error err = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.text, sizeof(err.text) - 32, fmt, ap);
	va_end(ap);
	strcat(err.text, "; see sextant-oci --help");
	oci_fail(&err);
	return EXIT_USAGE;
}
