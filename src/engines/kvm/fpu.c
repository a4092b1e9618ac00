/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87, SSE and AVX state between struct vcpu and the kernel's XSAVE area (Intel SDM vol. 1, 13.4: the standard format), and
 * XCR0. Registers of the x87 stack are there by their distance from the top, here by their number.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm-internal.h"
#include "x86/xsave.h"

_Static_assert(sizeof(struct xsave_area) <= sizeof(struct kvm_xsave), "the kernel's area holds AVX");

static struct f80 *physical(struct x87 *x, unsigned i)
{
	return &x->fpr[((x->sw >> 11) + i) & 7];
}

static void fill(struct vcpu *v, struct xsave_area *a)
{
	struct x87 *x = &v->x87;

	a->cw = x->cw;
	a->sw = x->sw;
	a->tag = x->tag;
	a->fop = x->fop;
	a->ip = x->fip;
	a->dp = x->fdp;
	a->mxcsr = v->mxcsr;
	for (unsigned k = 0; k < 8; k++)
		memcpy(a->st[k], physical(x, k), 10);
	for (unsigned k = 0; k < 16; k++) {
		memcpy(a->xmm[k], v->v[k].b, 16);
		memcpy(a->ymm_high[k], v->v[k].b + 16, 16);
	}
	a->xstate_bv = XCR0_X87 | XCR0_SSE | (cpu_has(v->model, FEAT_AVX) ? XCR0_AVX : 0);
}

static void take_x87(struct vcpu *v, const struct xsave_area *a)
{
	struct x87 *x = &v->x87;

	if (!(a->xstate_bv & XCR0_X87)) {
		*x = (struct x87){ .cw = 0x37f };
		return;
	}
	*x = (struct x87){ .cw = a->cw, .sw = a->sw, .tag = a->tag, .fop = a->fop, .fip = a->ip, .fdp = a->dp };
	for (unsigned k = 0; k < 8; k++)
		memcpy(physical(x, k), a->st[k], 10);
}

/* A component whose bit is clear is in its initial state, whatever its bytes say. */
static void take(struct vcpu *v, const struct xsave_area *a)
{
	take_x87(v, a);
	v->mxcsr = a->mxcsr;
	memset(v->v, 0, sizeof(v->v));
	for (unsigned k = 0; k < 16; k++) {
		if (a->xstate_bv & XCR0_SSE)
			memcpy(v->v[k].b, a->xmm[k], 16);
		if (a->xstate_bv & XCR0_AVX)
			memcpy(v->v[k].b + 16, a->ymm_high[k], 16);
	}
}

int fpu_load(struct vcpu *v, struct error *err)
{
	struct kvm_xsave area = { 0 };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = v->xcr0 } };
	int fd = cpu_of(v)->fd;

	if (cpu_has(v->model, FEAT_XSAVE) && ioctl(fd, KVM_SET_XCRS, &xcrs) < 0)
		return error_set(err, errno, "KVM does not take XCR0 = %#llx: %s", (unsigned long long)v->xcr0,
				 strerror(errno));
	fill(v, (struct xsave_area *)&area);
	if (ioctl(fd, KVM_SET_XSAVE, &area) < 0)
		return error_set(err, errno, "KVM does not take the vector registers: %s", strerror(errno));
	return 0;
}

int fpu_save(struct vcpu *v, struct error *err)
{
	struct kvm_xsave area;
	struct kvm_xcrs xcrs;
	int fd = cpu_of(v)->fd;

	if (ioctl(fd, KVM_GET_XSAVE, &area) < 0)
		return error_set(err, errno, "KVM does not give the vector registers: %s", strerror(errno));
	take(v, (const struct xsave_area *)&area);
	if (!cpu_has(v->model, FEAT_XSAVE))
		return 0;
	if (ioctl(fd, KVM_GET_XCRS, &xcrs) < 0)
		return error_set(err, errno, "KVM does not give XCR0: %s", strerror(errno));
	for (u32 i = 0; i < MIN(xcrs.nr_xcrs, (u32)ARRAY_SIZE(xcrs.xcrs)); i++)
		if (xcrs.xcrs[i].xcr == 0)
			v->xcr0 = xcrs.xcrs[i].value;
	return 0;
}
