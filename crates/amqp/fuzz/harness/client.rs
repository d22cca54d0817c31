//! The client's end: reads all that the engine writes, and checks that it may say so now.

use std::collections::BTreeMap;

use bytes::Bytes;
use downlink_amqp::{
    frame::{FrameType, HEADER_BYTES, ProtocolHeader, decode_body, parse_frame},
    performative::{Performative, Role, Transfer},
    sasl::SaslFrame,
};

/// Returns a payload of `length` bytes that shows whether it is whole.
pub(super) fn payload(length: usize) -> Bytes {
    let [mark, ..] = length.to_le_bytes();
    vec![mark; length].into()
}

#[derive(Debug)]
pub struct Client {
    max_frame_bytes: u32,
    phase: Phase,
    unread: Vec<u8>,
    sessions: BTreeMap<u16, Session>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Header,
    Sasl,
    HeaderAfterSasl,
    Opening,
    Open,
    Closed,
}

/// A session by what the hub has said on it.
#[derive(Debug, Default)]
struct Session {
    /// Whether the hub has ended it.
    is_ended: bool,
    /// What the hub is on the handles it has attached, and the names of the links.
    links: BTreeMap<u32, (Role, String)>,
    next_delivery: u32,
    /// The message that is under way: its handle and what has come of it.
    partial: Option<(u32, Vec<u8>)>,
}

impl Client {
    pub fn new(max_frame_bytes: u32) -> Self {
        Self {
            max_frame_bytes,
            phase: Phase::Header,
            unread: Vec::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// Takes bytes of the hub.
    pub fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let used = self.read_all(&unread);
        self.unread = unread[used..].to_vec();
    }

    fn read_all(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let step = match self.phase {
                Phase::Header | Phase::HeaderAfterSasl => self.on_header(rest),
                _ => self.on_frame(rest),
            };
            if step == 0 {
                return used;
            }
            used += step;
        }
    }

    fn on_header(&mut self, bytes: &[u8]) -> usize {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return 0;
        };
        self.phase = match ProtocolHeader::parse(*header).expect("a protocol header") {
            ProtocolHeader::Amqp => Phase::Opening,
            ProtocolHeader::Sasl => Phase::Sasl,
        };
        HEADER_BYTES
    }

    fn on_frame(&mut self, bytes: &[u8]) -> usize {
        let Some(frame) = parse_frame(bytes, self.max_frame_bytes).expect("a frame") else {
            return 0;
        };
        match frame.frame_type {
            FrameType::Sasl => self.on_sasl(&SaslFrame::decode(frame.body).expect("SASL")),
            FrameType::Amqp => {
                let body = decode_body(frame.body).expect("a performative");
                if let Some((performative, payload)) = body {
                    self.on_performative(frame.channel, &performative, payload);
                }
            }
        }
        frame.size
    }

    fn on_sasl(&mut self, frame: &SaslFrame) {
        assert_eq!(self.phase, Phase::Sasl);
        match frame {
            SaslFrame::Mechanisms(mechanisms) => assert!(!mechanisms.is_empty()),
            SaslFrame::Outcome { code: 0, .. } => self.phase = Phase::HeaderAfterSasl,
            SaslFrame::Outcome { .. } => self.phase = Phase::Closed,
            SaslFrame::Init { .. } => panic!("a client's frame"),
        }
    }

    fn on_performative(&mut self, channel: u16, performative: &Performative, payload: &[u8]) {
        match (self.phase, performative) {
            (Phase::Opening, Performative::Open(open)) => {
                assert_eq!(open.max_frame_size, self.max_frame_bytes);
                self.phase = Phase::Open;
            }
            (Phase::Open, Performative::Close(_)) => self.phase = Phase::Closed,
            (Phase::Open, Performative::Begin(begin)) => {
                assert_eq!(begin.remote_channel, Some(channel));
                let earlier = self.sessions.insert(channel, Session::default());
                assert!(earlier.is_none_or(|session| session.is_ended));
            }
            (Phase::Open, performative) => {
                let session = self.sessions.get_mut(&channel).expect("a session");
                assert!(!session.is_ended, "{performative:?} after end");
                session.on_performative(performative, payload);
            }
            _ => panic!("{performative:?} in {:?}", self.phase),
        }
    }
}

impl Session {
    fn on_performative(&mut self, performative: &Performative, payload: &[u8]) {
        match performative {
            Performative::Attach(attach) => {
                if attach.role == Role::Sender {
                    assert_eq!(attach.initial_delivery_count, Some(0));
                }
                let name = attach.name.clone();
                let earlier = self.links.insert(attach.handle, (attach.role, name));
                // A client that lost count may attach a link again where it is.
                assert!(
                    earlier.is_none_or(|earlier| earlier == (attach.role, attach.name.clone()))
                );
                self.partial.take_if(|(handle, _)| *handle == attach.handle);
            }
            Performative::Flow(flow) => {
                assert!(flow.next_incoming_id.is_some());
                if let Some(handle) = flow.handle {
                    assert!(self.links.contains_key(&handle));
                    assert!(flow.delivery_count.is_some() && flow.link_credit.is_some());
                }
            }
            Performative::Transfer(transfer) => self.on_transfer(transfer, payload),
            Performative::Disposition(disposition) => {
                assert!(disposition.settled && disposition.state.is_some());
            }
            Performative::Detach(detach) => {
                let role = self.links.remove(&detach.handle);
                assert!(role.is_some(), "detached what is not attached");
                self.partial.take_if(|(handle, _)| *handle == detach.handle);
            }
            Performative::End(_) => self.is_ended = true,
            Performative::Open(_) | Performative::Begin(_) | Performative::Close(_) => {
                panic!("{performative:?} in a session");
            }
        }
    }

    fn on_transfer(&mut self, transfer: &Transfer, part: &[u8]) {
        let role = self.links.get(&transfer.handle).map(|(role, _)| *role);
        assert_eq!(role, Some(Role::Sender));
        let mut bytes = match self.partial.take() {
            None => {
                assert_eq!(transfer.delivery_id, Some(self.next_delivery));
                assert!(transfer.delivery_tag.is_some());
                assert_eq!(transfer.message_format, Some(0));
                self.next_delivery += 1;
                Vec::new()
            }
            Some((handle, bytes)) => {
                assert_eq!((transfer.handle, transfer.delivery_id), (handle, None));
                assert!(!part.is_empty(), "a frame that carries nothing on");
                bytes
            }
        };
        bytes.extend_from_slice(part);
        if transfer.more {
            self.partial = Some((transfer.handle, bytes));
        } else {
            let is_reply = bytes.starts_with(&[0x00, 0x53]);
            let is_whole = bytes == payload(bytes.len());
            assert!(is_reply || is_whole, "a message is spoilt");
        }
    }
}
