/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages (RFC 1035), as far as a policy reads and makes them: one question, for a host's addresses. Both ends are
 * hostile. What goes to the resolver and what comes back to the guest is made anew from what was understood: no byte of the
 * guest's choice gets out but a listed name, in lower case.
 */
#pragma once
#include "host/net/rules.h"

#define DNS_PORT	 53
#define DNS_MESSAGE_MAX	 1232 /* fits any path, and what we tell resolvers to send at most */
#define DNS_ADDRESSES	 48
#define DNS_QUESTION_MAX (255 + 4)

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_AAAA = 28 };
enum dns_code { DNS_OK = 0, DNS_BAD_FORMAT = 1, DNS_FAILURE = 2, DNS_NO_SUCH_NAME = 3, DNS_NOT_IMPLEMENTED = 4 };

struct dns_query {
	u16 id, type;
	bool recursion;
	u16 room; /* bytes of an answer that the asker takes */
	/* Lower case, without a final dot; '?' for bytes that are in no rule's name. "" is the root. */
	char name[NAME_SIZE];
	/* The question as asked, letters in their case, which an answer repeats. */
	u16 question_len;
	u8 question[DNS_QUESTION_MAX];
};
struct dns_answer {
	enum dns_code code;
	unsigned count;
	struct net_ip address[DNS_ADDRESSES];
	u32 ttl; /* seconds: the shortest on the way to an address */
};

/* DNS_OK; or the code to answer with, once q has an id and question_len, which may be 0. -1: not to be answered. */
int dns_read_query(const u8 *msg, u32 len, struct dns_query *q);
/* A query for the resolver: q's name and type under another id. Its length. */
u32 dns_write_query(const struct dns_query *q, u16 id, u8 out[static DNS_MESSAGE_MAX]);
/* Follows CNAMEs from q's name to addresses of q's type. False when this is no answer to that query. */
bool dns_read_answer(const u8 *msg, u32 len, const struct dns_query *q, u16 id, struct dns_answer *a);
/* For the asker: its name has these addresses; those that fit. Its length. */
u32 dns_write_answer(const struct dns_query *q, const struct dns_answer *a, u8 out[static DNS_MESSAGE_MAX]);
