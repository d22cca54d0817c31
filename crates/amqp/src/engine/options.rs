use std::time::Duration;

/// Limits and times of a connection. The defaults are those of amqp.md §2.2 and §2.3.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of this container in open.
    pub container_id: String,
    /// Largest frame taken and sent, in bytes.
    pub max_frame_bytes: u32,
    /// Largest frame taken from a peer that is not admitted yet; a token must fit.
    pub max_guest_frame_bytes: u32,
    /// Highest channel number.
    pub channel_max: u16,
    /// Sessions at a time; beyond it the connection closes. Java multiplexes 1001.
    pub max_sessions: usize,
    /// Highest link handle.
    pub handle_max: u32,
    /// Links at a time over all sessions; beyond it attaches are refused, and well beyond it the
    /// connection closes.
    pub max_links: usize,
    /// The same bound for a peer that is not admitted yet.
    pub max_guest_links: usize,
    /// Transfer frames a session takes before a new flow; refilled at half of it.
    pub session_window: u32,
    /// Length of a link's name in bytes; a longer one ends the session.
    pub max_link_name_bytes: usize,
    /// Bytes of sources and targets of attaches that wait for the caller's answer; at it reading
    /// should stop until some are answered.
    pub max_attach_bytes: usize,
    /// Unsettled deliveries to the peer per session; at it nothing more is sent there unsettled.
    pub max_unsettled: usize,
    /// Deliveries per session that are remembered after [`super::Engine::lapse`]; beyond it the
    /// oldest is forgotten, and what the peer still says of it is passed over.
    pub max_lapsed: usize,
    /// Bytes of messages that are still incomplete, over all links; a link that would go beyond it
    /// is detached.
    pub max_reassembly_bytes: usize,
    /// Bytes of output the peer has not taken; at it sends are refused and reading should stop.
    pub max_output_bytes: usize,
    /// Silence the peer may keep, as announced; it is cut after twice that.
    pub idle_time_out: Duration,
    /// Longest time between frames sent to a peer that asked for keep-alive.
    pub max_keep_alive: Duration,
    /// Time from accept to open.
    pub open_timeout: Duration,
    /// Time the answer to close is awaited.
    pub close_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            container_id: "downlink".to_owned(),
            max_frame_bytes: 65_536,
            max_guest_frame_bytes: 8_192,
            channel_max: 8_191,
            max_sessions: 1_100,
            handle_max: 262_143,
            max_links: 8_192,
            max_guest_links: 64,
            session_window: 5_000,
            max_link_name_bytes: 1_024,
            max_attach_bytes: 1_048_576,
            max_unsettled: 5_000,
            max_lapsed: 1_000,
            max_reassembly_bytes: 1_048_576,
            max_output_bytes: 262_144,
            idle_time_out: Duration::from_mins(4),
            max_keep_alive: Duration::from_mins(1),
            open_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// Returns the idle time-out as it stands in open, in milliseconds.
    pub(super) fn idle_time_out_ms(&self) -> u32 {
        u32::try_from(self.idle_time_out.as_millis()).unwrap_or(u32::MAX)
    }
}
