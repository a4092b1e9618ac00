/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIMD state shared by every vector instruction: whether it may run now, and where the guest's MXCSR is.
 *
 * Between simd_enter() and simd_leave() the host's MXCSR holds the guest's rounding, FTZ and DAZ bits with every exception
 * masked, so that host instructions compute what the guest's would; sticky flags gather there and are folded into v->mxcsr
 * on the way out. While the guest's exceptions are all masked, too, the host's is the guest's, flags and all. Code that runs in between must not compute in floating point itself. A guest that unmasks an exception
 * (v->simd_trap) has each floating-point instruction's flags looked at before its result is stored.
 */
#pragma once
#include "emulate/emulate.h"

#define MXCSR_FLAGS	 0x3fu
#define MXCSR_DAZ	 0x40u
#define MXCSR_MASKS	 0x1f80u
#define MXCSR_MASK_SHIFT 7
#define MXCSR_RC	 0x6000u
#define MXCSR_FTZ	 0x8000u
#define MXCSR_DEFAULT	 0x1f80u

/* The host's MXCSR becomes the guest's, on this thread; and back to the VMM's own. */
void simd_enter(struct vcpu *v);
void simd_leave(struct vcpu *v);
/* The guest's MXCSR, sticky flags included. Setting takes any value without reserved bits. */
u32 simd_get_mxcsr(struct vcpu *v);
void simd_set_mxcsr(struct vcpu *v, u32 value);
/* Bits (by enum feature) of what this host can execute for a guest; features that need no host help are all set. */
void simd_host_features(u64 feature[2]);

/* #UD or #NM: why an instruction that needs `need` cannot run. */
_Noreturn void simd_fault(struct vcpu *v, unsigned need);
static inline void simd_check(struct vcpu *v, unsigned need)
{
	if (unlikely(!(v->simd_ok & need)))
		simd_fault(v, need);
}
/* For a vcpu with simd_trap: raises #XM for what the host's flags tell of the operation just done, or takes the flags. */
void simd_settle(struct vcpu *v);
static inline void simd_post(struct vcpu *v)
{
	if (unlikely(v->simd_trap))
		simd_settle(v);
}
