//! Limits on the wire.

use downlink_domain::limits::{
    DeviceOperation, HubOperation, Limit, LimitKey, LimitOverrides, LimitsChange, LimitsSnapshot,
    Per, Rate, Replaces,
};
use downlink_proto::v1;
use downlink_proto::v1::change_limits_request::Replaces as WireReplaces;
use downlink_proto::v1::stated_limit::{Limit as WireLimit, Target};

use super::{FromWire, ToWire, WireError, present};

/// Most limits of a change.
const MAX_CHANGED: usize = 10_000;

/// A change as its two parts travel.
pub(crate) fn change_to_wire(change: LimitsChange) -> (Option<WireReplaces>, Vec<v1::StatedLimit>) {
    let replaces = match change.replaces {
        Replaces::Nothing => None,
        Replaces::General => Some(WireReplaces::General(true)),
        Replaces::Device(device) => Some(WireReplaces::DeviceId(device.to_string())),
    };
    let entries = change.entries.into_iter();
    let limits = entries.map(|(key, limit)| stated(key, limit)).collect();
    (replaces, limits)
}

/// Reads what [`change_to_wire`] has written.
pub(crate) fn change_from_wire(
    replaces: Option<WireReplaces>,
    limits: Vec<v1::StatedLimit>,
) -> Result<LimitsChange, WireError> {
    if limits.len() > MAX_CHANGED {
        return Err(WireError::OutOfRange("number of items"));
    }
    let replaces = match replaces {
        None => Replaces::Nothing,
        Some(WireReplaces::General(true)) => Replaces::General,
        Some(WireReplaces::General(false)) => return Err(WireError::OutOfRange("general")),
        Some(WireReplaces::DeviceId(device)) => Replaces::Device(device.parse()?),
    };
    let entries = limits.into_iter().map(|stated| {
        let key = key(stated.target, &stated.operation)?;
        Ok((key, stated.limit.map(limit).transpose()?))
    });
    let entries = entries.collect::<Result<_, WireError>>()?;
    Ok(LimitsChange { replaces, entries })
}

impl ToWire for LimitsSnapshot {
    type Wire = v1::LimitsSnapshot;

    fn to_wire(self) -> v1::LimitsSnapshot {
        let limits = self.overrides.iter();
        v1::LimitsSnapshot {
            version: self.version,
            limits: limits
                .map(|(key, limit)| stated(key.clone(), Some(limit)))
                .collect(),
        }
    }
}

impl FromWire<v1::LimitsSnapshot> for LimitsSnapshot {
    fn from_wire(wire: v1::LimitsSnapshot) -> Result<Self, WireError> {
        let limits = wire.limits.into_iter().map(|stated| {
            let key = key(stated.target, &stated.operation)?;
            Ok((key, limit(present("limit", stated.limit)?)?))
        });
        let limits = limits.collect::<Result<Vec<_>, WireError>>()?;
        let overrides = LimitOverrides::of(limits);
        let overrides = overrides.map_err(|_| WireError::OutOfRange("number of items"))?;
        Ok(Self {
            version: wire.version,
            overrides,
        })
    }
}

fn stated(key: LimitKey, limit: Option<Limit>) -> v1::StatedLimit {
    let (target, operation) = match key {
        LimitKey::Hub(operation) => (Target::Hub(true), operation.name()),
        LimitKey::EachDevice(operation) => (Target::EachDevice(true), operation.name()),
        LimitKey::Device(device, operation) => {
            (Target::DeviceId(device.to_string()), operation.name())
        }
    };
    v1::StatedLimit {
        target: Some(target),
        operation: operation.to_owned(),
        limit: limit.map(|limit| match limit {
            Limit::Unlimited => WireLimit::Unlimited(true),
            Limit::Rate(rate) => WireLimit::Rate(v1::RateLimit {
                count: rate.count(),
                per_seconds: rate.per().seconds(),
                burst: rate.stated_burst(),
            }),
        }),
    }
}

fn key(target: Option<Target>, operation: &str) -> Result<LimitKey, WireError> {
    let unknown = WireError::OutOfRange("operation");
    let of_device = || DeviceOperation::find(operation);
    match present("target", target)? {
        Target::Hub(true) => HubOperation::find(operation)
            .map(LimitKey::Hub)
            .ok_or(unknown),
        Target::EachDevice(true) => of_device().map(LimitKey::EachDevice).ok_or(unknown),
        Target::DeviceId(device) => Ok(LimitKey::Device(
            device.parse()?,
            of_device().ok_or(unknown)?,
        )),
        Target::Hub(false) | Target::EachDevice(false) => Err(WireError::OutOfRange("target")),
    }
}

fn limit(wire: WireLimit) -> Result<Limit, WireError> {
    match wire {
        WireLimit::Unlimited(true) => Ok(Limit::Unlimited),
        WireLimit::Unlimited(false) => Err(WireError::OutOfRange("unlimited")),
        WireLimit::Rate(rate) => {
            let per = Per::of_seconds(rate.per_seconds);
            let per = per.ok_or(WireError::OutOfRange("per_seconds"))?;
            let rate = Rate::new(rate.count, per, rate.burst);
            rate.map(Limit::Rate)
                .map_err(|_| WireError::OutOfRange("rate"))
        }
    }
}
