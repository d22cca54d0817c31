//! What callers may do: the actions of the contract, and what one call aims at (auth.md §6.3, §6.4).
//!
//! Permissions of policies and claims of bearer tokens are both turned into [`Actions`], so that
//! there is one check for every door.

use crate::id::DeviceId;
use crate::method::MethodName;

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        /// One thing that a caller asks to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Full name, as it stands in the mapping of claims. Two kinds of statistics share one.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            const fn bit(self) -> u32 {
                match self { $(Self::$name => 1 << $bit,)* }
            }
        }
    };
}

actions! {
    /// Read identities of devices and modules.
    DevicesRead = 0, "Microsoft.Devices/IotHubs/devices/read";
    /// Create and replace identities.
    DevicesWrite = 1, "Microsoft.Devices/IotHubs/devices/write";
    /// Delete identities.
    DevicesDelete = 2, "Microsoft.Devices/IotHubs/devices/delete";
    /// Count identities.
    RegistryStatisticsRead = 3, "Microsoft.Devices/IotHubs/statistics/read";
    /// Count connections.
    ServiceStatisticsRead = 4, "Microsoft.Devices/IotHubs/statistics/read";
    /// Read twins, and query them.
    TwinsRead = 5, "Microsoft.Devices/IotHubs/twins/read";
    /// Patch and replace twins.
    TwinsWrite = 6, "Microsoft.Devices/IotHubs/twins/write";
    /// Call direct methods.
    InvokeMethod = 7, "Microsoft.Devices/IotHubs/directMethods/invoke/action";
    /// Send cloud-to-device messages.
    SendMessage = 8, "Microsoft.Devices/IotHubs/cloudToDeviceMessages/send/action";
    /// Receive feedback and settle it.
    ReceiveFeedback = 9, "Microsoft.Devices/IotHubs/cloudToDeviceMessages/feedback/action";
    /// Empty the queue of a device.
    PurgeQueue = 10, "Microsoft.Devices/IotHubs/cloudToDeviceMessages/queue/purge/action";
    /// Receive notifications of file uploads.
    FileNotifications = 11, "Microsoft.Devices/IotHubs/fileUpload/notifications/action";
    /// Read jobs.
    JobsRead = 12, "Microsoft.Devices/IotHubs/jobs/read";
    /// Create jobs.
    JobsWrite = 13, "Microsoft.Devices/IotHubs/jobs/write";
    /// Cancel jobs.
    JobsDelete = 14, "Microsoft.Devices/IotHubs/jobs/delete";
    /// Read configurations.
    ConfigurationsRead = 15, "Microsoft.Devices/IotHubs/configurations/read";
    /// Create and replace configurations.
    ConfigurationsWrite = 16, "Microsoft.Devices/IotHubs/configurations/write";
    /// Delete configurations.
    ConfigurationsDelete = 17, "Microsoft.Devices/IotHubs/configurations/delete";
    /// Speak for a device: telemetry, its messages, its twin, its methods. No bearer token does.
    ActAsDevice = 18, "Downlink/devices/connect/action";
    /// Read policies (with their keys) and certificate authorities.
    AdministrationRead = 19, "Downlink/administration/read";
    /// Write policies and certificate authorities.
    AdministrationWrite = 20, "Downlink/administration/write";
}

/// A set of actions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Actions(u32);

impl Actions {
    /// No action.
    pub const NONE: Self = Self(0);

    /// Makes the set of the given actions.
    pub fn of(actions: &[Action]) -> Self {
        Self(actions.iter().fold(0, |bits, action| bits | action.bit()))
    }

    /// Makes the set that `pattern` names: an action's full name, compared without case, in which
    /// `*` stands for any text. [`Action::ActAsDevice`] is never among them: devices prove
    /// themselves by keys and certificates alone (auth.md §6).
    pub fn matching(pattern: &str) -> Self {
        let named = Action::ALL
            .iter()
            .filter(|action| is_match(pattern.as_bytes(), action.name().as_bytes()));
        let bits = named.fold(0, |bits, action| bits | action.bit());
        Self(bits & !Action::ActAsDevice.bit())
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets hold.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Tells whether the set holds `action`.
    pub const fn contains(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }

    /// Tells whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Debug for Actions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = Action::ALL.iter().filter(|action| self.contains(**action));
        f.debug_set().entries(held).finish()
    }
}

/// What one call asks for, as far as rights depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// What is to be done.
    pub action: Action,
    /// The one device that it is done to, also through a module of it; `None` for what concerns
    /// the hub or many devices.
    pub device: Option<&'a DeviceId>,
    /// The method that is called.
    pub method: Option<&'a MethodName>,
}

impl<'a> Access<'a> {
    /// Something that concerns the hub as a whole.
    pub const fn to_hub(action: Action) -> Self {
        Self {
            action,
            device: None,
            method: None,
        }
    }

    /// Something that concerns one device.
    pub const fn to_device(action: Action, device: &'a DeviceId) -> Self {
        Self {
            action,
            device: Some(device),
            method: None,
        }
    }
}

/// Whoever changes something, as audit events tell it. No part of it is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Whose credential: `policy iothubowner`, `subject 7f3a of https://issuer.example`,
    /// `device boiler-7`, `operator`; at most 512 bytes.
    pub credential: String,
    /// Address of the peer, `203.0.113.7:50123`; empty when there was none; at most 64 bytes.
    pub address: String,
    /// The door it came through: `https`, `grpc`, `amqp`, `mqtt`, `start`; at most 16 bytes.
    pub door: String,
}

impl Actor {
    /// The process itself at its start, for what it creates by configuration.
    pub fn operator() -> Self {
        Self {
            credential: "operator".to_owned(),
            address: String::new(),
            door: "start".to_owned(),
        }
    }
}

/// Compares without case; `*` in `pattern` stands for any text. Linear in the product of lengths.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
        } else if pattern
            .get(p)
            .is_some_and(|byte| byte.eq_ignore_ascii_case(&text[t]))
        {
            p += 1;
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            p = star + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_actions_with_stars() {
        let twins = Actions::matching("Microsoft.Devices/IotHubs/twins/*");
        assert_eq!(twins, Actions::of(&[Action::TwinsRead, Action::TwinsWrite]));
        let reads = Actions::matching("microsoft.devices/iothubs/*/read");
        assert!(reads.contains(Action::JobsRead) && reads.contains(Action::ServiceStatisticsRead));
        assert!(!reads.contains(Action::TwinsWrite) && !reads.contains(Action::AdministrationRead));
        assert!(Actions::matching("Microsoft.Devices/IotHubs/twins").is_empty());
        assert!(Actions::matching("").is_empty());
    }

    #[test]
    fn no_pattern_lets_a_bearer_speak_for_a_device_and_hub_data_is_not_administration() {
        assert!(!Actions::matching("*").contains(Action::ActAsDevice));
        assert!(Actions::matching("*").contains(Action::AdministrationWrite));
        let data = Actions::matching("Microsoft.Devices/IotHubs/*");
        assert!(!data.contains(Action::AdministrationRead));
        assert!(data.contains(Action::SendMessage));
    }

    #[test]
    fn every_action_has_a_bit_of_its_own() {
        let all = Actions::of(Action::ALL);
        for action in Action::ALL {
            let others: Vec<Action> = Action::ALL
                .iter()
                .copied()
                .filter(|other| other != action)
                .collect();
            assert!(all.contains(*action) && !Actions::of(&others).contains(*action));
        }
    }
}
