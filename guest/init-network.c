/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network card of a guest whose network the host knows: the address, the way out and the resolver are set without asking
 * DHCP, so that the first program finds its network up. IPv6 sets itself up.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/in.h>
#include <linux/route.h>
#include <linux/sockios.h>
#include <stddef.h>

#include "init.h"

#define CARD "eth0"

/* "10.0.2.15" at *text, in network order; *text moves behind it. */
static unsigned take_address(const char **text)
{
	unsigned address = 0, byte = 0;
	const char *p = *text;

	for (unsigned i = 0; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
		if (*p == '.') {
			address |= byte << 8 * i++;
			byte = 0;
			continue;
		}
		byte = byte * 10 + (unsigned)(*p - '0');
	}
	*text = p;
	return address | byte << 24;
}

static void set_address(struct sockaddr *a, unsigned address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)a;

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = address;
}

/* The user's /etc is a copy: what the host's said of resolvers is of no use here. */
static void write_resolver(const char *text)
{
	static const char before[] = "nameserver ";
	size_t n = 0;
	long fd;

	sys2(mkdir, "/etc", 0755);
	sys1(unlink, "/etc/resolv.conf");
	fd = sys3(open, "/etc/resolv.conf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	while (text[n])
		n++;
	sys3(write, fd, before, sizeof(before) - 1);
	sys3(write, fd, text, n);
	sys3(write, fd, "\n", 1);
	sys1(close, fd);
}

void set_network(const char *text)
{
	struct ifreq r = { .ifr_name = CARD };
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	unsigned bits = 0;
	long fd = sys3(socket, AF_INET, 2 /* SOCK_DGRAM */, 0);

	if (fd < 0)
		return;
	set_address(&r.ifr_addr, take_address(&text));
	sys3(ioctl, fd, SIOCSIFADDR, &r);
	for (text += *text == '/'; *text >= '0' && *text <= '9'; text++)
		bits = bits * 10 + (unsigned)(*text - '0');
	set_address(&r.ifr_netmask, __builtin_bswap32(~0u << (32 - bits) % 32));
	sys3(ioctl, fd, SIOCSIFNETMASK, &r);
	r.ifr_flags = IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST;
	sys3(ioctl, fd, SIOCSIFFLAGS, &r);
	text += *text == ',';
	set_address(&route.rt_dst, 0);
	set_address(&route.rt_genmask, 0);
	set_address(&route.rt_gateway, take_address(&text));
	sys3(ioctl, fd, SIOCADDRT, &route);
	sys1(close, fd);
	write_resolver(text + (*text == ','));
}
