/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of our init share: system calls, as there is no C library. */
#pragma once
#include <sys/syscall.h>

static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}
#define sys0(n)			  call(SYS_##n, 0, 0, 0, 0, 0, 0)
#define sys1(n, a)		  call(SYS_##n, (long)(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b)		  call(SYS_##n, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys3(n, a, b, c)	  call(SYS_##n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys4(n, a, b, c, d)	  call(SYS_##n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys5(n, a, b, c, d, e)	  call(SYS_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define sys6(n, a, b, c, d, e, f) call(SYS_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* init-network.c: the network card's address, way out and resolver, as "ADDRESS/BITS,GATEWAY,RESOLVER" in IPv4. */
void set_network(const char *text);
