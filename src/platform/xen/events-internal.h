/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of event channels share: events.c has ports and their ends; an ABI has the bits that guest and we both change. */
#pragma once
#include "platform/xen/events.h"

#include <xen/event_channel.h>

#define EVENTS_MAX 4096u /* ports; all that 2-level has */
#define POLL_MAX   128u /* ports of one SCHEDOP_poll, as Xen has it */
#define FIFO_WORDS (PAGE_SIZE / sizeof(event_word_t)) /* of an array's page */
#define FIFO_PAGES (EVENTS_MAX / FIFO_WORDS)
#define FIFO_TRIES 16 /* when the guest's CPUs change a word meanwhile */

enum channel_state {
	CHANNEL_CLOSED,
	CHANNEL_LEFT, /* the guest has closed it, a back end of ours has not */
	CHANNEL_UNBOUND,
	CHANNEL_BACKEND,
	CHANNEL_VIRQ,
	CHANNEL_IPI
};

struct channel {
	u8 state; /* enum channel_state */
	u8 cpu; /* which is told */
	u8 virq;
	bool pending; /* FIFO: raised while it had no word */
	u8 priority, last_priority,
		last_cpu; /* FIFO: the queue that it is to be put in, and the one it was put in last */
	u16 remote; /* while unbound: the domain that may bind */
	void (*notify)(void *arg);
	void *arg;
};

/* All with the lock held, for a port below EVENTS_MAX. */
struct channel_abi {
	void (*raise)(struct xen_events *e, u32 port);
	void (*clear)(struct xen_events *e, u32 port);
	void (*unmask)(struct xen_events *e, u32 port);
	bool (*pending)(struct xen_events *e, u32 port); /* no lock needed */
};

struct poll {
	unsigned n;
	u32 port[POLL_MAX];
	struct timer timer;
	struct vcpu *v;
	_Atomic bool over; /* the time has come */
};

struct fifo { /* frames of the guest's, which we have got */
	event_word_t *page[FIFO_PAGES];
	u64 page_mfn[FIFO_PAGES];
	_Atomic unsigned pages;
	struct {
		struct evtchn_fifo_control_block *block; /* NULL: none yet */
		u64 mfn;
		u16 tail[EVTCHN_FIFO_MAX_QUEUES]; /* port that was put in last; 0: none */
	} cpu[MACHINE_MAX_CPUS];
};

struct xen_events {
	struct xen_domain *d;
	pthread_mutex_t lock;
	const struct channel_abi *_Atomic abi;
	struct channel channel[EVENTS_MAX];
	u16 virq[MACHINE_MAX_CPUS][NR_VIRQS]; /* its port; 0: none */
	_Atomic u64 polling; /* a bit a vCPU that is in SCHEDOP_poll */
	struct poll poll[MACHINE_MAX_CPUS];
	struct fifo fifo;
	u64 raised, sent, told; /* figures: on ports; by the guest; CPUs told */
};

extern const struct channel_abi abi_2level, abi_fifo;

static inline const struct channel_abi *abi_of(struct xen_events *e)
{
	return atomic_load_explicit(&e->abi, memory_order_acquire);
}
/* Each of a vCPU's own, or the domain's, and then told on vCPU 0 first. */
static inline bool events_virq_per_cpu(u32 virq)
{
	return virq == VIRQ_TIMER || virq == VIRQ_DEBUG || virq == VIRQ_XENOPROF || virq == VIRQ_XENPMU;
}

/* All with the lock held. */
/* The CPU has something pending: it is told, unless it has been. */
void events_tell(struct xen_events *e, unsigned cpu);
/* Marks a port, and wakes whoever polls. */
void events_mark(struct xen_events *e, u32 port);
/* A fresh one, told on vCPU 0; -ENOSPC. Port 0 is none. */
int events_take_port(struct xen_events *e, enum channel_state state);
struct channel *events_channel(struct xen_events *e, u32 port); /* NULL: the guest has none of that number */
void events_close(struct xen_events *e, u32 port);

/* events-fifo.c: sub-operations of the hypercall, without the lock held; reset gives the frames back and goes to the 2-level ABI. */
int fifo_init_control(struct xen_events *e, void *arg);
int fifo_expand_array(struct xen_events *e, void *arg);
void fifo_reset(struct xen_events *e);
