/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of virtio-vsock: Unix-domain stream sockets.
 *
 * From the host: connect to PATH, write "CONNECT PORT\n", read "OK N\n" once a program in the guest that listens on that port has
 * the connection; from then on bytes pass. The connection is closed where nobody listens.
 * From the guest: a connection to context 2 (the host), port PORT, becomes one to the socket PATH_PORT, for which somebody
 * has to listen.
 */
#pragma once
#include <sys/un.h>

#include "machine/machine.h"
#include "machine/vsockdev.h"

#define VSOCK_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - sizeof("_4294967295"))

/* Listens at path. NULL and err: the path is too long or taken, cid is none that a guest can have. */
struct vsockdev *vsock_host_new(struct machine *m, u64 cid, const char *path, struct error *err);
