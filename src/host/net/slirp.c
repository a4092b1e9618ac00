/* SPDX-License-Identifier: Apache-2.0 */
/* libslirp, loaded for those guests that have a user-mode network: util/lazy.h. It brings GLib along. */
#include "host/net/slirp.h"

#include "util/lazy.h"

#define FUNCTIONS(F) \
	F(slirp_new) F(slirp_cleanup) F(slirp_input) F(slirp_pollfds_fill) F(slirp_pollfds_poll) F(slirp_add_hostxfwd)

FUNCTIONS(LAZY_FUNCTION)

int slirp_load(struct error *err)
{
	static const struct lazy_symbol symbols[] = { FUNCTIONS(LAZY_SYMBOL){ 0 } };
	static const struct lazy_library lib = { "libslirp.so.0", symbols };

	return lazy_load(&lib, err);
}
