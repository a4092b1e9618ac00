/* SPDX-License-Identifier: Apache-2.0 */
/* Short fixed-width names, as kernels and manuals write them, and the few compiler words that everything uses. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef __int128 s128;
typedef unsigned __int128 u128;

#define likely(x)		      __builtin_expect(!!(x), 1)
#define unlikely(x)		      __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a)		      (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)		      ((a) < (b) ? (a) : (b))
#define MAX(a, b)		      ((a) > (b) ? (a) : (b))
#define BIT(n)			      (1ull << (n))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

/* A guest access may have any alignment: these types tell the compiler so, and each access is one host instruction. */
typedef u16 __attribute__((aligned(1), may_alias)) u16_una;
typedef u32 __attribute__((aligned(1), may_alias)) u32_una;
typedef u64 __attribute__((aligned(1), may_alias)) u64_una;
