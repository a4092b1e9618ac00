/* SPDX-License-Identifier: Apache-2.0 */
/* One kind of work, given by name: fixed amounts, one thread, nothing but the C library. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define N     200
#define SIEVE 4000000
#define CHASE (1 << 20)

static void matrix(void)
{
	static double a[N][N], b[N][N], c[N][N];

	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			a[i][j] = i + j;
			b[i][j] = i - j;
		}
	for (int round = 0; round < 6; round++)
		for (int i = 0; i < N; i++)
			for (int k = 0; k < N; k++)
				for (int j = 0; j < N; j++)
					c[i][j] += a[i][k] * b[k][j];
	printf("%g\n", c[N - 1][N / 2]);
}

static void sieve(void)
{
	static char composite[SIEVE];
	int count = 0;

	for (int i = 2; i < SIEVE; i++) {
		if (composite[i])
			continue;
		count++;
		for (long j = (long)i * i; j < SIEVE; j += i)
			composite[j] = 1;
	}
	printf("%d\n", count);
}

/* Dependent loads in an order that no prefetcher knows. */
static void chase(void)
{
	uint32_t *next = malloc(CHASE * sizeof(*next)), at = 0, x = 1;

	for (uint32_t i = 0; i < CHASE; i++)
		next[i] = i;
	for (uint32_t i = CHASE - 1; i > 0; i--) {
		x = x * 1664525 + 1013904223;
		uint32_t j = (uint32_t)((uint64_t)x * i >> 32), t = next[i];

		next[i] = next[j];
		next[j] = t;
	}
	for (int i = 0; i < 3000000; i++)
		at = next[at];
	printf("%u\n", at);
}

/* Calls that no compiler folds: returns and indirect calls. */
static int (*volatile call)(int);
static int fib(int n)
{
	return n < 2 ? n : call(n - 1) + call(n - 2);
}

static void calls(void)
{
	call = fib;
	printf("%d\n", fib(29));
}

static void faults(void)
{
	for (int round = 0; round < 4; round++) {
		size_t len = 5000 * 4096ul;
		char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (size_t i = 0; i < len; i += 4096)
			p[i] = 1;
		munmap(p, len);
	}
	puts("done");
}

static void syscalls(void)
{
	for (int i = 0; i < 300000; i++)
		syscall(SYS_getppid);
	puts("done");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} work[] = { { "matrix", matrix }, { "sieve", sieve },	 { "chase", chase },
		     { "calls", calls },   { "faults", faults }, { "syscalls", syscalls } };

	for (unsigned i = 0; argc == 2 && i < sizeof(work) / sizeof(*work); i++)
		if (!strcmp(work[i].name, argv[1])) {
			work[i].run();
			return 0;
		}
	return 2;
}
