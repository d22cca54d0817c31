//! Frames of a client, read off one after another (RFC 6455 §5), without a socket and without a buffer.
//!
//! What a frame carries belongs to a stream of bytes: where frames and messages begin and end means nothing to the
//! protocol inside them. So payload is handed on as it comes, in place, and a frame may be of any size within
//! [`MAX_FRAME_BYTES`] without anything being kept for it.

use std::mem;

/// A frame that announces more than this is refused: many times the largest thing a door reads at once.
pub(super) const MAX_FRAME_BYTES: u64 = 16 * 1024 * 1024;
/// Most bytes a control frame may carry (RFC 6455 §5.5).
pub(super) const MAX_CONTROL_BYTES: usize = 125;
/// Bytes of the longest head a client sends, its mask included.
const MAX_HEAD_BYTES: usize = 14;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The meaning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    /// Goes on with the message before.
    Continuation = 0,
    /// UTF-8, which neither protocol is.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end, from one side.
    Close = 8,
    /// Asks for a [`Self::Pong`].
    Ping = 9,
    /// Answers a [`Self::Ping`].
    Pong = 10,
}

impl Opcode {
    fn of(first: u8) -> Option<Self> {
        Some(match first & 0x0F {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// Why a client's frames are not taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// An extension was used that was not agreed on, or an opcode that has no meaning.
    #[error("a frame has reserved bits or a reserved opcode")]
    Reserved,
    /// A client's frames are masked (RFC 6455 §5.1).
    #[error("a frame is not masked")]
    NotMasked,
    /// A control frame is in pieces or too long (RFC 6455 §5.5).
    #[error("a control frame is fragmented or too long")]
    BadControl,
    /// A continuation without a beginning, or a beginning within a message (RFC 6455 §5.4).
    #[error("a message is in pieces that do not fit")]
    BadFragment,
    /// The reason for the end cannot be read (RFC 6455 §7.4).
    #[error("the close frame has no valid code")]
    BadClose,
    /// A text message.
    #[error("a text message came where bytes belong")]
    Text,
    /// The announced length is beyond [`MAX_FRAME_BYTES`].
    #[error("a frame announces too many bytes")]
    TooLarge,
}

impl Violation {
    /// The close code that says so (RFC 6455 §7.4.1).
    pub(super) fn close_code(self) -> u16 {
        match self {
            Self::Reserved
            | Self::NotMasked
            | Self::BadControl
            | Self::BadFragment
            | Self::BadClose => 1002,
            Self::Text => 1003,
            Self::TooLarge => 1009,
        }
    }
}

/// What may still come from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Frames.
    Open,
    /// Nothing: it sent its Close, with this code.
    Closed(Option<u16>),
    /// Nothing that is looked at.
    Failed(Violation),
}

/// What a control frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ControlPayload {
    bytes: [u8; MAX_CONTROL_BYTES],
    len: usize,
}

impl ControlPayload {
    /// The code of a Close, or nothing.
    pub(super) fn of_close(code: Option<u16>) -> Self {
        let mut payload = Self::new();
        for byte in code.into_iter().flat_map(u16::to_be_bytes) {
            payload.push(byte);
        }
        payload
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn new() -> Self {
        Self {
            bytes: [0; MAX_CONTROL_BYTES],
            len: 0,
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn close_code(&self) -> Result<Option<u16>, Violation> {
        let code = match *self.as_bytes() {
            [] => return Ok(None),
            [_] => return Err(Violation::BadClose),
            [high, low, ..] => u16::from_be_bytes([high, low]),
        };
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Some(code)),
            _ => Err(Violation::BadClose),
        }
    }
}

/// A client's mask, turned so that its first byte is for the next byte.
type Mask = [u8; 4];

/// Where in a frame the stream stands.
#[derive(Debug)]
enum Stage {
    Head {
        bytes: [u8; MAX_HEAD_BYTES],
        len: usize,
    },
    Payload {
        left: u64,
        mask: Mask,
    },
    Control(Box<Control>),
    Ended(Standing),
}

impl Stage {
    const START: Self = Self::Head {
        bytes: [0; MAX_HEAD_BYTES],
        len: 0,
    };
}

/// A control frame on its way in.
#[derive(Debug)]
struct Control {
    opcode: Opcode,
    left: usize,
    mask: Mask,
    payload: ControlPayload,
}

/// Takes a client's frames apart, whatever the pieces they come in.
#[derive(Debug)]
pub(super) struct Decoder {
    stage: Stage,
    /// The last data frame was not the end of its message.
    is_in_message: bool,
    ping: Option<Box<ControlPayload>>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::START,
            is_in_message: false,
            ping: None,
        }
    }

