/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and making DNS messages: see dns.h. Section numbers are RFC 1035's where no other is named. */
#include "host/net/dns.h"

#include <ctype.h>
#include <string.h>

#include "host/net/packet.h"

#define HEADER	      12
#define FLAG_ANSWER   0x8000
#define FLAG_CUT      0x0200
#define FLAG_RD	      0x0100
#define FLAG_RA	      0x0080
#define OPCODE(f)     ((f) >> 11 & 15)
#define RCODE(f)      ((f)&15)
#define CLASS_IN      1
#define TYPE_OPT      41
#define OPT_LEN	      11
#define PLAIN_MAX     512 /* bytes of an answer to who says nothing about it, 4.2.1 */
#define CHAIN_MAX     12
#define NAME_TEXT_MAX 253 /* 255 bytes as labels, 3.1 */
#define RECORD_A      16 /* an A record with a compressed owner */
#define RECORD_AAAA   28

/* A name at *at, which moves behind it. Pointers go backwards only, each further than the one before, so they end. Text of at
 * most NAME_TEXT_MAX characters. */
static bool read_name(const u8 *msg, u32 len, u32 *at, char text[static NAME_SIZE])
{
	u32 pos = *at, limit = *at, used = 0;
	bool jumped = false;

	for (;;) {
		if (pos >= len)
			return false;
		u8 n = msg[pos++];
		if (n >= 0xc0) { /* 4.1.4 */
			if (pos >= len)
				return false;
			u32 target = (u32)(n & 0x3f) << 8 | msg[pos++];
			if (!jumped)
				*at = pos;
			jumped = true;
			if (target >= limit)
				return false;
			pos = limit = target;
			continue;
		}
		if (n > 63 || n > len - pos || used + n + 1 > NAME_TEXT_MAX)
			return false;
		if (!n)
			break;
		if (used)
			text[used++] = '.';
		for (; n; n--, pos++)
			text[used++] = (char)(isalnum(msg[pos]) || msg[pos] == '-' || msg[pos] == '_'
						      ? tolower(msg[pos])
						      : '?');
	}
	text[used] = 0;
	if (!jumped)
		*at = pos;
	return true;
}

static u32 write_name(const char *name, u8 *out)
{
	u32 at = 0;

	while (*name) {
		size_t n = strcspn(name, ".");

		out[at++] = (u8)n;
		memcpy(out + at, name, n);
		at += (u32)n;
		name += n + (name[n] == '.');
	}
	out[at++] = 0;
	return at;
}

static bool read_question(const u8 *msg, u32 len, u32 *at, struct dns_query *q)
{
	u32 start = *at;

	/* A compressed question has nothing before it to point at. */
	for (u32 i = start; i < len && msg[i]; i += msg[i] + 1u)
		if (msg[i] > 63)
			return false;
	if (!read_name(msg, len, at, q->name) || len - *at < 4 || *at + 4 - start > sizeof(q->question))
		return false;
	q->type = get16(msg + *at);
	*at += 4;
	q->question_len = (u16)(*at - start);
	memcpy(q->question, msg + start, q->question_len);
	return true;
}

/* RFC 6891 6.1.2: what the asker takes, where the one additional record that a query may have is an OPT. */
static u16 read_room(const u8 *msg, u32 len, u32 at)
{
	if (len - at < OPT_LEN || msg[at] || get16(msg + at + 1) != TYPE_OPT)
		return PLAIN_MAX;
	return MAX(PLAIN_MAX, MIN(get16(msg + at + 3), DNS_MESSAGE_MAX));
}

int dns_read_query(const u8 *msg, u32 len, struct dns_query *q)
{
	u32 at = HEADER;
	u16 flags;

	memset(q, 0, sizeof(*q));
	q->room = PLAIN_MAX;
	if (len < HEADER)
		return -1;
	q->id = get16(msg);
	flags = get16(msg + 2);
	q->recursion = flags & FLAG_RD;
	if (flags & FLAG_ANSWER)
		return -1;
	if (OPCODE(flags))
		return DNS_NOT_IMPLEMENTED;
	if (get16(msg + 4) != 1 || get16(msg + 6) || get16(msg + 8) || get16(msg + 10) > 1 ||
	    !read_question(msg, len, &at, q))
		return DNS_BAD_FORMAT;
	if (get16(q->question + q->question_len - 2) != CLASS_IN)
		return DNS_NOT_IMPLEMENTED;
	if (get16(msg + 10))
		q->room = read_room(msg, len, at);
	return DNS_OK;
}

u32 dns_write_query(const struct dns_query *q, u16 id, u8 out[static DNS_MESSAGE_MAX])
{
	static const u8 opt[OPT_LEN] = { 0, 0, TYPE_OPT, DNS_MESSAGE_MAX >> 8, DNS_MESSAGE_MAX & 0xff };
	u32 at = HEADER;

	memset(out, 0, HEADER);
	put16(out, id);
	put16(out + 2, FLAG_RD);
	put16(out + 4, 1);
	put16(out + 10, 1);
	at += write_name(q->name, out + at);
	put16(out + at, q->type);
	put16(out + at + 2, CLASS_IN);
	memcpy(out + at + 4, opt, sizeof(opt));
	return at + 4 + OPT_LEN;
}

