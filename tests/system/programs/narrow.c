/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What compilers make of ordinary C, with numbers on the x87 stack: built for 32 and for 64 bits it prints the same. It needs no library, as
 * a host need not have one for 32 bits.
 */
typedef unsigned int u32;
typedef unsigned long long u64;

static long call(long n, long a, long b, long c)
{
#ifdef __x86_64__
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#else
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory");
#endif
	return r;
}
#ifdef __x86_64__
#define WRITE 1
#define EXIT  60
#else
#define WRITE 4
#define EXIT  1
#endif

static void print(const char *name, u64 x)
{
	char text[64];
	unsigned n = 0;

	while (name[n]) {
		text[n] = name[n];
		n++;
	}
	text[n++] = ' ';
	for (int k = 60; k >= 0; k -= 4)
		text[n++] = "0123456789abcdef"[x >> k & 15];
	text[n++] = '\n';
	call(WRITE, 1, (long)text, n);
}

static u32 state = 1;
static u32 next(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static void sort(int *a, int n, int (*less)(int, int))
{
	for (int i = 1; i < n; i++)
		for (int k = i; k > 0 && less(a[k], a[k - 1]); k--) {
			int t = a[k];
			a[k] = a[k - 1];
			a[k - 1] = t;
		}
}
static int up(int a, int b)
{
	return a < b;
}
static int down(int a, int b)
{
	return a > b;
}

static u64 fold(const int *a, int n)
{
	u64 s = 0;

	for (int i = 0; i < n; i++)
		s = s * 1099511628211ull + (u64)(long long)a[i];
	return s;
}

static u32 ack(u32 m, u32 n)
{
	return m == 0 ? n + 1 : n == 0 ? ack(m - 1, 1) : ack(m - 1, ack(m, n - 1));
}

/* Bytes, words, flags, carries over two words, signed and unsigned compares. */
static u64 mix(void)
{
	static unsigned char bytes[4096];
	static unsigned short words[1024];
	u64 s = 0;

	for (u32 i = 0; i < 4096; i++)
		bytes[i] = (unsigned char)next();
	for (u32 round = 0; round < 50; round++)
		for (u32 i = 0; i < 4096; i++) {
			unsigned short *w = &words[bytes[i] * 4 + (i & 3)];
			*w = (unsigned short)(*w + (bytes[(i * 7 + round) & 4095] << (i & 7)));
			s += (s << 7) ^ *w ^ (s >> 57);
			if ((signed char)bytes[i] < (signed char)(s >> 8))
				bytes[i]++;
			s ^= (u64)(u32)((int)(s >> 3) / (int)(bytes[i] + 1)) << 20;
		}
	return s;
}

static u64 bits_of(long double x)
{
	union {
		long double x;
		u64 m;
	} both;

	both.x = x;
	return both.m;
}

static long double series(int n)
{
	long double s = 0, term = 1;

	for (int i = 1; i < n; i++) {
		term = -term * (long double)0.75L;
		s += term / i + 1.0L / ((long double)i * i);
		if (s > 1.5L)
			s -= (long double)(float)0.25;
	}
	return s;
}

static u64 rounding(void)
{
	static const unsigned short ways[] = { 0x37f, 0x77f, 0xb7f, 0xf7f };
	u64 s = 0;

	for (int k = 0; k < 4000; k++) {
		long double x = (long double)(int)next() / 1048576;
		long long i;
		__asm__ volatile("fldcw %0" : : "m"(ways[k & 3]));
		__asm__ volatile("fldt %1; fistpll %0" : "=m"(i) : "m"(x));
		s = s * 31 + (u64)i;
	}
	__asm__ volatile("fldcw %0" : : "m"(ways[0]));
	return s;
}

__attribute__((force_align_arg_pointer)) void _start(void)
{
	static int a[1500];

	for (int i = 0; i < 1500; i++)
		a[i] = (int)next();
	sort(a, 1500, up);
	print("up", fold(a, 1500));
	sort(a, 1500, down);
	print("down", fold(a, 1500));
	print("ack", ack(2, 300));
	print("mix", mix());
	print("series", bits_of(series(100000)));
	print("rounding", rounding());
	call(EXIT, 0, 0, 0);
}
