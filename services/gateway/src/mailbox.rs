//! What the hub wants of one device connection, waiting until its task looks.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use downlink_domain::method::{MethodAnswer, MethodError, MethodName};
use downlink_domain::presence::DisconnectReason;
use downlink_ports::Notify;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Calls that may wait in one mailbox; above it a call is refused with
/// [`MethodError::TooManyInFlight`].
const MAX_WAITING_CALLS: usize = 64;
/// Desired changes that may wait in one mailbox; above it the oldest is shed, which the device
/// sees as a gap in `$version` and heals by reading the twin (twins.md §5.5).
const MAX_WAITING_CHANGES: usize = 32;

/// A method call on its way to the device.
#[derive(Debug)]
pub struct Invocation {
    /// Which method.
    pub name: MethodName,
    /// JSON text, may be empty.
    pub payload: Bytes,
    /// Where the one outcome goes; dropping it says that the connection was lost.
    pub reply: oneshot::Sender<Result<MethodAnswer, MethodError>>,
}

/// One thing the hub wants.
#[derive(Debug)]
pub enum Inbox {
    /// Messages may wait in the queue.
    Wake,
    /// An order to close may have been missed: look at the identity once more.
    Recheck,
    /// Call a method.
    Invoke(Invocation),
    /// Tell of changed desired properties.
    Desired(Notify),
    /// End the connection.
    Close(DisconnectReason),
}

/// Whether the connection was asked to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closing {
    #[default]
    No,
    /// It was, and is to be told why.
    Ordered(DisconnectReason),
    /// It was told.
    Told,
}

#[derive(Debug, Default)]
struct Waiting {
    wake: bool,
    recheck: bool,
    closing: Closing,
    calls: VecDeque<Invocation>,
    changes: VecDeque<Notify>,
    /// Version of the newest change taken.
    told_version: u64,
    is_closed: bool,
}

/// A bounded mailbox without room reserved in advance.
#[derive(Debug, Default)]
pub struct Mailbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

impl Mailbox {
    /// Tells that messages may wait; repeated calls fold into one.
    pub fn wake(&self) {
        self.waiting.lock().wake = true;
        self.waker.wake();
    }

    /// Asks for a second look at the identity; repeated calls fold into one.
    pub fn recheck(&self) {
        self.waiting.lock().recheck = true;
        self.waker.wake();
    }

    /// Asks the connection to end; the first reason stands. Answers whether this is it.
    pub fn close(&self, reason: DisconnectReason) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.closing != Closing::No {
            return false;
        }
        waiting.closing = Closing::Ordered(reason);
        drop(waiting);
        self.waker.wake();
        true
    }

    /// Tells whether the connection was asked to end.
    pub fn is_closing(&self) -> bool {
        self.waiting.lock().closing != Closing::No
    }

    /// Hands over a call; its `reply` is answered when there is no room or nobody to take it.
    pub fn invoke(&self, invocation: Invocation) {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            drop(waiting);
            // It never reached the device, so it may be offered to the next connection.
            let _ = invocation.reply.send(Err(MethodError::NotOnline));
            return;
        }
        if waiting.calls.len() >= MAX_WAITING_CALLS {
            drop(waiting);
            let _ = invocation.reply.send(Err(MethodError::TooManyInFlight));
            return;
        }
        waiting.calls.push_back(invocation);
        drop(waiting);
        self.waker.wake();
    }

    /// Hands over a change of desired properties; answers whether one was shed, an older one that
    /// waited or this one.
    ///
    /// Changes of one twin come from any number of nodes. One that was overtaken is shed, since a
    /// device told of it after its successor would take old values for new; the gap in `$version`
    /// has it read the twin.
    pub fn notify(&self, change: Notify) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed || change.version <= waiting.told_version {
            return true;
        }
        waiting.told_version = change.version;
        let is_full = waiting.changes.len() >= MAX_WAITING_CHANGES;
        if is_full {
            waiting.changes.pop_front();
        }
        waiting.changes.push_back(change);
        drop(waiting);
        self.waker.wake();
        is_full
    }

    /// Takes the next thing, an order to close before anything else. The order comes once; what
    /// waits behind it still comes after it.
    pub fn poll_next(&self, cx: &Context<'_>) -> Poll<Inbox> {
        self.waker.register(cx.waker());
        let mut waiting = self.waiting.lock();
        if let Closing::Ordered(reason) = waiting.closing {
            waiting.closing = Closing::Told;
            return Poll::Ready(Inbox::Close(reason));
        }
        if let Some(call) = waiting.calls.pop_front() {
            return Poll::Ready(Inbox::Invoke(call));
        }
        if let Some(change) = waiting.changes.pop_front() {
            return Poll::Ready(Inbox::Desired(change));
        }
        if std::mem::take(&mut waiting.wake) {
            return Poll::Ready(Inbox::Wake);
        }
        if std::mem::take(&mut waiting.recheck) {
            return Poll::Ready(Inbox::Recheck);
        }
        Poll::Pending
    }

    /// Refuses everything from now on and returns the calls that never reached the device.
    pub fn shut(&self) -> VecDeque<Invocation> {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        waiting.changes = VecDeque::new();
        std::mem::take(&mut waiting.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(version: u64) -> Notify {
        Notify {
            device: downlink_domain::id::DeviceKey(7),
            version,
            body: Bytes::new(),
        }
    }

    #[test]
    fn a_change_that_was_overtaken_or_comes_twice_is_not_told() {
        let mailbox = Mailbox::default();
        let shed = [3, 2, 3, 5, 4].map(|version| mailbox.notify(change(version)));
        assert_eq!(shed, [false, true, true, false, true]);
        let mut told = Vec::new();
        let cx = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Inbox::Desired(change)) = mailbox.poll_next(&cx) {
            told.push(change.version);
        }
        assert_eq!(told, [3, 5]);
    }

    #[test]
    fn the_first_order_to_close_stands_also_after_it_was_taken() {
        let mailbox = Mailbox::default();
        let cx = Context::from_waker(std::task::Waker::noop());
        mailbox.close(DisconnectReason::Superseded);
        mailbox.close(DisconnectReason::Deleted);
        let order = mailbox.poll_next(&cx);
        assert!(matches!(
            order,
            Poll::Ready(Inbox::Close(DisconnectReason::Superseded))
        ));
        mailbox.close(DisconnectReason::Deleted);
        assert!(mailbox.poll_next(&cx).is_pending());
    }

    #[test]
    fn an_empty_mailbox_is_small() {
        let bytes = size_of::<Mailbox>();
        assert!(bytes <= 112, "{bytes} bytes");
    }

    #[test]
    fn requests_for_a_second_look_fold_into_one() {
        let mailbox = Mailbox::default();
        let cx = Context::from_waker(std::task::Waker::noop());
        mailbox.recheck();
        mailbox.recheck();
        let asked = mailbox.poll_next(&cx);
        assert!(matches!(asked, Poll::Ready(Inbox::Recheck)));
        assert!(mailbox.poll_next(&cx).is_pending());
    }

    #[test]
    fn a_call_that_comes_after_the_end_never_reached_the_device() {
        let mailbox = Mailbox::default();
        assert!(mailbox.shut().is_empty());
        let (reply, mut outcome) = oneshot::channel();
        mailbox.invoke(Invocation {
            name: "reboot".parse().unwrap(),
            payload: Bytes::new(),
            reply,
        });
        assert_eq!(outcome.try_recv(), Ok(Err(MethodError::NotOnline)));
    }
}
