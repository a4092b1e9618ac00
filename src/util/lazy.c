/* SPDX-License-Identifier: Apache-2.0 */
/* Loads a library and finds its functions: lazy.h. It stays loaded. */
#include "util/lazy.h"

#include <dlfcn.h>
#include <errno.h>

/* The first symbol's pointer is written last: whoever sees it sees all. */
int lazy_load(const struct lazy_library *l, struct error *err)
{
	const struct lazy_symbol *first = l->symbols, *s;
	void *lib, *at;

	if (__atomic_load_n(first->at, __ATOMIC_ACQUIRE))
		return 0;
	lib = dlopen(l->file, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return error_set(err, ENOENT, "a library is missing: %s", dlerror());
	for (s = first + 1; s->name; s++) {
		*s->at = dlsym(lib, s->name);
		if (!*s->at)
			return error_set(err, ENOENT, "%s is too old: it lacks %s", l->file, s->name);
	}
	at = dlsym(lib, first->name);
	if (!at)
		return error_set(err, ENOENT, "%s is too old: it lacks %s", l->file, first->name);
	__atomic_store_n(first->at, at, __ATOMIC_RELEASE);
	return 0;
}
