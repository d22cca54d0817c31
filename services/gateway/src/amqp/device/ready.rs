//! Which units of a connection have something to do.
//!
//! A connection may hold a thousand devices. Each has a waker of its own that puts it into a
//! queue, so that a poll costs as much as there is to do and not as much as there are devices.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::UnitId;

/// The queue of a connection. Each unit stands in it once at most.
#[derive(Debug, Default)]
pub(super) struct Ready {
    queue: Mutex<VecDeque<Arc<UnitWaker>>>,
    /// Wakes the connection.
    waker: AtomicWaker,
}

/// Wakes one unit.
#[derive(Debug)]
pub(super) struct UnitWaker {
    pub(super) unit: UnitId,
    is_queued: AtomicBool,
    /// Weak, since the queue holds wakers: those left in it at the end would keep it, and it them.
    ready: Weak<Ready>,
}

impl Ready {
    /// Has `cx` woken when a unit becomes ready.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Takes the unit that has been ready longest. What wakes it from now on queues it again.
    pub(super) fn take(&self) -> Option<Arc<UnitWaker>> {
        let unit = self.queue.lock().pop_front()?;
        // A swap and no store: what was done before a wake that found it queued is seen from here on.
        unit.is_queued.swap(false, Ordering::AcqRel);
        Some(unit)
    }
}

impl UnitWaker {
    pub(super) fn new(unit: UnitId, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self {
            unit,
            is_queued: AtomicBool::new(false),
            ready: Arc::downgrade(ready),
        })
    }

    /// The unit's waker, for what it polls.
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for UnitWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel)
            && let Some(ready) = self.ready.upgrade()
        {
            ready.queue.lock().push_back(Arc::clone(self));
            ready.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_that_is_woken_twice_is_ready_once_and_again_after_it_was_taken() {
        let ready = Arc::new(Ready::default());
        let wakers = [1, 2].map(|unit| UnitWaker::new(UnitId(unit), &ready).waker());
        wakers[1].wake_by_ref();
        wakers[0].wake_by_ref();
        wakers[1].wake_by_ref();
        let taken: Vec<_> = std::iter::from_fn(|| ready.take())
            .map(|unit| unit.unit.0)
            .collect();
        assert_eq!(taken, [2, 1]);
        wakers[1].wake_by_ref();
        assert!(ready.take().is_some() && ready.take().is_none());
    }

    #[test]
    fn queue_of_a_connection_that_has_ended_goes_with_those_that_stood_in_it() {
        let ready = Arc::new(Ready::default());
        let unit = UnitWaker::new(UnitId(1), &ready);
        unit.wake_by_ref();
        let (queue, unit_left) = (Arc::downgrade(&ready), Arc::downgrade(&unit));
        let late = unit.waker();
        drop((ready, unit));
        assert!(queue.upgrade().is_none());
        late.wake();
        assert!(unit_left.upgrade().is_none());
    }
}
