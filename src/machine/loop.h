/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O thread's event loop: file descriptors and work handed over by other threads. */
#pragma once
#include "util/error.h"

struct loop;
struct loop *loop_new(struct error *err);
void loop_free(struct loop *l);
/* Calls fn on the I/O thread whenever fd has one of `events` (EPOLLIN, ...). One watch per fd; any thread. */
int loop_watch(struct loop *l, int fd, u32 events, void (*fn)(void *arg, u32 events), void *arg, struct error *err);
/* Changes the events of a watched fd (0 keeps it, silent). */
void loop_rewatch(struct loop *l, int fd, u32 events);
void loop_unwatch(struct loop *l, int fd);
/* Runs until loop_quit(). The I/O thread only. */
void loop_run(struct loop *l);
void loop_quit(struct loop *l); /* any thread */
