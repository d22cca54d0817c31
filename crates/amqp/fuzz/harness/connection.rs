//! A whole connection: the engine between a client whose bytes are given and a caller that follows
//! a script, both of whom check everything they are told.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use downlink_amqp::engine::Options;

use super::{
    caller::{Caller, Conversation},
    script::Script,
};

/// Turns of the clock after the input has ended, more than any engine needs to give up.
const LAST_TURNS: usize = 8;

/// Reads a fuzz input: the length of the script, the script, then what the client sends.
pub fn connection(data: &[u8]) -> Option<Conversation> {
    let (length, rest) = data.split_first()?;
    let (script, stream) = rest.split_at_checked(usize::from(*length))?;
    let mut script = Script::new(script);
    let step = usize::from(script.take());
    Some(converse(script, stream, step))
}

/// Holds a conversation in which the client waits for the hub after each frame, and sends no more
/// than `step` bytes at a time, unless that is 0.
pub fn converse(script: Script<'_>, stream: &[u8], step: usize) -> Conversation {
    let options = if script.is_empty() {
        Options::default()
    } else {
        tight()
    };
    let mut caller = Caller::new(Arc::new(options), script, Instant::now());
    for piece in pieces(stream, step) {
        caller.receive(piece);
        caller.act();
        caller.write();
        if caller.is_over() {
            break;
        }
    }
    for _ in 0..LAST_TURNS {
        caller.turn_clock();
        caller.write();
    }
    caller.finish()
}

/// Limits so low that inputs of a few hundred bytes reach them.
fn tight() -> Options {
    Options {
        max_frame_bytes: 4_096,
        max_guest_frame_bytes: 2_048,
        channel_max: 7,
        max_sessions: 3,
        handle_max: 15,
        max_links: 6,
        max_guest_links: 3,
        session_window: 8,
        max_link_name_bytes: 64,
        max_attach_bytes: 256,
        max_unsettled: 4,
        max_lapsed: 2,
        max_reassembly_bytes: 2_048,
        max_output_bytes: 4_096,
        idle_time_out: Duration::from_mins(1),
        ..Options::default()
    }
}

/// Cuts a stream into its frames and those into pieces of `step` bytes.
fn pieces(stream: &[u8], step: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    let frames = std::iter::from_fn(move || {
        let length = next_length(rest).clamp(1, rest.len().max(1));
        let (frame, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some(frame)
    });
    frames.flat_map(move |frame| frame.chunks(if step == 0 { frame.len() } else { step }))
}

fn next_length(stream: &[u8]) -> usize {
    match stream.first_chunk::<4>() {
        Some(b"AMQP") => 8,
        Some(size) => u32::from_be_bytes(*size) as usize,
        None => stream.len(),
    }
}
