/* SPDX-License-Identifier: Apache-2.0 */
/* Random operands. Half of them are where arithmetic is interesting: zeros, ends of ranges, denormals, NaNs, values near each other. */
#include "case.h"

static u64 mix(u64 x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

void rng_seed(struct rng *r, u64 seed, u64 index)
{
	r->s[0] = mix(seed ^ mix(index));
	r->s[1] = mix(r->s[0] + index) | 1;
}

/* xorshift128+ */
u64 rng_next(struct rng *r)
{
	u64 a = r->s[0], b = r->s[1];

	r->s[0] = b;
	a ^= a << 23;
	r->s[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
	return r->s[1] + b;
}

u64 value_int(struct rng *r, unsigned bits)
{
	static const u64 edges[] = { 0,
				     1,
				     2,
				     0x7f,
				     0x80,
				     0xff,
				     0x7fff,
				     0x8000,
				     0xffff,
				     0x7fffffff,
				     0x80000000,
				     0xffffffff,
				     0x7fffffffffffffff,
				     0x8000000000000000,
				     0xffffffffffffffff,
				     0x5555555555555555 };
	u64 x;

	switch (rng_below(r, 6)) {
	case 0: x = edges[rng_below(r, ARRAY_SIZE(edges))]; break;
	case 1: x = rng_below(r, 64) - 32; break;
	case 2: x = rng_next(r) >> rng_below(r, 64); break;
	case 3: x = 1ull << rng_below(r, 64); break;
	default: x = rng_next(r);
	}
	return bits >= 64 ? x : x & ((1ull << bits) - 1);
}

/* Exponents near the middle, so that sums and products meet; or anything; or a special. */
static u64 float_of(struct rng *r, unsigned mantissa, unsigned exponent)
{
	u64 bias = (1ull << (exponent - 1)) - 1, top = (1ull << exponent) - 1, m, e;
	u64 sign = rng_next(r) & 1;

	m = rng_next(r) & ((1ull << mantissa) - 1);
	switch (rng_below(r, 12)) {
	case 0: e = 0, m = 0; break;
	case 1: e = top, m = 0; break;
	case 2: e = top; break; /* NaN of either kind */
	case 3: e = 0; break; /* denormal */
	case 4: e = rng_below(r, 2) ? 1 : top - 1; break; /* near the ends */
	case 5:
		e = bias + rng_below(r, mantissa + 3), m &= ~0ull << rng_below(r, mantissa);
		break; /* often an integer */
	case 6: e = bias + rng_below(r, 70), m = rng_below(r, 2) ? 0 : (1ull << mantissa) - 1; break;
	case 7: e = rng_below(r, top); break;
	default: e = bias - 4 + rng_below(r, 8);
	}
	e &= top;
	return sign << (mantissa + exponent) | e << mantissa | m;
}

u64 value_float(struct rng *r, unsigned bits)
{
	return bits == 16 ? float_of(r, 10, 5) : bits == 32 ? float_of(r, 23, 8) : float_of(r, 52, 11);
}

void value_float80(struct rng *r, u64 *m, u16 *e)
{
	u64 sign = rng_next(r) & 1, x;

	*m = rng_next(r) | 1ull << 63;
	switch (rng_below(r, 14)) {
	case 0: x = 0, *m = 0; break;
	case 1: x = 0x7fff, *m = 1ull << 63; break; /* infinity */
	case 2: x = 0x7fff, *m |= 1ull << 62; break; /* quiet */
	case 3: x = 0x7fff, *m &= ~(1ull << 62); break; /* signalling, mostly */
	case 4: x = 0, *m &= ~0ull >> (1 + rng_below(r, 60)); break; /* denormal */
	case 5: x = 0; break; /* pseudo-denormal */
	case 6: x = rng_below(r, 0x8000), *m = rng_next(r); break; /* also unnormals, pseudo-NaNs */
	case 7: x = rng_below(r, 2) ? 1 : 0x7ffe; break;
	case 8: x = 0x3fff + rng_below(r, 66), *m &= ~0ull << rng_below(r, 64); break;
	case 9: x = 0x3fff, *m = 1ull << 63; break;
	case 10: x = 0x3fff - 64 + rng_below(r, 128); break;
	default: x = 0x3fff - 4 + rng_below(r, 8);
	}
	*e = (u16)(sign << 15 | x);
}
