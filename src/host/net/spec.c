/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From --net's text to struct net_spec. Options are separated by commas; what follows allow= without being an option is
 * one more rule: user,allow=10.1.0.0/16,example.org:443.
 */
#include "host/net/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

/* A port at the end of text, behind the last ':', which is cut off. 0: none. */
static u16 cut_port(char *text)
{
	char *colon = strrchr(text, ':'), *end;
	unsigned long n;

	if (!colon || colon[1] < '0' || colon[1] > '9')
		return 0;
	n = strtoul(colon + 1, &end, 10);
	if (*end || n > 65535)
		return 0;
	*colon = 0;
	return (u16)n;
}

/* "ADDRESS", "[ADDRESS]" or "", which leaves *a as it is. */
static bool forward_address(char *text, struct net_ip *a)
{
	size_t len = strlen(text);

	if (!len)
		return true;
	if (text[0] == '[' && text[len - 1] == ']') {
		text[len - 1] = 0;
		text++;
	}
	return ip_parse(text, a);
}

/* PROTO:[ADDRESS]:PORT-[ADDRESS]:PORT, as QEMU writes it; but the host's address is loopback unless it is given. The guest's
 * is filled in by check_forwards(). */
static int add_forward(struct net_spec *s, const char *text, struct error *err)
{
	static const u8 loopback[4] = { 127, 0, 0, 1 };
	struct net_forward f = { .udp = !strncmp(text, "udp:", 4), .host = ip_from4(loopback) };
	_cleanup_free_ char *copy = strdup(text);
	char *host, *guest;

	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	if (s->forwards == FORWARDS_MAX)
		return error_set(err, EINVAL, "hostfwd=%s: there may be %d forwarded ports at most", text,
				 FORWARDS_MAX);
	host = copy + 4;
	guest = f.udp || !strncmp(text, "tcp:", 4) ? strchr(host, '-') : NULL;
	if (guest) {
		*guest++ = 0;
		f.host_port = cut_port(host);
		f.guest_port = cut_port(guest);
	}
	if (!guest || !f.host_port || !f.guest_port || !forward_address(host, &f.host) ||
	    !forward_address(guest, &f.guest))
		return error_set(err, EINVAL, "hostfwd=%s: that is not tcp|udp:[ADDRESS]:PORT-[ADDRESS]:PORT", text);
	s->forward[s->forwards++] = f;
	return 0;
}

/* The guest's addresses, now that its network is known. */
static int check_forwards(struct net_spec *s, struct error *err)
{
	static const struct net_ip unset;
	char text[NET_IP_TEXT];

	for (unsigned i = 0; i < s->forwards; i++) {
		struct net_forward *f = &s->forward[i];

		if (ip_equal(&f->guest, &unset))
			f->guest = s->lan.guest;
		if (!lan_has(&s->lan, &f->guest))
			return error_set(err, EINVAL, "hostfwd: %s is not in the guest's network",
					 ip_text(&f->guest, text));
		if (ip_is4(&f->guest) != ip_is4(&f->host))
			return error_set(err, EINVAL, "hostfwd: the two addresses are not of one kind (IPv4 or IPv6)");
	}
	return 0;
}

static int user_option(struct net_spec *s, const char *word, bool *in_rules, struct error *err)
{
	const char *equals = strchr(word, '=');

	if (!strncmp(word, "allow=", 6)) {
		s->policy = *in_rules = true;
		return rules_add(&s->rules, word + 6, err);
	}
	if (!strncmp(word, "hostfwd=", 8))
		return *in_rules = false, add_forward(s, word + 8, err);
	if (!strncmp(word, "subnet=", 7))
		return *in_rules = false, lan_subnet(&s->lan, word + 7, err);
	if (!strcmp(word, "ipv6=on") || !strcmp(word, "ipv6=off")) {
		*in_rules = false;
		s->lan.ipv6 = word[6] == 'n';
		return 0;
	}
	if (!strcmp(word, "restrict")) {
		*in_rules = false;
		s->policy = true;
		return 0;
	}
	if (*in_rules && !equals)
		return rules_add(&s->rules, word, err);
	return error_set(err, EINVAL, "unknown option '%s' (known: allow=, hostfwd=, subnet=, ipv6=on|off, restrict)",
			 word);
}

static int parse_user(struct net_spec *s, const char *options, struct error *err)
{
	_cleanup_free_ char *copy = strdup(options);
	char *rest = copy, *word;
	bool in_rules = false;
	int e = copy ? 0 : error_set(err, ENOMEM, "out of memory");

	s->kind = NET_USER;
	while (!e && rest && (word = strsep(&rest, ",")))
		e = user_option(s, word, &in_rules, err);
	return e ? e : check_forwards(s, err);
}

static int parse_tap(struct net_spec *s, const char *text, struct error *err)
{
	s->kind = NET_TAP;
	if (strchr(text, ','))
		return error_set(err, EINVAL, "tap takes no options (rules need --net user)");
	if (!*text || strlen(text) >= sizeof(s->interface) || strpbrk(text, "/ \t%"))
		return error_set(err, EINVAL, "'%s' is no name of an interface", text);
	strcpy(s->interface, text);
	return 0;
}

static int parse_spec(struct net_spec *s, const char *text, struct error *err)
{
	lan_default(&s->lan);
	if (!strcmp(text, "none"))
		return 0;
	if (!strcmp(text, "user"))
		return s->kind = NET_USER, 0;
	if (!strncmp(text, "user,", 5))
		return parse_user(s, text + 5, err);
	if (!strncmp(text, "tap=", 4))
		return parse_tap(s, text + 4, err);
	return error_set(err, EINVAL, "known are none, user[,OPTION...] and tap=INTERFACE");
}

int net_parse(const char *text, struct net_spec **spec, struct error *err)
{
	struct net_spec *s = calloc(1, sizeof(*s));
	int e;

	*spec = NULL;
	if (!s)
		return error_set(err, ENOMEM, "out of memory");
	e = parse_spec(s, text, err);
	if (e) {
		net_spec_free(s);
		return e;
	}
	*spec = s;
	return 0;
}

void net_spec_free(struct net_spec *s)
{
	if (!s)
		return;
	rules_clear(&s->rules);
	free(s);
}

bool net_is_none(const struct net_spec *s)
{
	return s->kind == NET_NONE;
}

bool net_guest_text(const struct net_spec *s, char text[NET_GUEST_TEXT])
{
	char guest[NET_IP_TEXT], host[NET_IP_TEXT], dns[NET_IP_TEXT];

	if (s->kind != NET_USER)
		return false;
	snprintf(text, NET_GUEST_TEXT, "%s/%u,%s,%s", ip_text(&s->lan.guest, guest), s->lan.prefix - 96,
		 ip_text(&s->lan.host, host), ip_text(&s->lan.dns, dns));
	return true;
}
