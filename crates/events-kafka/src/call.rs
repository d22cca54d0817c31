//! One call of `publish`: which of its events are in the log.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Told of every delivery by the producer's thread, waited for by the call.
#[derive(Debug)]
pub(crate) struct Call {
    delivered: Vec<AtomicBool>,
    /// Events that the producer has, and one for the call while it hands over more.
    open: AtomicUsize,
    settled: Notify,
}

impl Call {
    pub(crate) fn new(events: usize) -> Self {
        Self {
            delivered: std::iter::repeat_with(AtomicBool::default)
                .take(events)
                .collect(),
            open: AtomicUsize::new(1),
            settled: Notify::new(),
        }
    }

    /// The producer gets an event. Noted before it has it: the answer may come at once.
    pub(crate) fn hand_over(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing more is heard of one event, or of the call's own part.
    pub(crate) fn close_one(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_one();
        }
    }

    /// The log has the event `index`.
    pub(crate) fn deliver(&self, index: usize) {
        if let Some(delivered) = self.delivered.get(index) {
            delivered.store(true, Ordering::Release);
        }
        self.close_one();
    }

    /// Waits until something was heard of every event that was handed over. Cancel safe.
    pub(crate) async fn settled(&self) {
        while self.open.load(Ordering::Acquire) > 0 {
            self.settled.notified().await;
        }
    }

    /// How many of the first events the log has.
    pub(crate) fn delivered(&self) -> usize {
        let delivered = self.delivered.iter();
        delivered
            .take_while(|delivered| delivered.load(Ordering::Acquire))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn a_call_is_settled_when_everything_handed_over_is_answered() {
        let call = Call::new(3);
        let settled = call.settled();
        tokio::pin!(settled);
        call.hand_over();
        call.hand_over();
        call.deliver(1);
        assert!(poll!(settled.as_mut()).is_pending());
        call.close_one();
        assert!(poll!(settled.as_mut()).is_pending());
        call.deliver(0);
        assert!(poll!(settled.as_mut()).is_ready());
        assert_eq!(call.delivered(), 2);
    }

    #[test]
    fn only_what_stands_without_a_gap_counts_as_delivered() {
        let call = Call::new(4);
        (0..3).for_each(|_| call.hand_over());
        call.deliver(0);
        call.deliver(2);
        assert_eq!(call.delivered(), 1);
        call.deliver(1);
        assert_eq!(call.delivered(), 3);
    }
}
