//! The instruments of the service.

use downlink_ports::PeerError;
use downlink_runtime::telemetry::{HotCounter, InstrumentSpec, hot_counters};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// What is done to a twin, an identity, a policy or a certificate authority.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    ServiceRead,
    ServiceUpdate,
    DeviceRead,
    DeviceUpdate,
    MissedChanges,
    IdentityWrite,
    IdentityDelete,
    BulkItem,
    PolicyWrite,
    PolicyDelete,
    AuthorityWrite,
    AuthorityDelete,
}

impl Operation {
    const ALL: [Self; 12] = [
        Self::ServiceRead,
        Self::ServiceUpdate,
        Self::DeviceRead,
        Self::DeviceUpdate,
        Self::MissedChanges,
        Self::IdentityWrite,
        Self::IdentityDelete,
        Self::BulkItem,
        Self::PolicyWrite,
        Self::PolicyDelete,
        Self::AuthorityWrite,
        Self::AuthorityDelete,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::ServiceRead => "service_read",
            Self::ServiceUpdate => "service_update",
            Self::DeviceRead => "device_read",
            Self::DeviceUpdate => "device_update",
            Self::MissedChanges => "missed_changes",
            Self::IdentityWrite => "identity_write",
            Self::IdentityDelete => "identity_delete",
            Self::BulkItem => "bulk_item",
            Self::PolicyWrite => "policy_write",
            Self::PolicyDelete => "policy_delete",
            Self::AuthorityWrite => "authority_write",
            Self::AuthorityDelete => "authority_delete",
        }
    }
}

/// What became of a change that a connected device was to be told, or of an order to end its
/// connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Passage {
    /// A gateway has it.
    Passed,
    /// Nobody holds the device.
    Absent,
    /// Too many were waiting.
    Dropped,
    /// Presence or the gateway failed or took too long.
    Failed,
}

impl Passage {
    const ALL: [Self; 4] = [Self::Passed, Self::Absent, Self::Dropped, Self::Failed];

    const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Absent => "absent",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

const OUTCOMES: [&str; 3] = ["success", "refused", "failure"];

/// Counters with every label settled.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    operations: [HotCounter; Operation::ALL.len() * OUTCOMES.len()],
    notifications: [HotCounter; Passage::ALL.len()],
    revocations: [HotCounter; Passage::ALL.len()],
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            operations: hot_counters(
                meter,
                spec(
                    "downlink.twin.operations",
                    "operations on twins, identities, policies and certificate authorities",
                ),
                std::array::from_fn(|index| {
                    let operation = Operation::ALL[index / OUTCOMES.len()];
                    vec![
                        KeyValue::new("operation", operation.label()),
                        KeyValue::new("outcome", OUTCOMES[index % OUTCOMES.len()]),
                    ]
                }),
            ),
            notifications: hot_counters(
                meter,
                spec(
                    "downlink.twin.notifications",
                    "changes of desired properties, by passage",
                ),
                passage_labels(),
            ),
            revocations: hot_counters(
                meter,
                spec(
                    "downlink.twin.revocations",
                    "orders to end connections, by passage",
                ),
                passage_labels(),
            ),
        }
    }

    /// Counts an operation by its result and hands the result back.
    pub(crate) fn count<T>(
        &self,
        operation: Operation,
        result: Result<T, PeerError>,
    ) -> Result<T, PeerError> {
        let outcome = match &result {
            Ok(_) => 0,
            Err(error) if error.code().http_status() < 500 => 1,
            Err(_) => 2,
        };
        self.operations[operation as usize * OUTCOMES.len() + outcome].increment();
        result
    }

    pub(crate) fn count_notifications(&self, passage: Passage, count: usize) {
        self.notifications[passage as usize].add(count as u64);
    }

    pub(crate) fn count_revocations(&self, passage: Passage, count: usize) {
        self.revocations[passage as usize].add(count as u64);
    }

    /// How many changes went that way so far.
    #[cfg(test)]
    pub(crate) fn notifications(&self, passage: Passage) -> u64 {
        self.notifications[passage as usize].value()
    }
}

fn spec(name: &'static str, description: &'static str) -> InstrumentSpec {
    InstrumentSpec {
        name,
        unit: "",
        description,
    }
}

fn passage_labels() -> [Vec<KeyValue>; Passage::ALL.len()] {
    std::array::from_fn(|index| vec![KeyValue::new("passage", Passage::ALL[index].label())])
}
