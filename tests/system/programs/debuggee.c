/* SPDX-License-Identifier: Apache-2.0 */
/* What test-gdb debugs in a guest: functions to break at, a variable to watch, vector registers to look into. */
#include <immintrin.h>
#include <stdio.h>

volatile int watched;
volatile int threshold = 10;

__attribute__((noinline)) int grow(int by)
{
	watched += by;
	return watched;
}

__attribute__((noinline)) void vectors(void)
{
	__asm__ volatile("vmovdqu %0, %%ymm5\n"
			 "vectors_loaded: nop\n"
			 :
			 : "m"(*(const char(*)[32]) "0123456789abcdefghijklmnopqrstuv")
			 : "xmm5");
}

int main(void)
{
	int sum = 0;

	for (int i = 1; i <= 4; i++)
		sum += grow(i);
	if (__builtin_cpu_supports("avx"))
		vectors();
	printf("sum %d threshold %d\n", sum, threshold);
	return sum == 20 ? 7 : 1;
}
