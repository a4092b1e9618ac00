/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as text and as sets; the virtual network's default. */
#include "host/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOST_NUMBER  2
#define DNS_NUMBER   3
#define GUEST_NUMBER 15

struct net_ip ip_from4(const u8 *four)
{
	struct net_ip a = { .b = { [10] = 0xff, [11] = 0xff } };

	memcpy(a.b + 12, four, 4);
	return a;
}

bool ip_within(const struct net_ip *a, const struct net_ip *net, unsigned prefix)
{
	unsigned bytes = prefix / 8, bits = prefix % 8;

	if (memcmp(a->b, net->b, bytes) != 0)
		return false;
	return !bits || !((a->b[bytes] ^ net->b[bytes]) >> (8 - bits));
}

bool ip_parse(const char *text, struct net_ip *out)
{
	u8 four[4];

	if (inet_pton(AF_INET, text, four) == 1) {
		*out = ip_from4(four);
		return true;
	}
	/* A mapped address written out would be an IPv4 rule in disguise. */
	return inet_pton(AF_INET6, text, out->b) == 1 && !ip_is4(out);
}

const char *ip_text(const struct net_ip *a, char text[static NET_IP_TEXT])
{
	if (ip_is4(a))
		inet_ntop(AF_INET, a->b + 12, text, NET_IP_TEXT);
	else
		inet_ntop(AF_INET6, a->b, text, NET_IP_TEXT);
	return text;
}

/* ---- sets ---- */
struct block {
	struct net_ip net;
	u8 prefix;
};
#define BLOCK4(one, two, bits)                                                                           \
	{                                                                                                \
		.net.b = { [10] = 0xff, [11] = 0xff, [12] = (one), [13] = (two) }, .prefix = 96 + (bits) \
	}

static bool in_blocks(const struct net_ip *a, const struct block *blocks, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (ip_within(a, &blocks[i].net, blocks[i].prefix))
			return true;
	return false;
}

bool ip_never(const struct net_ip *a)
{
	static const struct block v4[] = {
		BLOCK4(0, 0, 8), /* "this host": Linux takes it for loopback */
		BLOCK4(127, 0, 8), BLOCK4(224, 0, 4), /* multicast */
		BLOCK4(240, 0, 4), /* reserved, broadcast */
	};
	static const struct block v6[] = {
		{ .prefix = 80 }, /* ::, ::1, IPv4-compatible, IPv4-mapped */
		{ .net.b = { 0xfe, 0x80 }, .prefix = 10 }, /* link-local */
		{ .net.b = { 0xff }, .prefix = 8 }, /* multicast */
	};

	if (ip_is4(a))
		return in_blocks(a, v4, ARRAY_SIZE(v4));
	return in_blocks(a, v6, ARRAY_SIZE(v6));
}

bool ip_link_local(const struct net_ip *a)
{
	static const struct block v4[] = { BLOCK4(169, 254, 16) };

	return in_blocks(a, v4, ARRAY_SIZE(v4));
}

/* ---- the virtual network ---- */
static struct net_ip numbered(const struct net_ip *net, u32 number)
{
	struct net_ip a = *net;
	u32 low;

	memcpy(&low, a.b + 12, 4);
	low = htonl(ntohl(low) + number);
	memcpy(a.b + 12, &low, 4);
	return a;
}

static void number_hosts(struct net_lan *lan)
{
	lan->host = numbered(&lan->net, HOST_NUMBER);
	lan->dns = numbered(&lan->net, DNS_NUMBER);
	lan->guest = numbered(&lan->net, GUEST_NUMBER);
}

void lan_default(struct net_lan *lan)
{
	static const u8 net[4] = { 10, 0, 2, 0 };

	*lan = (struct net_lan){ .net = ip_from4(net), .prefix = 96 + 24, .ipv6 = true };
	number_hosts(lan);
	lan->net6.b[0] = 0xfe;
	lan->net6.b[1] = 0xc0;
	lan->host6 = numbered(&lan->net6, HOST_NUMBER);
	lan->dns6 = numbered(&lan->net6, DNS_NUMBER);
}

int lan_subnet(struct net_lan *lan, const char *cidr, struct error *err)
{
	char text[NET_IP_TEXT] = "", *end = NULL;
	const char *slash = strchr(cidr, '/');
	unsigned long bits = 0;
	struct net_ip net;

	if (slash && slash[1] >= '0' && slash[1] <= '9' && (size_t)(slash - cidr) < sizeof(text)) {
		memcpy(text, cidr, (size_t)(slash - cidr));
		bits = strtoul(slash + 1, &end, 10);
	}
	/* GUEST_NUMBER and a broadcast address need five bits of numbers. */
	if (!end || *end || bits < 8 || bits > 27 || !ip_parse(text, &net) || !ip_is4(&net))
		return error_set(err, EINVAL, "subnet=%s: that is not an IPv4 subnet of 8 to 27 bits, as 10.0.2.0/24",
				 cidr);
	for (unsigned i = 96 + (unsigned)bits; i < 128; i++)
		net.b[i / 8] &= (u8) ~(0x80u >> i % 8);
	if (ip_never(&net) || ip_link_local(&net))
		return error_set(err, EINVAL, "subnet=%s: hosts cannot have addresses there", cidr);
	lan->net = net;
	lan->prefix = 96 + (unsigned)bits;
	number_hosts(lan);
	return 0;
}

bool lan_has(const struct net_lan *lan, const struct net_ip *a)
{
	return ip_within(a, &lan->net, lan->prefix) || ip_within(a, &lan->net6, 64);
}
