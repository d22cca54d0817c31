//! The closed catalogue of error codes (errors-limits.md §3): from a cause to what each door says.
//!
//! One row of the table is one cause. A door never decides by itself what a cause looks like: it asks
//! the row, and its match over [`AmqpCondition`], [`GrpcStatus`] or [`Connack`] is exhaustive, so that
//! a new cause reaches every door or does not compile.
//!
//! What no row can hold is the shape of an HTTP body: it belongs to the endpoint (errors-limits.md §1),
//! but for [`ErrorCode::is_flat`].

mod answers;
#[macro_use]
mod rows;
mod table;

pub use answers::{AmqpCondition, Connack, GrpcStatus, Retry};
pub use table::ErrorCode;

impl ErrorCode {
    /// The code with this number, `None` when it is not in the catalogue.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.number() == number)
    }

    /// The code with this name (the header `iothub-errorcode`), `None` when it is not in the
    /// catalogue.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// The HTTP status, with which the number begins; twin answers over MQTT and AMQP carry it too
    /// (mqtt.md §11.3).
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the first three of six digits"
    )]
    pub const fn http_status(self) -> u16 {
        (self.number() / 1000) as u16
    }

    /// Tells whether the same request may succeed when it is made again.
    pub const fn is_retryable(self) -> bool {
        matches!(self.retry(), Retry::Later)
    }

    /// What CONNECT is answered with. Each SDK comes again after one answer and gives up after the
    /// other, so it follows from [`retry`](Self::retry) (mqtt.md §3).
    pub const fn connack(self) -> Connack {
        match self.retry() {
            Retry::Later => Connack::ServerUnavailable,
            Retry::Never => Connack::NotAuthorized,
        }
    }

    /// Whether the body is flat (shape B) whatever the endpoint: a module that exists already.
    pub const fn is_flat(self) -> bool {
        matches!(self, Self::ModuleAlreadyExistsOnDevice)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_lead_back_to_their_code() {
        let mut numbers = HashSet::new();
        let mut names = HashSet::new();
        for code in ErrorCode::ALL {
            assert!(numbers.insert(code.number()), "{code:?}");
            assert!(names.insert(code.name()), "{code:?}");
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
            assert_eq!(ErrorCode::from_name(code.name()), Some(*code));
        }
        assert_eq!(ErrorCode::from_number(200_000), None);
        assert_eq!(ErrorCode::from_name("Nothing"), None);
    }

    #[test]
    fn a_code_begins_with_a_status_of_a_failure() {
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&code.http_status()), "{code:?}");
            let begin = code.number() / 1000;
            assert_eq!(u32::from(code.http_status()), begin, "{code:?}");
        }
    }

    #[test]
    fn doors_agree_on_what_may_be_tried_again() {
        for code in ErrorCode::ALL {
            // Client libraries make a call again by themselves on this status alone.
            if code.grpc() == GrpcStatus::Unavailable {
                assert!(code.is_retryable(), "{code:?}");
            }
            // After these conditions the SDKs come again.
            if matches!(
                code.amqp(),
                AmqpCondition::Timeout
                    | AmqpCondition::DetachForced
                    | AmqpCondition::DeviceContainerThrottled
            ) {
                assert!(code.is_retryable(), "{code:?}");
            }
            let comes_again = code.connack() == Connack::ServerUnavailable;
            assert_eq!(comes_again, code.is_retryable(), "{code:?}");
            if matches!(code.http_status(), 429 | 503 | 504) {
                assert!(code.is_retryable(), "{code:?}");
            }
        }
    }

    #[test]
    fn conditions_have_the_names_that_the_sdks_translate() {
        for code in ErrorCode::ALL {
            let name = code.amqp().as_str();
            assert!(
                name.starts_with("amqp:") || name.starts_with("com.microsoft:"),
                "{code:?}"
            );
        }
    }
}
