/* SPDX-License-Identifier: Apache-2.0 */
/* libnbd, loaded for those guests that have a disk behind it: util/lazy.h. It brings GnuTLS and libxml2 along. */
#include "host/disk/nbd.h"
#include "util/lazy.h"

/* clang-format takes each for a call of the one before. */
/* clang-format off */
#define FUNCTIONS(F) \
	F(nbd_aio_connect_socket) F(nbd_aio_connect_uri) F(nbd_aio_disconnect) F(nbd_aio_flush) \
	F(nbd_aio_get_direction) F(nbd_aio_get_fd) F(nbd_aio_is_closed) F(nbd_aio_is_dead) \
	F(nbd_aio_is_ready) F(nbd_aio_notify_read) F(nbd_aio_notify_write) F(nbd_aio_pread) \
	F(nbd_aio_pwrite) F(nbd_aio_trim) F(nbd_aio_zero) F(nbd_can_flush) F(nbd_can_fua) F(nbd_can_trim) \
	F(nbd_can_zero) F(nbd_close) F(nbd_create) F(nbd_get_block_size) F(nbd_get_error) F(nbd_get_size) \
	F(nbd_is_read_only) F(nbd_set_uri_allow_local_file)
/* clang-format on */

FUNCTIONS(LAZY_FUNCTION)

int nbd_load(struct error *err)
{
	static const struct lazy_symbol symbols[] = { FUNCTIONS(LAZY_SYMBOL){ 0 } };
	static const struct lazy_library lib = { "libnbd.so.0", symbols };

	return lazy_load(&lib, err);
}
