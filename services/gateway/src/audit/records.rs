//! Lines of the ledger as events.

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::event::Event;
use downlink_domain::id::HubName;
use downlink_ports::IdSource;
use downlink_ports::events::{AuditOperation, AuditOutcome, AuditRecord, audit_event};

use super::ledger::{Line, What};

/// The event of a line, under a fresh id.
pub(super) fn event(line: Line, hub: &HubName, ids: &dyn IdSource, now: Timestamp) -> Event {
    let Line {
        key,
        target,
        code,
        count,
        at,
    } = line;
    let (operation, detail) = match key.what {
        What::Credential(cause) => {
            let cause = cause.as_str().to_owned();
            (AuditOperation::Authenticate, vec![("cause", cause)])
        }
        What::Right(action) => {
            let detail = vec![
                ("cause", "right".to_owned()),
                ("action", action.name().to_owned()),
            ];
            (AuditOperation::Authorize, detail)
        }
        What::Many => {
            let cause = "many".to_owned();
            (AuditOperation::Authenticate, vec![("cause", cause)])
        }
    };
    let address = key.address.map(|address| address.to_string());
    audit_event(&AuditRecord {
        id: ids.record_id(now),
        hub: hub.clone(),
        at,
        actor: Actor {
            credential: key.who.into(),
            address: address.unwrap_or_default(),
            door: key.door.to_owned(),
        },
        operation,
        target: target.into(),
        device: None,
        outcome: AuditOutcome::Refused(code),
        detail,
        count,
    })
}
