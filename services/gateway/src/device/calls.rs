//! Method calls that the device has been asked and not yet answered.

use downlink_domain::method::{MethodAnswer, MethodError};
use tokio::sync::oneshot;

type Reply = oneshot::Sender<Result<MethodAnswer, MethodError>>;

/// Calls that one device may have open; above it a call is refused.
const MAX_OPEN: usize = 100;

/// Open calls of one connection. Request ids never repeat across connections, so that a late
/// answer cannot reach another caller.
#[derive(Debug)]
pub(super) struct OpenCalls {
    next: u64,
    open: Vec<(u64, Reply)>,
}

impl OpenCalls {
    /// Starts the ids of connection number `connection`.
    pub(super) fn new(connection: u64) -> Self {
        // The low half numbers the calls of the connection, the high half the connection.
        Self {
            next: connection << 32 | 1,
            open: Vec::new(),
        }
    }

    /// Enters a call and returns its request id; refuses it itself when too many are open. A call
    /// whose caller gave up while it waited for the device to read is not made.
    pub(super) fn open(&mut self, reply: Reply) -> Option<u64> {
        if reply.is_closed() {
            return None;
        }
        if self.open.len() >= MAX_OPEN {
            self.open.retain(|(_, reply)| !reply.is_closed());
        }
        if self.open.len() >= MAX_OPEN {
            let _ = reply.send(Err(MethodError::TooManyInFlight));
            return None;
        }
        let rid = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.push((rid, reply));
        Some(rid)
    }

    /// Ends a call; an unknown or expired id is ignored (mqtt.md §10).
    pub(super) fn end(&mut self, rid: u64, outcome: Result<MethodAnswer, MethodError>) {
        if let Some(index) = self.open.iter().position(|(open, _)| *open == rid) {
            let (_, reply) = self.open.swap_remove(index);
            let _ = reply.send(outcome);
        }
    }

    /// Whether a call is open and its caller has not given up.
    pub(super) fn is_awaited(&self, rid: u64) -> bool {
        self.open
            .iter()
            .any(|(open, reply)| *open == rid && !reply.is_closed())
    }

    /// Ends every open call with `error`.
    pub(super) fn end_all(&mut self, error: MethodError) {
        for (_, reply) in self.open.drain(..) {
            let _ = reply.send(Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: i32) -> MethodAnswer {
        MethodAnswer {
            status,
            payload: bytes::Bytes::new(),
        }
    }

    #[test]
    fn an_answer_reaches_its_own_caller_and_a_second_one_nobody() {
        let mut calls = OpenCalls::new(3);
        let (first, mut first_outcome) = oneshot::channel();
        let (second, mut second_outcome) = oneshot::channel();
        let first = calls.open(first).unwrap();
        let second = calls.open(second).unwrap();
        assert!(calls.is_awaited(second));
        calls.end(second, Ok(answer(2)));
        assert!(!calls.is_awaited(second));
        calls.end(second, Ok(answer(3)));
        assert_eq!(second_outcome.try_recv().unwrap(), Ok(answer(2)));
        assert!(first_outcome.try_recv().is_err());
        calls.end(first, Ok(answer(1)));
        assert_eq!(first_outcome.try_recv().unwrap(), Ok(answer(1)));
    }

    #[test]
    fn request_ids_of_two_connections_differ() {
        let (mut old, mut new) = (OpenCalls::new(3), OpenCalls::new(4));
        let (reply, _of_old) = oneshot::channel();
        let (other_reply, _of_new) = oneshot::channel();
        let of_old = old.open(reply).unwrap();
        let of_new = new.open(other_reply).unwrap();
        assert_ne!(of_old, of_new);
    }

    #[test]
    fn calls_whose_callers_gave_up_make_room() {
        let mut calls = OpenCalls::new(1);
        for _ in 0..MAX_OPEN {
            let (reply, outcome) = oneshot::channel();
            let rid = calls.open(reply).unwrap();
            drop(outcome);
            assert!(!calls.is_awaited(rid));
        }
        let (reply, _outcome) = oneshot::channel();
        assert!(calls.open(reply).is_some());
    }

    #[test]
    fn a_call_whose_caller_gave_up_is_not_made() {
        let mut calls = OpenCalls::new(1);
        let (reply, outcome) = oneshot::channel();
        drop(outcome);
        assert_eq!(calls.open(reply), None);
    }

    #[test]
    fn a_call_above_the_bound_is_refused_at_once() {
        let mut calls = OpenCalls::new(1);
        let held: Vec<_> = (0..MAX_OPEN)
            .map(|_| {
                let (reply, outcome) = oneshot::channel();
                calls.open(reply).unwrap();
                outcome
            })
            .collect();
        let (reply, mut outcome) = oneshot::channel();
        assert_eq!(calls.open(reply), None);
        assert_eq!(
            outcome.try_recv().unwrap(),
            Err(MethodError::TooManyInFlight)
        );
        drop(held);
    }
}
