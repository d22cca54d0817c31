//! What a connection holds of its peer's messages.

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

    /// Whether more may be taken, within `limit` bytes; one message may go over it. Without room
    /// nothing is read from the socket.
    pub(super) fn has_room(&self, limit: usize) -> bool {
        self.bytes < limit
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }
}
