/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory, for those who change a container; state.c has what is in it. */
#pragma once
#include "container/container.h"

int statedir_make(struct container *c, struct error *err); /* the name is ours, and locked; -EEXIST */
int statedir_save(const struct container *c, const char *config, struct error *err); /* config: text */
int statedir_save_pid(const struct container *c, struct error *err);
int statedir_lock(struct container *c, struct error *err); /* waits */
void statedir_unlock(struct container *c);
int statedir_remove(struct container *c);
u64 process_start_time(pid_t pid, char *state); /* ticks since boot; 0: there is no such process */
bool container_alive(const struct container *c); /* its init */
