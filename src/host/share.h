/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shared folder's server: virtiofsd, started by us in a sandbox, speaking vhost-user on a socket pair. It serves one
 * directory tree and sees nothing else of the host's files; it ends when we do.
 */
#pragma once
#include <sys/types.h>

#include "util/error.h"

#define SHARE_TAG_MAX 36 /* virtio 1.2, 5.11.4 */
struct share_config {
	char *tag, *dir; /* owned */
	bool readonly;
};
/* "TAG=DIR[,ro]": TAG of letters, digits, "_", "-" and "."; a comma in DIR is written twice. EINVAL: what is wrong with it. */
int share_parse(const char *spec, struct share_config *c, struct error *err);
void share_config_free(struct share_config *c);

struct share {
	pid_t pid; /* 0: none */
	int socket; /* our end, for the device */
	int log; /* what the server said on its standard error */
};
/* Starts the server. Call it on the thread that lives as long as the process: the server is killed when that ends. */
int share_start(struct share *s, const struct share_config *c, struct error *err);
/* After a device could not be made: if the server has ended, err becomes its own last line; returns err->code. */
int share_explain(struct share *s, const struct share_config *c, struct error *err);
/* Closes the socket: the server ends by itself, or is made to. What is all zero has never been started. */
void share_stop(struct share *s);
