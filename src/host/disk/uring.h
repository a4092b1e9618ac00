/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads, writes and flushes of a raw file through io_uring: one ring and one thread that submits and reaps, so that no vCPU
 * thread's end, signals or slow file system gets between.
 */
#pragma once
#include "host/disk/rawio.h"

struct uring;
/* result is the system call's; the request is the callee's to complete or to do otherwise. */
typedef void uring_done(void *arg, struct disk_request *r, int result);
/* NULL with err where the host has no io_uring, or forbids it. */
struct uring *uring_new(uring_done *done, void *arg, struct error *err);
/* A read, write or flush on fd, of at most IOV_MAX parts. */
void uring_submit(struct uring *u, struct disk_request *r, int fd);
void uring_free(struct uring *u); /* all requests have been completed; NULL is fine */
