/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing and matching of a policy's rules. */
#include "host/net/rules.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/net/packet.h"

/* A decimal number of at most max at *text, which moves behind it. */
static bool take_number(const char **text, unsigned long max, unsigned *out)
{
	char *end;
	unsigned long n;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	n = strtoul(*text, &end, 10);
	if (errno || n > max)
		return false;
	*text = end;
	*out = (unsigned)n;
	return true;
}

static bool parse_ports(struct net_rule *r, const char *text)
{
	unsigned low, high;

	if (!take_number(&text, 65535, &low) || !low)
		return false;
	high = low;
	if (*text == '-' && (text++, !take_number(&text, 65535, &high)))
		return false;
	r->low = (u16)low;
	r->high = (u16)high;
	return !*text && low <= high;
}

/* Letters, digits, hyphens and underscores in labels of 1 to 63; the last label is no number, as that would be an address. */
static bool parse_name(struct net_rule *r, const char *text)
{
	size_t len = strlen(text), label = 0;
	bool numeric = true;

	r->kind = RULE_NAME;
	if (!strncmp(text, "*.", 2)) {
		r->kind = RULE_BELOW;
		text += 2;
		len -= 2;
	}
	if (len && text[len - 1] == '.')
		len--;
	if (!len || len >= NAME_SIZE - 2)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '.' && (!label || label > 63))
			return false;
		if (c != '.' && !isalnum(c) && c != '-' && c != '_')
			return false;
		if (c == '.') {
			label = 0;
			numeric = true;
			continue;
		}
		label++;
		numeric = numeric && isdigit(c);
		r->name[i] = (char)tolower(c);
	}
	for (size_t i = 0; i < len; i++)
		if (text[i] == '.')
			r->name[i] = '.';
	return label && label <= 63 && !numeric;
}

/* An address with an optional "/BITS". False when it is none; then it may be a name. */
static bool parse_net(struct net_rule *r, const char *text)
{
	char address[NET_IP_TEXT];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned family, bits;

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	address[len] = 0;
	if (!ip_parse(address, &r->net))
		return false;
	family = ip_is4(&r->net) ? 32 : 128;
	bits = family;
	if (slash && (slash++, !take_number(&slash, family, &bits) || *slash))
		return false;
	r->kind = RULE_NET;
	r->prefix = bits + 128 - family;
	return true;
}

/* A range that no packet is let into however it is listed: better said now than found out later. */
static int check_net(const struct net_rule *r, const char *text, struct error *err)
{
	if (r->kind == RULE_NET && r->prefix >= 104 && ip_never(&r->net))
		return error_set(err, EINVAL,
				 "allow=%s: no guest may go there (for this host's own loopback write host[:PORT])",
				 text);
	if (r->kind == RULE_NAME && !strcmp(r->name, "localhost"))
		return error_set(err, EINVAL, "allow=%s: for this host's own loopback write host[:PORT]", text);
	return 0;
}

/* Where the port begins in a copy of the rule; cuts it off. An IPv6 address with a port is in brackets. NULL: no port. */
static char *cut_port(char **target)
{
	char *close, *colon;

	if (**target == '[') {
		close = strchr(*target, ']');
		if (!close || (close[1] && close[1] != ':'))
			return NULL;
		*close = 0;
		(*target)++;
		return close[1] ? close + 2 : NULL;
	}
	colon = strchr(*target, ':');
	if (!colon || strchr(colon + 1, ':'))
		return NULL;
	*colon = 0;
	return colon + 1;
}

static u8 cut_protocol(char *text)
{
	char *slash = strrchr(text, '/');

	if (slash && (!strcmp(slash, "/tcp") || !strcmp(slash, "/udp"))) {
		*slash = 0;
		return slash[1] == 't' ? MAY_TCP : MAY_UDP;
	}
	return MAY_TCP | MAY_UDP | MAY_PING;
}

static int parse_rule(struct net_rule *r, const char *text, struct error *err)
{
	char copy[NAME_SIZE + 64], *target = copy, *port;

	if (strlen(text) >= sizeof(copy))
		return error_set(err, EINVAL, "allow=%.40s...: that is too long", text);
	strcpy(copy, text);
	r->may = cut_protocol(copy);
	r->high = 65535;
	port = cut_port(&target);
	if (port) {
		r->may &= (u8)~MAY_PING;
		if (!parse_ports(r, port))
			return error_set(err, EINVAL, "allow=%s: a port is a number from 1 to 65535, or two with '-'",
					 text);
	}
	if (!strcmp(target, "host"))
		r->kind = RULE_HOST;
	else if (!parse_net(r, target) && !parse_name(r, target))
		return error_set(err, EINVAL,
				 "allow=%s: that is not ADDRESS[/BITS], NAME, *.NAME or host, with [:PORT][/tcp|/udp]",
				 text);
	return check_net(r, text, err);
}

int rules_add(struct net_rules *rules, const char *text, struct error *err)
{
	struct net_rule r = { 0 }, *grown;
	int e = parse_rule(&r, text, err);

	if (e)
		return e;
	if (rules->count == RULES_MAX)
		return error_set(err, EINVAL, "allow=%s: there may be %d rules at most", text, RULES_MAX);
	grown = realloc(rules->rule, (rules->count + 1) * sizeof(*grown));
	if (!grown)
		return error_set(err, ENOMEM, "out of memory");
	rules->rule = grown;
	grown[rules->count++] = r;
	return 0;
}

void rules_clear(struct net_rules *rules)
{
	free(rules->rule);
	*rules = (struct net_rules){ 0 };
}

bool rule_covers(const struct net_rule *r, u8 protocol, u16 port)
{
	switch (protocol) {
	case PROTO_TCP: return r->may & MAY_TCP && port >= r->low && port <= r->high;
	case PROTO_UDP: return r->may & MAY_UDP && port >= r->low && port <= r->high;
	/* An echo request may become a UDP packet where the host lets us send no ICMP: both must be listed. */
	case PROTO_ICMP:
	case PROTO_ICMP6: return r->may == (MAY_TCP | MAY_UDP | MAY_PING);
	default: return false;
	}
}

bool rule_names(const struct net_rule *r, const char *name)
{
	size_t len = strlen(name), own = strlen(r->name);

	if (r->kind == RULE_NAME)
		return !strcmp(name, r->name);
	return r->kind == RULE_BELOW && len > own + 1 && name[len - own - 1] == '.' &&
	       !strcmp(name + len - own, r->name);
}
