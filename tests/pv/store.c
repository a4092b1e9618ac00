/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the store that mean nothing, ask for what is not the guest's, or for too much; last, indices that end the conversation. */
#include "kit-store.h"

static void refused(u32 type, u32 tx, const char *payload, u32 len, const char *why)
{
	char answer[32];

	u32 got = ask(type, tx, payload, len, answer);
	if (got != XS_ERROR)
		print("request %d, %d bytes: %s\n", (u64)type, (u64)len, len < 100 ? payload : "");
	EQ(XS_ERROR, got);
	for (unsigned k = 0; why && k < 32 && why[k]; k++)
		EQ(why[k], answer[k]);
}
#define REFUSED(why, type, payload) refused(type, 0, payload, sizeof(payload), why)

static void messages(void)
{
	static char long_text[XENSTORE_PAYLOAD_MAX];
	char answer[32];

	open_store();
	EQ(XS_READ, ASK(XS_READ, "domid"));
	EQ('1', answer[0]);
	memset(long_text, 'a', sizeof(long_text));
	for (u32 type = 0; type < 40; type++) {
		if (type == XS_RESET_WATCHES || type == XS_TRANSACTION_START)
			continue;
		refused(type, 0, "", 0, NULL);
		refused(type, 0, long_text, sizeof(long_text), NULL);
		refused(type, 0, "no end", 6, type == XS_DIRECTORY_PART || type == XS_READ ? "EINVAL" : NULL);
		refused(type, 77, "domid", 6, "ENOENT");
	}
	refused(~0u, 0, "x", 2, "ENOSYS");
	REFUSED("EINVAL", XS_READ, "/local//domain");
	REFUSED("EINVAL", XS_READ, "a b");
	REFUSED("EACCES", XS_WRITE,
		"/local/domain/0/backend/vbd/1/51712/state\0"
		"4");
	REFUSED("EACCES", XS_WRITE,
		"/local/domain/1/memory/target\0"
		"1");
	REFUSED("EACCES", XS_RM, "/local/domain/1");
	REFUSED(NULL, XS_RM, "/");
	REFUSED("EACCES", XS_INTRODUCE,
		"1\0"
		"1\0"
		"1");
	REFUSED(NULL, XS_SET_PERMS,
		"data\0"
		"n0");
	REFUSED(NULL, XS_TRANSACTION_END, "X");
	/* As much as it will take: nodes, watches, transactions. */
	unsigned made = 0;
	for (unsigned k = 0; k < 5000; k++) {
		char path[] = "data/0000\0x";
		for (unsigned i = 0, n = k; i < 4; i++, n /= 10)
			path[8 - i] = (char)('0' + n % 10);
		if (ask(XS_WRITE, 0, path, sizeof(path) - 1, answer) == XS_ERROR)
			break;
		made++;
	}
	CHECK(made > 100 && made < 5000);
	for (made = 0; made < 5000; made++) {
		char token[] = "data\0"
			       "0000";
		for (unsigned i = 0, n = made; i < 4; i++, n /= 10)
			token[8 - i] = (char)('0' + n % 10);
		if (ask(XS_WATCH, 0, token, sizeof(token), answer) == XS_ERROR)
			break;
	}
	CHECK(made > 10 && made < 5000);
	for (made = 0; made < 5000; made++)
		if (ask(XS_TRANSACTION_START, 0, "", 1, answer) == XS_ERROR)
			break;
	CHECK(made > 2 && made < 5000);
	EQ(XS_RESET_WATCHES, ASK(XS_RESET_WATCHES, ""));
	EQ(XS_RM, ASK(XS_RM, "data"));
}

/* Not a conversation any more. */
static void ruin(void)
{
	static const u32 jumps[] = { 1025, 1u << 31, ~0u - 5 };

	store->req_prod = store->req_cons + jumps[any() % 3];
	for (unsigned k = 0; k < 20; k++)
		kick_store();
	while (!__atomic_load_n(&store->error, __ATOMIC_SEQ_CST))
		kick_store();
	for (unsigned k = 0; k < 100; k++) {
		store->req_prod = (u32)any();
		store->rsp_cons = (u32)any();
		kick_store();
	}
}

void guest_main(const char *which)
{
	messages();
	ruin();
}