    /// Reads `chunk`, which follows what was read before, and leaves the payload in it at its front. Answers how many
    /// bytes that is. What follows a Close or a violation is not looked at.
    pub(super) fn decode(&mut self, chunk: &mut [u8]) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < chunk.len() {
            match &mut self.stage {
                Stage::Head { bytes, len } => {
                    bytes[*len] = chunk[at];
                    *len += 1;
                    at += 1;
                    self.on_head();
                }
                Stage::Payload { left, mask } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX);
                    let here = here.min(chunk.len() - at);
                    unmask(&mut chunk[at..at + here], mask);
                    if at != kept {
                        chunk.copy_within(at..at + here, kept);
                    }
                    at += here;
                    kept += here;
                    *left -= here as u64;
                    if *left == 0 {
                        self.stage = Stage::START;
                    }
                }
                Stage::Control(control) => {
                    let here = control.left.min(chunk.len() - at);
                    unmask(&mut chunk[at..at + here], &mut control.mask);
                    for byte in &chunk[at..at + here] {
                        control.payload.push(*byte);
                    }
                    at += here;
                    control.left -= here;
                    self.on_control();
                }
                Stage::Ended(_) => break,
            }
        }
        kept
    }

    /// What may still come.
    pub(super) fn standing(&self) -> Standing {
        match self.stage {
            Stage::Ended(standing) => standing,
            _ => Standing::Open,
        }
    }

    /// Whether nothing of a frame or of a message is missing.
    pub(super) fn is_between_messages(&self) -> bool {
        !self.is_in_message && matches!(self.stage, Stage::Head { len: 0, .. })
    }

    /// The last ping that was not answered.
    pub(super) fn take_ping(&mut self) -> Option<Box<ControlPayload>> {
        self.ping.take()
    }

    fn on_head(&mut self) {
        let Stage::Head { bytes, len } = &self.stage else {
            return;
        };
        let (bytes, len) = (*bytes, *len);
        // Nothing more is waited for once the first two bytes are wrong.
        let checked = if len == 2 {
            self.check(bytes[0], bytes[1])
        } else {
            Ok(())
        };
        let stage = checked.and_then(|()| match announced(&bytes[..len]) {
            None => Ok(None),
            Some((payload, _)) if payload > MAX_FRAME_BYTES => Err(Violation::TooLarge),
            Some((payload, mask)) => Ok(Some(self.begin(bytes[0], payload, mask))),
        });
        match stage {
            Ok(None) => {}
            Ok(Some(stage)) => {
                self.stage = stage;
                self.on_control();
            }
            Err(violation) => self.stage = Stage::Ended(Standing::Failed(violation)),
        }
    }

    fn check(&self, first: u8, second: u8) -> Result<(), Violation> {
        if first & RESERVED != 0 {
            return Err(Violation::Reserved);
        }
        let opcode = Opcode::of(first).ok_or(Violation::Reserved)?;
        if second & MASKED == 0 {
            return Err(Violation::NotMasked);
        }
        let is_long = usize::from(second & !MASKED) > MAX_CONTROL_BYTES;
        match opcode {
            Opcode::Text => Err(Violation::Text),
            Opcode::Continuation if !self.is_in_message => Err(Violation::BadFragment),
            Opcode::Binary if self.is_in_message => Err(Violation::BadFragment),
            Opcode::Close | Opcode::Ping | Opcode::Pong if first & FINAL == 0 || is_long => {
                Err(Violation::BadControl)
            }
            _ => Ok(()),
        }
    }

    /// The stage behind a head that passed its checks.
    fn begin(&mut self, first: u8, payload: u64, mask: Mask) -> Stage {
        let opcode = Opcode::of(first).unwrap_or(Opcode::Binary);
        if opcode.is_control() {
            return Stage::Control(Box::new(Control {
                opcode,
                left: usize::try_from(payload).unwrap_or(MAX_CONTROL_BYTES),
                mask,
                payload: ControlPayload::new(),
            }));
        }
        self.is_in_message = first & FINAL == 0;
        match payload {
            0 => Stage::START,
            left => Stage::Payload { left, mask },
        }
    }

    /// Ends a control frame that is complete.
    fn on_control(&mut self) {
        if !matches!(&self.stage, Stage::Control(control) if control.left == 0) {
            return;
        }
        let Stage::Control(control) = mem::replace(&mut self.stage, Stage::START) else {
            return;
        };
        match control.opcode {
            Opcode::Ping => self.ping = Some(Box::new(control.payload)),
            Opcode::Close => {
                self.stage = Stage::Ended(match control.payload.close_code() {
                    Ok(code) => Standing::Closed(code),
                    Err(violation) => Standing::Failed(violation),
                });
            }
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
    }
}

/// Length and mask, once the head is complete.
fn announced(head: &[u8]) -> Option<(u64, Mask)> {
    let ([_, second], rest) = head.split_first_chunk()?;
    let (payload, mask) = match second & !MASKED {
        126 => {
            let (length, mask) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*length).into(), mask)
        }
        127 => {
            let (length, mask) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length), mask)
        }
        short => (short.into(), rest),
    };
    Some((payload, mask.try_into().ok()?))
}

fn unmask(bytes: &mut [u8], mask: &mut Mask) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    let key = u32::from_ne_bytes(*mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(*mask) {
        *byte ^= key;
    }
    mask.rotate_left(rest.len());
}

/// The head of a frame of the hub, which is final and not masked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    bytes: [u8; 4],
    start: u8,
    end: u8,
}

impl Head {
    /// A head of which nothing is left.
    pub(super) const NONE: Self = Self {
        bytes: [0; 4],
        start: 0,
        end: 0,
    };

    pub(super) fn new(opcode: Opcode, payload: u16) -> Self {
        let first = FINAL | opcode as u8;
        let [high, low] = payload.to_be_bytes();
        match payload {
            ..126 => Self {
                bytes: [first, low, 0, 0],
                start: 0,
                end: 2,
            },
            _ => Self {
                bytes: [first, 126, high, low],
                start: 0,
                end: 4,
            },
        }
    }

    /// What has not been written.
    pub(super) fn left(&self) -> &[u8] {
        let left = usize::from(self.start)..usize::from(self.end);
        self.bytes.get(left).unwrap_or_default()
    }

    /// Whether nothing has been written.
    pub(super) fn is_whole(self) -> bool {
        self.start == 0 && self.end > 0
    }

    /// Takes note of `written` bytes; answers how many of them are none of the head's.
    pub(super) fn advance(&mut self, written: usize) -> usize {
        let here = written.min(self.left().len());
        self.start = self
            .start
            .saturating_add(u8::try_from(here).unwrap_or(u8::MAX));
        written - here
    }
}

#[cfg(test)]
mod tests;
