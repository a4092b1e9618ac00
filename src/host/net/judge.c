/* SPDX-License-Identifier: Apache-2.0 */
/* What may pass. docs/network.md has these rules in words. */
#include <string.h>

#include "host/net/policy-internal.h"

#define SECONDS(n)	  ((n)*1000000000ull)
#define KEEP_WITH_FLOWS	  SECONDS(60) /* a name's address, from when it was found to be in use */
#define DHCP_SERVER	  67
#define DHCP_CLIENT	  68
#define DHCP6_SERVER	  547
#define DHCP6_CLIENT	  546
#define ROUTER_SOLICIT	  133 /* ICMPv6, RFC 4861 */
#define NEIGHBOUR_SOLICIT 135
#define NEIGHBOUR_ADVERT  136
#define REDIRECT	  137
#define ND_HOPS		  255

static bool link_local6(const struct net_ip *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

static bool unspecified(const struct net_ip *a)
{
	static const struct net_ip zero6;
	static const u8 zero4[4];
	const struct net_ip four = ip_from4(zero4);

	return ip_equal(a, &zero6) || ip_equal(a, &four);
}

static bool group(const struct net_ip *a)
{
	return ip_is4(a) ? a->b[12] >= 224 : a->b[0] == 0xff;
}

static bool is_host(const struct policy *p, const struct net_ip *a)
{
	return ip_equal(a, &p->config.lan.host) || ip_equal(a, &p->config.lan.host6);
}

static bool is_dns(const struct policy *p, const struct net_ip *a)
{
	return ip_equal(a, &p->config.lan.dns) || ip_equal(a, &p->config.lan.dns6);
}

/* An address that a guest of the virtual network can have. */
static bool is_guest(const struct policy *p, const struct net_ip *a)
{
	return lan_has(&p->config.lan, a) && !is_host(p, a) && !is_dns(p, a) && (ip_is4(a) || p->config.lan.ipv6);
}

static bool pure_syn(const struct packet *k)
{
	return k->protocol == PROTO_TCP && (k->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

/* ---- what the rules say ---- */
static bool learned_permits(struct policy *p, const struct net_ip *to, u8 protocol, u16 port, u64 now)
{
	struct learned *e;
	unsigned at = 0;

	while ((e = learned_next(&p->learned, to, &at))) {
		if (!rule_covers(&p->config.rules.rule[e->rule], protocol, port))
			continue;
		if (e->until <= now) {
			if (!flows_in_use(p->flows, to, now)) {
				e->until = 0;
				continue;
			}
			e->until = now + KEEP_WITH_FLOWS;
		}
		return true;
	}
	return false;
}

static bool permitted(struct policy *p, const struct packet *k, u64 now)
{
	bool host = is_host(p, &k->dst);
	u8 protocol = k->protocol;

	if (!host && (lan_has(&p->config.lan, &k->dst) || ip_never(&k->dst)))
		return false;
	if (protocol == PROTO_ICMP || protocol == PROTO_ICMP6) {
		/* libslirp sends no echo requests of IPv6 to the outside. */
		if (!packet_is_echo(k, false) || k->v6)
			return false;
	}
	for (unsigned i = 0; i < p->config.rules.count; i++) {
		const struct net_rule *r = &p->config.rules.rule[i];

		if (!rule_covers(r, protocol, k->dport))
			continue;
		if (host ? r->kind == RULE_HOST
			 : r->kind == RULE_NET && ip_is4(&r->net) == ip_is4(&k->dst) &&
				    ip_within(&k->dst, &r->net, r->prefix))
			return true;
	}
	return !host && learned_permits(p, &k->dst, protocol, k->dport, now);
}

/* ---- from the guest ---- */

/* RFC 826, for Ethernet and IPv4; asked of and told to the virtual network only, where libslirp answers it. */
static bool arp_ok(const struct policy *p, const struct packet *k)
{
	static const u8 fixed[6] = { 0, 1, 8, 0, 6, 4 };
	const u8 *a = k->frame + ETH_LEN;
	struct net_ip sender = ip_from4(a + 14), target = ip_from4(a + 24);

	if (memcmp(a, fixed, sizeof(fixed)) != 0 || (get16(a + 6) != 1 && get16(a + 6) != 2))
		return false;
	return (unspecified(&sender) || is_guest(p, &sender)) && lan_has(&p->config.lan, &target);
}

/* What libslirp itself answers and lets out no byte of. */
static bool local_service(const struct policy *p, const struct packet *k)
{
	const struct net_ip *src = &k->src, *dst = &k->dst;
	static const u8 all[4] = { 255, 255, 255, 255 };
	static const struct net_ip dhcp6 = { { 0xff, 2, [13] = 1, [15] = 2 } };
	const struct net_ip broadcast = ip_from4(all);

	if (!k->v6)
		return k->protocol == PROTO_UDP && k->sport == DHCP_CLIENT && k->dport == DHCP_SERVER &&
		       (unspecified(src) || is_guest(p, src)) &&
		       (ip_equal(dst, &broadcast) || ip_equal(dst, &p->config.lan.host));
	if (!p->config.lan.ipv6)
		return false;
	if (k->protocol == PROTO_UDP)
		return k->sport == DHCP6_CLIENT && k->dport == DHCP6_SERVER && link_local6(src) &&
		       ip_equal(dst, &dhcp6);
	return k->protocol == PROTO_ICMP6 && !k->code && k->hops == ND_HOPS &&
	       (k->type == ROUTER_SOLICIT || k->type == NEIGHBOUR_SOLICIT || k->type == NEIGHBOUR_ADVERT) &&
	       (unspecified(src) || link_local6(src) || is_guest(p, src)) &&
	       (group(dst) || link_local6(dst) || lan_has(&p->config.lan, dst));
}

/* Every guest says which groups it listens to (IGMP, MLD): dropped, and not worth a line. */
static bool group_membership(const struct packet *k)
{
	if (!k->v6)
		return k->protocol == PROTO_IGMP && group(&k->dst);
	return k->dst.b[0] == 0xff && (k->dst.b[1] & 15) == 2 &&
	       (k->protocol == PROTO_HOPOPTS ||
		(k->protocol == PROTO_ICMP6 && (k->type == ROUTER_SOLICIT || k->type >= 130)));
}

/* One more packet of a conversation, or the first of a new one, which the rules decide. */
static enum verdict judge_flow(struct policy *p, const struct packet *k, u64 now)
{
	struct flow_key key = flow_key(k, true);
	struct flow *f = flows_find(p->flows, &key, now);
	bool begins = pure_syn(k), may;

	if (f && !begins && !flow_ask_again(f, now)) {
		flow_note(f, k, true, now);
		return PASS;
	}
	may = permitted(p, k, now) || (packet_is_echo(k, false) && (is_host(p, &k->dst) || is_dns(p, &k->dst)));
	/* Not renewed: it lasts as long as the other side has something to say. */
	if (f && !may && !begins)
		return PASS;
	if (!may) {
		report_packet(p, k, now);
		return REFUSE;
	}
	if (!f && (begins || k->protocol != PROTO_TCP)) {
		f = flows_add(p->flows, &key, now);
		if (!f)
			report(p, now, "refused a connection: there are too many");
	}
	if (!f)
		return REFUSE;
	flow_asked(f, now);
	flow_note(f, k, true, now);
	return PASS;
}

enum verdict judge_out(struct policy *p, const struct packet *k, u64 now)
{
	if (k->state == PACKET_MALFORMED) {
		report(p, now, "dropped a malformed frame");
		return DROP;
	}
	if (k->state == PACKET_UNKNOWN) {
		report(p, now, "dropped a frame of type 0x%04x", k->ethertype);
		return DROP;
	}
	if (k->ethertype == ETHERTYPE_ARP)
		return arp_ok(p, k) ? PASS : DROP;
	if (group_membership(k) && !(k->state == PACKET_OK && local_service(p, k)))
		return DROP;
	if (k->state != PACKET_OK) {
		report_packet(p, k, now);
		return REFUSE;
	}
	if (local_service(p, k))
		return PASS;
	if (link_local6(&k->src) &&
	    p->config.lan.ipv6) { /* nothing but services is on the link, but it was asked honestly */
		report_packet(p, k, now);
		return REFUSE;
	}
	if (!is_guest(p, &k->src)) {
		char text[NET_IP_TEXT];

		report(p, now, "dropped a packet with the source address %s", ip_text(&k->src, text));
		return DROP;
	}
	if (k->protocol == PROTO_UDP && k->dport == DNS_PORT && is_dns(p, &k->dst))
		return QUERY;
	/* The guest's own errors about what it got: libslirp makes nothing of them, and they carry bytes of its choice. */
	if (packet_is_error(k) && !group(&k->dst))
		return DROP;
	return judge_flow(p, k, now);
}

/* ---- to the guest ---- */
static enum verdict judge_error(struct policy *p, const struct packet *k, u64 now)
{
	struct packet quoted;
	struct flow_key key;

	if (k->len - k->l4 < ICMP_LEN ||
	    !packet_parse_quoted(&quoted, k->frame + k->l4 + ICMP_LEN, k->len - k->l4 - ICMP_LEN, k->v6))
		return DROP;
	if (quoted.protocol == PROTO_UDP && quoted.dport == DNS_PORT && is_dns(p, &quoted.dst))
		return QUERY;
	key = flow_key(&quoted, true);
	return flows_find(p->flows, &key, now) ? PASS : DROP;
}

static bool forwarded(const struct policy *p, const struct packet *k)
{
	for (unsigned i = 0; i < p->config.forwards; i++) {
		const struct net_forward *f = &p->config.forward[i];

		if (f->guest_port == k->dport && ip_equal(&f->guest, &k->dst) &&
		    (f->udp ? k->protocol == PROTO_UDP : pure_syn(k)))
			return true;
	}
	return false;
}

static bool lan_service(const struct policy *p, const struct packet *k)
{
	if (k->protocol == PROTO_UDP && !k->v6)
		return k->sport == DHCP_SERVER && k->dport == DHCP_CLIENT && is_host(p, &k->src);
	if (k->protocol == PROTO_UDP)
		return k->sport == DHCP6_SERVER && k->dport == DHCP6_CLIENT && link_local6(&k->src);
	return k->protocol == PROTO_ICMP6 && k->hops == ND_HOPS && k->type >= ROUTER_SOLICIT && k->type < REDIRECT;
}

enum verdict judge_in(struct policy *p, const struct packet *k, u64 now)
{
	struct flow_key key;
	struct flow *f;

	if (k->ethertype == ETHERTYPE_ARP && k->state == PACKET_OK)
		return PASS;
	/* libslirp cuts what is longer than the link takes; what we were told by whom we talk to is let in. */
	if (k->state == PACKET_FRAGMENT)
		return flows_between(p->flows, &k->dst, &k->src, now) ? PASS : DROP;
	if (k->state != PACKET_OK)
		return DROP;
	if (lan_service(p, k))
		return PASS;
	if (packet_is_error(k))
		return judge_error(p, k, now);
	if (k->protocol == PROTO_UDP && k->sport == DNS_PORT && is_dns(p, &k->src))
		return QUERY;
	key = flow_key(k, false);
	f = flows_find(p->flows, &key, now);
	if (!f && forwarded(p, k))
		f = flows_add(p->flows, &key, now);
	if (!f)
		return DROP;
	flow_note(f, k, false, now);
	return PASS;
}
