/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ISA bridge: function 0 of device 1fh, as the LPC interface of Intel's ICH9 (8086:2918), of which firmware and kernels
 * look at the interrupt router and the place of the power management registers.
 *
 *   40h  4  PMBASE: 600h, fixed    44h  ACPI_CNTL: those registers are on, SCI on IRQ 9
 *   60h..63h, 68h..6bh  PIRQA..PIRQH: bit 7 off, 3:0 the ISA interrupt that it drives
 *
 * INTA#..INTD# are PIRQA..PIRQD. Each drives pin 16 + n of the I/O APIC always and, as routed, an input of the PICs. At
 * reset they are routed as a BIOS would, and these inputs are level-triggered.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/pci/bus.h"

#define PMBASE	     0x40
#define ACPI_CNTL    0x44
#define PIRQ_A	     0x60
#define PIRQ_E	     0x68
#define PIRQ_OFF     0x80
#define FIRST_PIN    16
#define LINES	     4
#define ROUTABLE     0xdef8u /* 3..7, 9..12, 14, 15 */
#define ELCR	     0x4d0
#define ACPI_CNTL_EN 0x80

struct lpc {
	struct device dev;
	struct machine *machine;
	struct device *intc;
	struct pci_function *function;
	pthread_mutex_t lock;
	bool level[LINES];
	u8 route[LINES];
	u16 driven; /* ISA interrupts that are up because of us */
};

static const u8 bios_route[LINES] = { 10, 10, 11, 11 };

/* Drives the ISA interrupts that changed; others belong to other devices. */
static void update(struct lpc *l)
{
	u16 want = 0, changed;

	for (unsigned i = 0; i < LINES; i++)
		if (l->level[i] && !(l->route[i] & PIRQ_OFF))
			want |= (u16)(1u << (l->route[i] & 0xf)) & ROUTABLE;
	changed = want ^ l->driven;
	l->driven = want;
	for (unsigned irq = 0; irq < 16; irq++) {
		struct irq_line line = intc_isa_line(l->intc, irq);

		if (changed >> irq & 1)
			irq_set(&line, want >> irq & 1);
	}
}

static void set_line(void *arg, unsigned n, bool level)
{
	struct lpc *l = arg;
	struct irq_line pin = intc_pin_line(l->intc, FIRST_PIN + n);

	pthread_mutex_lock(&l->lock);
	l->level[n] = level;
	irq_set(&pin, level);
	update(l);
	pthread_mutex_unlock(&l->lock);
}

struct irq_line lpc_line(struct device *d, unsigned n)
{
	return (struct irq_line){ set_line, container_of(d, struct lpc, dev), n & (LINES - 1) };
}

static void read_routes(struct lpc *l)
{
	const u8 *config = pci_config(l->function);

	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < LINES; i++)
		l->route[i] = config[PIRQ_A + i];
	update(l);
	pthread_mutex_unlock(&l->lock);
}

static void config_changed(void *arg, unsigned offset, unsigned size)
{
	if (offset < PIRQ_A + LINES && offset + size > PIRQ_A)
		read_routes(arg);
}

/* Firmware's part outside of the bridge: level-triggered inputs. */
static void bridge_reset(void *arg)
{
	struct lpc *l = arg;
	u16 levels = 0;

	for (unsigned i = 0; i < LINES; i++)
		levels |= (u16)(1u << bios_route[i]);
	bus_write(&l->machine->pio, ELCR, 1, levels & 0xff);
	bus_write(&l->machine->pio, ELCR + 1, 1, levels >> 8);
	read_routes(l);
}

static const struct pci_info info = {
	.name = "ISA bridge",
	.vendor = 0x8086,
	.device = 0x2918,
	.class = 0x060100,
	.revision = 2,
	.config_write = config_changed,
	.reset = bridge_reset,
};

int lpc_add(struct device *d, struct device *bus, struct error *err)
{
	static const u8 pirq[LINES] = { 0x8f, 0x8f, 0x8f, 0x8f };
	struct lpc *l = container_of(d, struct lpc, dev);
	u8 *config;

	l->function = pci_add(bus, LPC_DEVFN, &info, l, err);
	if (!l->function)
		return err ? err->code : -1;
	config = pci_config(l->function);
	*(u32_una *)(config + PMBASE) = PM1_EVENT_PORT | 1;
	config[ACPI_CNTL] = ACPI_CNTL_EN;
	for (unsigned i = 0; i < LINES; i++) {
		config[PIRQ_A + i] = bios_route[i];
		config[PIRQ_E + i] = PIRQ_OFF;
	}
	pci_set_writable(l->function, PIRQ_A, pirq, sizeof(pirq));
	pci_set_writable(l->function, PIRQ_E, pirq, sizeof(pirq));
	bridge_reset(l);
	return 0;
}

const u8 *lpc_irqs(void)
{
	return bios_route;
}

/* The bridge's function is reset with its bus. */
static void reset(struct device *d)
{
}

static void destroy(struct device *d)
{
	struct lpc *l = container_of(d, struct lpc, dev);

	pthread_mutex_destroy(&l->lock);
	free(l);
}

static const struct device_ops lpc_ops = { .name = "lpc", .reset = reset, .destroy = destroy };

struct device *lpc_new(struct machine *m, struct device *intc, struct error *err)
{
	struct lpc *l = calloc(1, sizeof(*l));

	if (!l) {
		error_set(err, ENOMEM, "no memory for the ISA bridge");
		return NULL;
	}
	l->dev.ops = &lpc_ops;
	l->machine = m;
	l->intc = intc;
	for (unsigned i = 0; i < LINES; i++)
		l->route[i] = PIRQ_OFF;
	pthread_mutex_init(&l->lock, NULL);
	return &l->dev;
}
