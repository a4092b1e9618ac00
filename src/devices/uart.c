/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550A UART (National Semiconductor PC16550D).
 *
 *   +0 RBR/THR, DLL with DLAB    +1 IER, DLM with DLAB    +2 IIR/FCR    +3 LCR    +4 MCR    +5 LSR    +6 MSR    +7 SCR
 *
 * Sending takes no time: a byte leaves as soon as the back end takes it. While that takes none the transmitter stays
 * full, so that the guest waits as it would for a slow line, and no thread of ours does. Input is asked for only while
 * RTS is on, as a terminal with a flow-controlled cable would send it: what is typed (or piped in) before the guest's
 * driver is up is kept for it. As on every PC, OUT2 lets interrupts through.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/devices.h"

enum reg { DATA, IER, FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RX	     0x01
#define IER_THRE     0x02
#define IER_LINE     0x04
#define IER_MODEM    0x08
#define IIR_NONE     0x01
#define IIR_MODEM    0x00
#define IIR_THRE     0x02
#define IIR_RX	     0x04
#define IIR_LINE     0x06
#define IIR_TIMEOUT  0x0c
#define IIR_FIFOS    0xc0
#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define LCR_DLAB     0x80
#define MCR_DTR	     0x01
#define MCR_RTS	     0x02
#define MCR_OUT1     0x04
#define MCR_OUT2     0x08
#define MCR_LOOP     0x10
#define LSR_DATA     0x01
#define LSR_OVERRUN  0x02
#define LSR_ERRORS   0x1e
#define LSR_THRE     0x20
#define LSR_TEMT     0x40
#define MSR_CTS	     0x10
#define MSR_DSR	     0x20
#define MSR_RI	     0x40
#define MSR_DCD	     0x80

#define FIFO_SIZE    16
/* Four characters of ten bits, in nanoseconds, at a divisor of 1 (115200 baud). */
#define TIMEOUT_NSEC 347222u

struct fifo {
	u8 data[FIFO_SIZE];
	unsigned head, count;
};

struct uart {
	struct device dev;
	struct clock *clock;
	pthread_mutex_t lock;
	struct irq_line irq;
	struct chardev *back;
	struct timer timer; /* character timeout */
	struct fifo rx, tx;
	u8 ier, fcr, lcr, mcr, scr, errors; /* errors: LSR_ERRORS bits */
	u8 modem, modem_delta;
	u16 divisor;
	bool thre_pending, timed_out;
	bool starved; /* the back end holds input for us */
};

static void fifo_push(struct fifo *f, u8 byte)
{
	f->data[(f->head + f->count++) % FIFO_SIZE] = byte;
}

static u8 fifo_pop(struct fifo *f)
{
	u8 byte = f->data[f->head];

	f->head = (f->head + 1) % FIFO_SIZE;
	f->count--;
	return byte;
}

static unsigned capacity(const struct uart *u)
{
	return u->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned trigger(const struct uart *u)
{
	static const u8 levels[] = { 1, 4, 8, 14 };

	return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* ---- interrupts ---- */

/* The interrupt with the highest priority (data sheet, table V). */
static u8 cause(const struct uart *u)
{
	if (u->ier & IER_LINE && u->errors)
		return IIR_LINE;
	if (u->ier & IER_RX && u->rx.count >= trigger(u))
		return IIR_RX;
	if (u->ier & IER_RX && u->timed_out)
		return IIR_TIMEOUT;
	if (u->ier & IER_THRE && u->thre_pending)
		return IIR_THRE;
	if (u->ier & IER_MODEM && u->modem_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct uart *u)
{
	bool out2 = (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	irq_set(&u->irq, out2 && cause(u) != IIR_NONE);
}

/* ---- receiving ---- */

/* Characters below the trigger level are told of when none has come or gone for four character times. */
static void restart_timeout(struct uart *u)
{
	u->timed_out = false;
	if (u->rx.count && u->rx.count < trigger(u))
		timer_arm(u->clock, &u->timer, clock_now(u->clock) + (u64)TIMEOUT_NSEC * MAX(u->divisor, 1));
	else
		timer_cancel(u->clock, &u->timer);
}

static void timeout(void *arg, u64 now)
{
	struct uart *u = arg;

	pthread_mutex_lock(&u->lock);
	u->timed_out = u->rx.count && u->rx.count < trigger(u);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

static bool listens(const struct uart *u)
{
	return (u->mcr & (MCR_RTS | MCR_LOOP)) == MCR_RTS;
}

/* Asks the back end for what it holds, once there is room. */
static void maybe_resume(struct uart *u)
{
	if (!u->starved || !listens(u) || u->rx.count >= capacity(u))
		return;
	u->starved = false;
	u->back->ops->resume(u->back);
}

static size_t receive(void *arg, const u8 *data, size_t len)
{
	struct uart *u = arg;
	size_t n = 0;

	pthread_mutex_lock(&u->lock);
	if (listens(u))
		while (n < len && u->rx.count < capacity(u))
			fifo_push(&u->rx, data[n++]);
	if (n < len)
		u->starved = true;
	if (n)
		restart_timeout(u);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
	return n;
}

/* ---- sending ---- */

static void flush(struct uart *u)
{
	while (u->tx.count && u->back) {
		size_t run = MIN(u->tx.count, FIFO_SIZE - u->tx.head);
		size_t n = u->back->ops->write(u->back, u->tx.data + u->tx.head, run);

		u->tx.head = (unsigned)(u->tx.head + n) % FIFO_SIZE;
		u->tx.count -= (unsigned)n;
		if (n < run)
			return;
	}
	u->tx.count = 0;
	u->thre_pending = true;
}

static void writable(void *arg)
{
	struct uart *u = arg;

	pthread_mutex_lock(&u->lock);
	if (u->tx.count)
		flush(u);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

static void loop_back(struct uart *u, u8 byte)
{
	if (u->rx.count < capacity(u))
		fifo_push(&u->rx, byte);
	else
		u->errors |= LSR_OVERRUN;
	u->thre_pending = true;
	restart_timeout(u);
}

static void transmit(struct uart *u, u8 byte)
{
	u->thre_pending = false;
	if (u->mcr & MCR_LOOP) {
		loop_back(u, byte);
		return;
	}
	/* Written although it was full: the last one is overwritten. */
	if (u->tx.count >= capacity(u))
		u->tx.count--;
	fifo_push(&u->tx, byte);
	flush(u);
}

/* ---- modem lines ---- */

static void update_modem(struct uart *u)
{
	u8 old = u->modem, changed;

	if (u->mcr & MCR_LOOP)
		u->modem = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
			   (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
	else
		u->modem = u->back ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
	/* The ring indicator counts at its trailing edge only. */
	changed = (old ^ u->modem) & (MSR_CTS | MSR_DSR | MSR_DCD);
	changed |= old & ~u->modem & MSR_RI;
	u->modem_delta |= changed >> 4;
}

/* ---- registers ---- */

static u8 read_data(struct uart *u)
{
	u8 byte = u->rx.data[u->rx.head];

	if (u->rx.count) {
		byte = fifo_pop(&u->rx);
		restart_timeout(u);
		maybe_resume(u);
	}
	return byte;
}

static u8 read_iir(struct uart *u)
{
	u8 value = cause(u);

	if (value == IIR_THRE)
		u->thre_pending = false;
	return value | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static u8 read_reg(struct uart *u, unsigned reg)
{
	u8 value;

	switch (reg) {
	case DATA: return u->lcr & LCR_DLAB ? (u8)u->divisor : read_data(u);
	case IER: return u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
	case FCR: return read_iir(u);
	case LCR: return u->lcr;
	case MCR: return u->mcr;
	case LSR:
		value = u->errors | (u->rx.count ? LSR_DATA : 0) | (u->tx.count ? 0 : LSR_THRE | LSR_TEMT);
		u->errors = 0;
		return value;
	case MSR:
		value = u->modem | u->modem_delta;
		u->modem_delta = 0;
		return value;
	default: return u->scr;
	}
}

static void write_ier(struct uart *u, u8 value)
{
	/* Turning the interrupt on while the transmitter is empty raises it. */
	if (value & ~u->ier & IER_THRE && !u->tx.count)
		u->thre_pending = true;
	u->ier = value & 0x0f;
}

static void write_fcr(struct uart *u, u8 value)
{
	if ((value ^ u->fcr) & FCR_ENABLE)
		value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	u->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
	if (value & FCR_CLEAR_RX)
		u->rx.count = u->rx.head = 0;
	if (value & FCR_CLEAR_TX && u->tx.count) {
		u->tx.count = u->tx.head = 0;
		u->thre_pending = true;
	}
	restart_timeout(u);
	maybe_resume(u);
}

static void write_reg(struct uart *u, unsigned reg, u8 value)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case DATA:
		if (dlab)
			u->divisor = (u->divisor & 0xff00) | value;
		else
			transmit(u, value);
		break;
	case IER:
		if (dlab)
			u->divisor = (u16)((u->divisor & 0xff) | value << 8);
		else
			write_ier(u, value);
		break;
	case FCR: write_fcr(u, value); break;
	case LCR: u->lcr = value; break;
	case MCR:
		u->mcr = value & 0x1f;
		update_modem(u);
		maybe_resume(u);
		break;
	case SCR: u->scr = value; break;
	default: break; /* LSR and MSR are read-only */
	}
}

static u64 read_port(void *dev, u64 offset, unsigned size)
{
	struct uart *u = dev;
	u8 value;

	pthread_mutex_lock(&u->lock);
	value = read_reg(u, (unsigned)offset);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
	return value;
}

static void write_port(void *dev, u64 offset, unsigned size, u64 value)
{
	struct uart *u = dev;

	pthread_mutex_lock(&u->lock);
	write_reg(u, (unsigned)offset, (u8)value);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

static const struct region_ops ports = { read_port, write_port };

static void reset(struct device *d)
{
	struct uart *u = container_of(d, struct uart, dev);

	pthread_mutex_lock(&u->lock);
	u->rx.count = u->tx.count = 0;
	u->ier = u->fcr = u->lcr = u->mcr = u->errors = 0;
	u->divisor = 1;
	u->thre_pending = u->timed_out = false;
	update_modem(u);
	u->modem_delta = 0;
	restart_timeout(u);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

static void destroy(struct device *d)
{
	struct uart *u = container_of(d, struct uart, dev);

	if (u->back)
		u->back->front = (struct chardev_front){ 0 };
	timer_cancel(u->clock, &u->timer);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

static const struct device_ops uart_ops = { .name = "uart", .reset = reset, .destroy = destroy };

struct device *uart_new(struct machine *m, u16 base, struct irq_line irq, struct chardev *back, struct error *err)
{
	struct uart *u = calloc(1, sizeof(*u));
	const struct region region = { base, 8, &ports, u, "uart", 1 };

	if (!u) {
		error_set(err, ENOMEM, "no memory for the serial port");
		return NULL;
	}
	u->dev.ops = &uart_ops;
	u->clock = m->clock;
	u->irq = irq;
	u->back = back;
	u->starved = back != NULL;
	u->timer = (struct timer){ .deadline = ~0ull, .fire = timeout, .arg = u };
	pthread_mutex_init(&u->lock, NULL);
	reset(&u->dev);
	if (back)
		back->front = (struct chardev_front){ receive, writable, u };
	if (bus_add(&m->pio, &region, err)) {
		destroy(&u->dev);
		return NULL;
	}
	return &u->dev;
}
