//! What a connection holds of its peer's messages.

/// Bytes of messages on their way to the services; beyond it nothing is read from the socket.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Messages that were taken and have no answer yet, and about the memory they take.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: usize,
    bytes: usize,
}

impl Held {
    pub(super) fn add(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_add(messages);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn remove(&mut self, messages: usize, bytes: usize) {
        debug_assert!(self.messages >= messages && self.bytes >= bytes, "{self:?}");
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Forgets everything that a part of the connection holds.
    pub(super) fn remove_all(&mut self, part: &Self) {
        self.remove(part.messages, part.bytes);
    }

    /// Whether more may be taken; one message may go over the bound.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < MAX_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }
}
