/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the policy share: policy.c is the netdev, judge.c decides, names.c answers DNS, report.c keeps the log short. */
#pragma once
#include <pthread.h>

#include "host/net/dns.h"
#include "host/net/flows.h"
#include "host/net/learned.h"
#include "host/net/policy.h"
#include "host/net/queue.h"

#define POLICY_FLOWS   4096
#define POLICY_REPLIES 256 /* frames for the guest that wait; more are lost, as on any network */
#define POLICY_QUERIES 64 /* to the resolver, at the same time */
#define REPORT_LINES   16
#define REPORT_SIZE    (NAME_SIZE + 64)

struct pending_query {
	u64 until; /* 0: unused */
	u16 id; /* towards the resolver */
	struct udp_ends ends; /* of the answer to the guest */
	struct dns_query query;
};

struct report {
	unsigned lines; /* of text, that wait for policy_deliver() */
	u64 tokens_from; /* when the budget was counted */
	unsigned tokens;
	u64 left_out;
	unsigned recent_at;
	struct {
		u64 when;
		char text[REPORT_SIZE];
	} recent[8];
	char text[REPORT_LINES][REPORT_SIZE];
};

struct policy {
	struct netdev netdev;
	struct netdev *inner;
	struct policy_config config;
	int wake_fd;
	pthread_mutex_t lock; /* what follows */
	struct flows *flows;
	struct learned_table learned;
	struct pending_query pending[POLICY_QUERIES];
	struct frame_queue replies;
	struct report report;
	u8 out[NET_FRAME_MAX], in[NET_FRAME_MAX]; /* copies of the frame that is being judged */
	u8 made[REPLY_MAX + DNS_MESSAGE_MAX]; /* a frame that we make */
};

enum verdict {
	PASS,
	DROP, /* without an answer */
	REFUSE,
	QUERY /* a question for the virtual resolver */
};

/* All of these with the lock held. */
enum verdict judge_out(struct policy *p, const struct packet *k, u64 now);
enum verdict judge_in(struct policy *p, const struct packet *k,
		      u64 now); /* QUERY: the resolver's answer, or its failure */
/* False: no room, the guest's frame is to come again. */
bool names_ask(struct policy *p, const struct packet *k, u64 now);
void names_answer(struct policy *p, const struct packet *k, u64 now);
/* The resolver cannot be reached, as an ICMP error for a query says. False: it is not about one. */
bool names_failed(struct policy *p, const struct packet *quoted);
void report(struct policy *p, u64 now, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void report_packet(struct policy *p, const struct packet *k, u64 now);
/* Queues a copy for the guest. */
void policy_reply(struct policy *p, const u8 *frame, u32 len);
