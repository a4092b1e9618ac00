/* SPDX-License-Identifier: Apache-2.0 */
/* Ports of the guest status device: see guest_status.c. guest/init.c includes this too. */
#pragma once

#define GUEST_STATUS_PORT	 0x5c0
#define GUEST_STATUS_LEN	 8
#define GUEST_STATUS_MAGIC	 0 /* offset, 4 bytes, read only: tells that the device is there */
#define GUEST_STATUS_VALUE	 4 /* offset, 1 byte */
#define GUEST_STATUS_READY	 5 /* offset, 1 byte */
#define GUEST_STATUS_MAGIC_VALUE 0x54535853u /* "SXST" */
