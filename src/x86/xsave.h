/* SPDX-License-Identifier: Apache-2.0 */
/* The XSAVE area's standard format, as far as AVX (SDM vol. 1, 13.4): FXSAVE's 512 bytes, the header, and the upper halves of YMM. */
#pragma once
#include <stddef.h>

#include "util/types.h"

struct __attribute__((packed)) xsave_area {
	u16 cw, sw;
	u8 tag, zero;
	u16 fop;
	u64 ip, dp; /* 64-bit offsets, or in the 32-bit formats an offset and a selector */
	u32 mxcsr, mxcsr_mask;
	u8 st[8][16]; /* by the distance from the top */
	u8 xmm[16][16];
	u8 unused[96];
	u64 xstate_bv, xcomp_bv, reserved[6];
	u8 ymm_high[16][16];
};
_Static_assert(offsetof(struct xsave_area, xstate_bv) == 512 && offsetof(struct xsave_area, ymm_high) == 576 &&
		       sizeof(struct xsave_area) == 832,
	       "SDM vol. 1, 13.4");
