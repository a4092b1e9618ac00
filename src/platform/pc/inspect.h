/* SPDX-License-Identifier: Apache-2.0 */
/* What of a PC can be looked at by name (machine/inspect.h): pc.c's. */
#pragma once
#include "devices/virtio/devices.h"

/* Lists a device by its name, if it can say something of itself. */
int inspect_add_device(struct machine *m, struct device *d, struct error *err);
/* `info balloon`, and `balloon SIZE`, which sets what the guest is to give up. */
int inspect_add_balloon(struct machine *m, struct virtio_device *balloon, struct error *err);
