//! Reports of connections.

use downlink_domain::id::DeviceKey;
use downlink_domain::presence::{ConnectionEnd, ConnectionReport, LeaseEpoch};
use downlink_ports::ConnectionChange;
use downlink_proto::v1;
use downlink_proto::v1::connection_change::Report;

use super::{FromWire, ToWire, WireError, instant, present};

impl ToWire for ConnectionChange {
    type Wire = v1::ConnectionChange;

    fn to_wire(self) -> v1::ConnectionChange {
        let report = match self.report {
            ConnectionReport::Began => Report::Began(true),
            ConnectionReport::Stands => Report::Stands(true),
            ConnectionReport::Ended(end) => Report::Ended(end.as_str().to_owned()),
        };
        v1::ConnectionChange {
            device_key: self.device.0,
            epoch: self.epoch.0,
            at: self.at.as_millis(),
            gateway: self.gateway.to_string(),
            active_at: self.active_at.as_millis(),
            report: Some(report),
        }
    }
}

impl FromWire<v1::RecordConnectionsCall> for Vec<ConnectionChange> {
    fn from_wire(wire: v1::RecordConnectionsCall) -> Result<Self, WireError> {
        if wire.changes.len() > crate::mux::MAX_CALL_ITEMS {
            return Err(WireError::OutOfRange("number of items"));
        }
        let read = |wire: v1::ConnectionChange| {
            Ok(ConnectionChange {
                device: DeviceKey(wire.device_key),
                epoch: LeaseEpoch(wire.epoch),
                gateway: wire.gateway.parse()?,
                report: report(wire.report)?,
                at: instant("at", wire.at)?,
                active_at: instant("active_at", wire.active_at)?,
            })
        };
        wire.changes.into_iter().map(read).collect()
    }
}

fn report(wire: Option<Report>) -> Result<ConnectionReport, WireError> {
    match present("report", wire)? {
        Report::Began(true) => Ok(ConnectionReport::Began),
        Report::Stands(true) => Ok(ConnectionReport::Stands),
        Report::Ended(end) => ConnectionEnd::parse(&end)
            .map(ConnectionReport::Ended)
            .ok_or(WireError::OutOfRange("ended")),
        Report::Began(false) | Report::Stands(false) => Err(WireError::OutOfRange("report")),
    }
}
