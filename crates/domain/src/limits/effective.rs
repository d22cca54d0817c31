//! What holds: the configured rates under what administrators have stated.

use super::{DeviceOperation, HubOperation, LimitKey, LimitOverrides, Rate};
use crate::id::DeviceId;

/// A rate for each class of a hub; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubRates([Option<Rate>; HubOperation::COUNT]);

/// A rate for each class of a device; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceRates([Option<Rate>; DeviceOperation::COUNT]);

impl HubRates {
    /// The rate of a class.
    pub const fn of(&self, operation: HubOperation) -> Option<Rate> {
        self.0[operation.place()]
    }

    /// Sets the rate of a class.
    pub const fn set(&mut self, operation: HubOperation, rate: Option<Rate>) {
        self.0[operation.place()] = rate;
    }

    /// Tells whether any class has one.
    pub fn is_any_limited(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }
}

impl DeviceRates {
    /// The rate of a class.
    pub const fn of(&self, operation: DeviceOperation) -> Option<Rate> {
        self.0[operation.place()]
    }

    /// Sets the rate of a class.
    pub const fn set(&mut self, operation: DeviceOperation, rate: Option<Rate>) {
        self.0[operation.place()] = rate;
    }

    /// Tells whether any class has one.
    pub fn is_any_limited(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }
}

/// The rates of a hub and of devices of which nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RatePlan {
    /// Of the hub.
    pub hub: HubRates,
    /// Of each device.
    pub device: DeviceRates,
}

impl RatePlan {
    /// This plan under `overrides`, leaving out what they say of single devices.
    #[must_use]
    pub fn under(&self, overrides: &LimitOverrides) -> Self {
        let mut plan = *self;
        for (key, limit) in overrides.iter() {
            match key {
                LimitKey::Hub(operation) => plan.hub.set(*operation, limit.rate()),
                LimitKey::EachDevice(operation) => plan.device.set(*operation, limit.rate()),
                LimitKey::Device(..) => {}
            }
        }
        plan
    }

    /// The rates of one device, where this plan is already under the same `overrides`.
    pub fn of_device(&self, overrides: &LimitOverrides, device: &DeviceId) -> DeviceRates {
        let mut rates = self.device;
        for (operation, limit) in overrides.of_device(device) {
            rates.set(operation, limit.rate());
        }
        rates
    }
}
