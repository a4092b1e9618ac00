/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and the guest's virtual network. An IPv4 address is held as the IPv6 address that maps it (::ffff:a.b.c.d), so
 * that tables and rules have one kind; a frame of IPv6 that uses such an address is refused before it gets here.
 */
#pragma once
#include "util/error.h"

struct net_ip {
	u8 b[16];
};
#define NET_IP_TEXT 48 /* bytes that hold any address as text */

/* What libslirp pretends to be. Both families are always there; `ipv6` tells whether the guest gets the second. */
struct net_lan {
	struct net_ip net, host, dns,
		guest; /* IPv4: the subnet, the host's alias, the resolver, the address that DHCP gives */
	unsigned prefix; /* of net, as bits of the mapped address: 96 and up */
	struct net_ip net6, host6, dns6; /* a /64 */
	bool ipv6;
};

struct net_ip ip_from4(const u8 *four);
static inline bool ip_is4(const struct net_ip *a)
{
	static const u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	return !__builtin_memcmp(a->b, mapped, sizeof(mapped));
}
static inline bool ip_equal(const struct net_ip *a, const struct net_ip *b)
{
	return !__builtin_memcmp(a, b, sizeof(*a));
}
/* Whether the first `prefix` bits are the same. */
bool ip_within(const struct net_ip *a, const struct net_ip *net, unsigned prefix);
/* Text of either family, or false. */
bool ip_parse(const char *text, struct net_ip *out);
const char *ip_text(const struct net_ip *a, char text[static NET_IP_TEXT]);
/* Loopback, unspecified, multicast, broadcast, reserved, IPv6 link-local, IPv4 in IPv6's clothes: never a destination, however
 * wide a rule is. libslirp and the host's kernel would take several of them for the host itself. */
bool ip_never(const struct net_ip *a);
/* 169.254.0.0/16: the metadata services of clouds. Reached only where a rule names the address, not by a name's answer. */
bool ip_link_local(const struct net_ip *a);

/* The usual network: 10.0.2.0/24 and fec0::/64. */
void lan_default(struct net_lan *lan);
/* One in another IPv4 subnet: host .2, resolver .3, guest .15. -EINVAL unless it has room for them. */
int lan_subnet(struct net_lan *lan, const char *cidr, struct error *err);
/* Whether an address belongs to the virtual network, be anybody there or not. */
bool lan_has(const struct net_lan *lan, const struct net_ip *a);
