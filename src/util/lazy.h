/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries that only some runs need: loaded when one does, so that the others pay neither their memory nor their start. A library's
 * functions keep their names and are called as ever; each is a jump through a pointer that lazy_load() fills in:
 *
 *	#define FUNCTIONS(F) F(lib_open) F(lib_close)
 *	FUNCTIONS(LAZY_FUNCTION)
 *	static const struct lazy_symbol symbols[] = { FUNCTIONS(LAZY_SYMBOL){ 0 } };
 *	static const struct lazy_library lib = { "liblib.so.1", symbols };
 *
 * The pointers are the process's, as a linker's table would be: all who fill one in write the same.
 */
#pragma once
#include "util/error.h"

struct lazy_symbol {
	const char *name;
	void **at;
};
struct lazy_library {
	const char *file; /* as the linker would have noted it */
	const struct lazy_symbol *symbols; /* ends with an empty one */
};

/* Before the first call of any of its functions; again is cheap. Any thread. */
int lazy_load(const struct lazy_library *l, struct error *err);

#define LAZY_FUNCTION(name)                                                                                          \
	void *lazy_at_##name __attribute__((visibility("hidden"), used));                                            \
	__asm__(".pushsection .text\n"                                                                               \
		".globl " #name "\n.hidden " #name "\n.type " #name ", @function\n" #name ":\n\tjmp *lazy_at_" #name \
		"(%rip)\n"                                                                                           \
		".size " #name ", . - " #name "\n"                                                                   \
		".popsection\n");
#define LAZY_SYMBOL(name) { #name, &lazy_at_##name },
