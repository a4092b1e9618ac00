/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The constructors of virtio device types. Each makes the device only: virtio_pci_add() then gives it its transport, and from
 * then on device_destroy() releases it; before that, v->ops->destroy(v) does. NULL and err when it cannot.
 */
#pragma once
#include "devices/virtio/virtio.h"

struct virtio_device *virtio_rng_new(struct machine *m, struct error *err);
