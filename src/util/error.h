/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that travel up: a function that can fail returns 0 or a negative errno and fills a struct error that its
 * caller owns (usually on the stack). Each level may wrap it with what it was doing; only src/cmd prints it.
 */
#pragma once
#include "util/types.h"

struct error {
	int code; /* negative errno; 0 while nothing failed */
	char text[512];
};

/* Sets the message; returns code (made negative), so that `return error_set(err, EINVAL, "...")` reads well. err may be NULL. */
int error_set(struct error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "fmt: " before the message that is there; returns err->code. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
