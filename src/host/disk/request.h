/* SPDX-License-Identifier: Apache-2.0 */
/* What back ends share about requests: the checks of the contract, walking their memory, lists, and the way to a thread. */
#pragma once
#include <pthread.h>

#include "machine/blockdev.h"

#define SECTOR 512

/* 0, or the negative errno with which r is refused. */
int request_check(const struct disk_info *info, const struct disk_request *r);

/* A place in the memory of a request. */
struct iov_cursor {
	const struct iovec *iov;
	unsigned left; /* parts, the current one included */
	size_t skip; /* bytes of the current one that are behind us */
};
struct iov_cursor iov_cursor_at(const struct disk_request *r, u64 offset);
void iov_cursor_advance(struct iov_cursor *c, u64 n);
/* The next parts, at most max of them and limit bytes; returns how many, *bytes is their length. */
unsigned iov_cursor_window(const struct iov_cursor *c, struct iovec *to, unsigned max, u64 limit, u64 *bytes);
/* n bytes from the cursor on; they move it. data NULL: zeros. */
void iov_cursor_fill(struct iov_cursor *c, const void *data, u64 n);
void iov_cursor_take(struct iov_cursor *c, void *data, u64 n);

/* First in, first out, through ->next. */
struct request_list {
	struct disk_request *first, *last;
};
void request_list_add(struct request_list *l, struct disk_request *r);
struct disk_request *request_list_take(struct request_list *l); /* NULL: empty */
void request_list_join(struct request_list *l, struct request_list *more); /* empties more */

/* Requests on their way to the one thread that polls fd. */
struct inbox {
	pthread_mutex_t lock;
	struct request_list list;
	int fd; /* an eventfd, readable when there is something new */
	bool stop, abandon; /* told once by inbox_signal() */
};
int inbox_init(struct inbox *in);
void inbox_release(struct inbox *in);
void inbox_put(struct inbox *in, struct disk_request *r);
void inbox_signal(struct inbox *in, bool *flag); /* sets one of in's flags */
/* The thread's side: what has come, behind what is in to; the flags are stable until the next call. */
struct inbox_flags {
	bool stop, abandon;
} inbox_take(struct inbox *in, struct request_list *to);

/* A thread that no signal is delivered to: those are for the threads that expect them. */
int thread_start(pthread_t *t, void *(*run)(void *), void *arg);
