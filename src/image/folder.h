/* SPDX-License-Identifier: Apache-2.0 */
/* Folders that we keep things of a user's in, below what the XDG base directory specification says. */
#pragma once
#include "util/error.h"

/* "$VARIABLE/sextant/NAME", else "~/UNDER_HOME/sextant/NAME"; allocated. NULL and err. */
char *folder_path(const char *variable, const char *under_home, const char *name, struct error *err);
/* Makes it if it is missing. It must be the user's: whoever owns a root file system says what is in it. -1 and err. */
int folder_open(const char *path, struct error *err);
/* A file in a directory, whole or not at all. 0 or -1 and errno. */
int folder_write(int fd, const char *name, const char *text);
