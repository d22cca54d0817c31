//! The closed sets of labels of the AMQP door.

/// What a link is for, as metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLabel {
    /// Tokens come in.
    TokenRequests,
    /// Answers to tokens go out.
    TokenReplies,
    /// Messages for devices come in.
    Commands,
    /// Reports on messages go out.
    Feedback,
    /// Notifications of uploaded files would go out.
    FileNotifications,
    /// Telemetry comes in.
    Telemetry,
    /// Messages go out to a device.
    Messages,
    /// Method calls go out to a device.
    MethodCalls,
    /// Answers to method calls come in.
    MethodAnswers,
    /// Twin requests come in.
    TwinRequests,
    /// Twin replies and changes go out.
    TwinReplies,
    /// Messages for inputs of a module would go out.
    ModuleInputs,
}

impl LinkLabel {
    pub(super) const ALL: [Self; 12] = [
        Self::TokenRequests,
        Self::TokenReplies,
        Self::Commands,
        Self::Feedback,
        Self::FileNotifications,
        Self::Telemetry,
        Self::Messages,
        Self::MethodCalls,
        Self::MethodAnswers,
        Self::TwinRequests,
        Self::TwinReplies,
        Self::ModuleInputs,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::TokenRequests => "token_requests",
            Self::TokenReplies => "token_replies",
            Self::Commands => "commands",
            Self::Feedback => "feedback",
            Self::FileNotifications => "file_notifications",
            Self::Telemetry => "telemetry",
            Self::Messages => "messages",
            Self::MethodCalls => "method_calls",
            Self::MethodAnswers => "method_answers",
            Self::TwinRequests => "twin_requests",
            Self::TwinReplies => "twin_replies",
            Self::ModuleInputs => "module_inputs",
        }
    }

    /// Whether its messages come in or go out; on each kind they do one of the two.
    pub(super) const fn direction(self) -> &'static str {
        match self {
            Self::TokenRequests
            | Self::Commands
            | Self::Telemetry
            | Self::MethodAnswers
            | Self::TwinRequests => "in",
            Self::TokenReplies
            | Self::Feedback
            | Self::FileNotifications
            | Self::Messages
            | Self::MethodCalls
            | Self::TwinReplies
            | Self::ModuleInputs => "out",
        }
    }
}

/// Why a link was refused or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// Without an error.
    Closed,
    /// The token does not allow it, or no longer.
    Unauthorized,
    /// There is nothing at its address.
    NotFound,
    /// It asks for what the hub does not do.
    NotAllowed,
    /// A newer one took its place.
    Stolen,
    /// A limit was reached.
    Limit,
    /// A service could not be reached, or the gateway goes away.
    Unavailable,
    /// Another condition.
    Other,
}

impl LinkEnd {
    pub(super) const ALL: [Self; 8] = [
        Self::Closed,
        Self::Unauthorized,
        Self::NotFound,
        Self::NotAllowed,
        Self::Stolen,
        Self::Limit,
        Self::Unavailable,
        Self::Other,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::NotAllowed => "not_allowed",
            Self::Stolen => "stolen",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
            Self::Other => "other",
        }
    }

    /// The class of an AMQP condition; `None` is the end without an error.
    pub fn of(condition: Option<&str>) -> Self {
        match condition {
            None => Self::Closed,
            Some("amqp:unauthorized-access") => Self::Unauthorized,
            Some("amqp:not-found") => Self::NotFound,
            Some("amqp:not-allowed" | "amqp:not-implemented") => Self::NotAllowed,
            Some("amqp:link:stolen" | "com.microsoft:link-creation-conflict") => Self::Stolen,
            Some(
                "amqp:resource-limit-exceeded"
                | "amqp:link:message-size-exceeded"
                | "amqp:link:transfer-limit-exceeded"
                | "com.microsoft:device-container-throttled",
            ) => Self::Limit,
            Some(
                "com.microsoft:timeout" | "amqp:link:detach-forced" | "amqp:connection:forced",
            ) => Self::Unavailable,
            Some(_) => Self::Other,
        }
    }
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The client closed it.
    Closed,
    /// The hub closed it: a token ended, or the gateway goes away.
    Refused,
    /// The client broke the protocol.
    Violation,
    /// SASL failed.
    Unauthorized,
    /// The client was silent for too long, or too slow to open.
    TimedOut,
    /// The client did not read what it caused.
    Unread,
    /// The socket broke.
    Lost,
}

impl ConnectionEnd {
    pub(super) const ALL: [Self; 7] = [
        Self::Closed,
        Self::Refused,
        Self::Violation,
        Self::Unauthorized,
        Self::TimedOut,
        Self::Unread,
        Self::Lost,
    ];

    /// The label, and the word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Violation => "violation",
            Self::Unauthorized => "unauthorized",
            Self::TimedOut => "timed_out",
            Self::Unread => "unread",
            Self::Lost => "lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_the_place_their_counters_have() {
        for (index, link) in LinkLabel::ALL.into_iter().enumerate() {
            assert_eq!(link as usize, index);
        }
        for (index, cause) in LinkEnd::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
        for (index, cause) in ConnectionEnd::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }
}