/* ---- answers ---- */
struct record {
	char owner[NAME_SIZE];
	u16 type, class, len;
	u32 ttl, data; /* data: offset */
};

static bool read_record(const u8 *msg, u32 len, u32 *at, struct record *r)
{
	if (!read_name(msg, len, at, r->owner) || len - *at < 10)
		return false;
	r->type = get16(msg + *at);
	r->class = get16(msg + *at + 2);
	r->ttl = get32(msg + *at + 4);
	r->len = get16(msg + *at + 8);
	r->data = *at + 10;
	if (r->ttl >> 31) /* RFC 2181 8 */
		r->ttl = 0;
	if (r->len > len - r->data)
		return false;
	*at = r->data + r->len;
	return true;
}

/* The addresses that the answer section gives for `name`; where there are none, the name that it is an alias of replaces it.
 * False when there is neither. A message that ends early counts as far as it goes. */
static bool step(const u8 *msg, u32 len, u32 at, u16 type, char name[static NAME_SIZE], struct dns_answer *a)
{
	unsigned records = get16(msg + 6);
	char alias[NAME_SIZE];
	bool have_alias = false;
	u32 alias_ttl = 0;
	struct record r;

	for (unsigned i = 0; i < records && read_record(msg, len, &at, &r); i++) {
		u32 target = r.data;

		if (r.class != CLASS_IN || strcmp(r.owner, name) != 0)
			continue;
		if (r.type == DNS_CNAME && !have_alias && read_name(msg, r.data + r.len, &target, alias)) {
			have_alias = true;
			alias_ttl = r.ttl;
		}
		if (r.type != type || r.len != (type == DNS_A ? 4 : 16) || a->count == DNS_ADDRESSES)
			continue;
		if (type == DNS_A)
			a->address[a->count] = ip_from4(msg + r.data);
		else
			memcpy(a->address[a->count].b, msg + r.data, 16);
		/* An IPv4 address in an AAAA record is nobody's. */
		if (type == DNS_A || !ip_is4(&a->address[a->count]))
			a->count++;
		a->ttl = MIN(a->ttl, r.ttl);
	}
	if (a->count || !have_alias)
		return false;
	a->ttl = MIN(a->ttl, alias_ttl);
	strcpy(name, alias);
	return true;
}

bool dns_read_answer(const u8 *msg, u32 len, const struct dns_query *q, u16 id, struct dns_answer *a)
{
	struct dns_query echo = { 0 };
	char name[NAME_SIZE];
	u32 at = HEADER;
	u16 flags;

	*a = (struct dns_answer){ .ttl = 86400 };
	if (len < HEADER || get16(msg) != id)
		return false;
	flags = get16(msg + 2);
	if (!(flags & FLAG_ANSWER) || OPCODE(flags) || get16(msg + 4) != 1 || !read_question(msg, len, &at, &echo))
		return false;
	if (echo.type != q->type || strcmp(echo.name, q->name) != 0)
		return false;
	a->code = RCODE(flags) == DNS_OK || RCODE(flags) == DNS_NO_SUCH_NAME ? (enum dns_code)RCODE(flags)
									     : DNS_FAILURE;
	if (a->code != DNS_OK)
		return true;
	strcpy(name, q->name);
	for (unsigned i = 0; i < CHAIN_MAX && step(msg, len, at, q->type, name, a); i++)
		;
	/* Nothing understood of an answer that was cut: not the same as no address. */
	if (!a->count && flags & FLAG_CUT)
		a->code = DNS_FAILURE;
	return true;
}

u32 dns_write_answer(const struct dns_query *q, const struct dns_answer *a, u8 out[static DNS_MESSAGE_MAX])
{
	u32 at = HEADER, size = q->type == DNS_A ? RECORD_A : RECORD_AAAA;
	u16 count = 0;

	memset(out, 0, HEADER);
	memcpy(out + at, q->question, q->question_len);
	at += q->question_len;
	for (unsigned i = 0; i < a->count && at + size <= q->room; i++, count++) {
		put16(out + at, 0xc000 | HEADER);
		put16(out + at + 2, q->type);
		put16(out + at + 4, CLASS_IN);
		put32(out + at + 6, a->ttl);
		put16(out + at + 10, (u16)(size - 12));
		memcpy(out + at + 12, q->type == DNS_A ? a->address[i].b + 12 : a->address[i].b, size - 12);
		at += size;
	}
	put16(out, q->id);
	put16(out + 2, (u16)(FLAG_ANSWER | FLAG_RA | (q->recursion ? FLAG_RD : 0) | a->code));
	put16(out + 4, q->question_len != 0);
	put16(out + 6, count);
	return at;
}
