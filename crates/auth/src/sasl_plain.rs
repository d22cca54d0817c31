//! User names of SASL PLAIN on AMQP; the password is a SAS token (auth.md §4).

/// Who a PLAIN user name claims to be.
///
/// `hub` is the first label of the hub's host name, as the forms have it; see [`PlainUser::is_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainUser<'a> {
    /// `{policy}@sas.root.{hub}`
    Policy {
        /// The policy's name.
        policy: &'a str,
        /// The hub's name.
        hub: &'a str,
    },
    /// `{deviceId}@sas.{hub}`
    Device {
        /// The device's id.
        device_id: &'a str,
        /// The hub's name.
        hub: &'a str,
    },
}

/// A device id of 128 characters, the mark, and the longest host name.
const MAX_USER_NAME_BYTES: usize = 128 + "@sas.root.".len() + 253;

impl<'a> PlainUser<'a> {
    /// Parses a user name; `None` if it has neither form or is longer than either can be.
    ///
    /// Device ids may hold `@` and `.`, hub names may not: the last mark in the name counts.
    pub fn parse(user_name: &'a str) -> Option<Self> {
        if user_name.len() > MAX_USER_NAME_BYTES {
            return None;
        }
        let (name, place) = user_name.rsplit_once("@sas.")?;
        if name.is_empty() || place.is_empty() {
            return None;
        }
        match place.strip_prefix("root.") {
            Some("") => None,
            Some(hub) => Some(Self::Policy { policy: name, hub }),
            None => Some(Self::Device {
                device_id: name,
                hub: place,
            }),
        }
    }

    /// Tells whether the user name names the hub of this host, by its first label or in full, without case.
    pub fn is_at(&self, host_name: &str) -> bool {
        let (Self::Policy { hub, .. } | Self::Device { hub, .. }) = self;
        let first_label = host_name.split('.').next().unwrap_or(host_name);
        hub.eq_ignore_ascii_case(first_label) || hub.eq_ignore_ascii_case(host_name)
    }
}

#[cfg(test)]
mod tests {
    use super::PlainUser::{self, Device, Policy};

    #[test]
    fn both_forms_are_told_apart() {
        for (text, user) in [
            (
                "service@sas.root.hub1",
                Policy {
                    policy: "service",
                    hub: "hub1",
                },
            ),
            (
                "dev-1@sas.hub1",
                Device {
                    device_id: "dev-1",
                    hub: "hub1",
                },
            ),
            (
                "a@sas.root.b@sas.hub1",
                Device {
                    device_id: "a@sas.root.b",
                    hub: "hub1",
                },
            ),
            (
                "dev@sas.root",
                Device {
                    device_id: "dev",
                    hub: "root",
                },
            ),
            (
                "p@sas.root.hub1.example.net",
                Policy {
                    policy: "p",
                    hub: "hub1.example.net",
                },
            ),
        ] {
            assert_eq!(PlainUser::parse(text), Some(user), "{text}");
        }
    }

    #[test]
    fn other_names_are_no_users() {
        let long = format!("{}@sas.hub1", "a".repeat(1_000));
        for text in [
            "",
            "service",
            "@sas.hub1",
            "dev@sas.",
            "p@sas.root.",
            "dev@SAS.hub1",
            &long,
        ] {
            assert_eq!(PlainUser::parse(text), None, "{text}");
        }
    }

    #[test]
    fn hub_is_compared_by_first_label_or_whole_name() {
        let user = PlainUser::parse("service@sas.root.Hub1").unwrap();
        assert!(user.is_at("hub1.example.net"));
        assert!(user.is_at("HUB1"));
        assert!(!user.is_at("hub2.example.net"));
        assert!(!user.is_at("hub10.example.net"));
        assert!(
            PlainUser::parse("d@sas.hub1.example.net")
                .unwrap()
                .is_at("hub1.example.net")
        );
    }
}
