//! Granted subscriptions of one connection (mqtt.md §6).

use thiserror::Error;

use crate::error::Violation;
use crate::filter::{Feature, Filter};
use crate::identity::ClientIdentity;
use crate::packet::{Qos, SubackCode, SubscribeFilter};

/// The active subscriptions, distinct and bounded by [`super::SessionOptions`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriptions {
    entries: Vec<(Filter, Qos)>,
}

/// One subscription as it is stored with the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscription {
    /// The filter's text.
    pub filter: String,
    /// The granted quality of service.
    pub qos: Qos,
}

/// A feature that a change of subscriptions switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureChange {
    /// It was off and is on.
    On(Feature),
    /// It was on and is off.
    Off(Feature),
}

/// A stored subscription that this session may not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("stored filter {filter:?} is not granted to this session")]
pub struct RestoreError {
    /// The filter's text.
    pub filter: String,
}

impl Subscriptions {
    /// Reads stored subscriptions back.
    ///
    /// # Errors
    /// [`RestoreError`] for the first filter that is not granted or one too many.
    pub fn restore(
        stored: &[StoredSubscription],
        identity: &ClientIdentity,
        max_subscriptions: usize,
    ) -> Result<Self, RestoreError> {
        let mut restored = Self::default();
        for subscription in stored {
            let refused = || RestoreError {
                filter: subscription.filter.clone(),
            };
            let filter = Filter::parse(&subscription.filter, identity).ok_or_else(refused)?;
            restored
                .put(filter, subscription.qos.granted(), max_subscriptions)
                .map_err(|_| refused())?;
        }
        Ok(restored)
    }

    /// Returns the subscriptions in the form that [`Subscriptions::restore`] reads.
    pub fn to_stored(&self, identity: &ClientIdentity) -> Vec<StoredSubscription> {
        self.entries
            .iter()
            .map(|(filter, qos)| StoredSubscription {
                filter: filter.to_text(identity),
                qos: *qos,
            })
            .collect()
    }

    /// Returns whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns whether some subscription switches `feature` on.
    pub fn has_feature(&self, feature: Feature) -> bool {
        self.entries
            .iter()
            .any(|(filter, _)| filter.feature() == Some(feature))
    }

    /// Returns whether calls of the method `name` are to be delivered.
    ///
    /// `name` is compared with the filter as it stands and with its encoded form in the topic.
    pub fn takes_method(&self, name: &str) -> bool {
        let topic = crate::topic::method_call(name, "");
        self.entries.iter().any(|(filter, _)| match filter {
            Filter::Methods => true,
            Filter::Method(wanted) => {
                let encoded = topic
                    .strip_prefix("$iothub/methods/POST/")
                    .and_then(|rest| rest.strip_suffix("/?$rid="));
                **wanted == *name || encoded == Some(&**wanted)
            }
            _ => false,
        })
    }

    /// Returns the quality of service that messages to the device go out with, if they go out at all.
    pub fn cloud_to_device_qos(&self) -> Option<Qos> {
        self.entries
            .iter()
            .find(|(filter, _)| *filter == Filter::CloudToDevice)
            .map(|entry| entry.1)
    }

    /// Grants filters, all or none, and returns one code per filter.
    ///
    /// # Errors
    /// [`Violation::UnsupportedFilter`], [`Violation::TooManySubscriptions`].
    pub(crate) fn add(
        &mut self,
        asked: &[SubscribeFilter],
        identity: &ClientIdentity,
        max_subscriptions: usize,
    ) -> Result<Vec<SubackCode>, Violation> {
        let mut grown = self.clone();
        let mut codes = Vec::with_capacity(asked.len());
        for entry in asked {
            let filter =
                Filter::parse(&entry.filter, identity).ok_or(Violation::UnsupportedFilter)?;
            let qos = entry.qos.granted();
            grown.put(filter, qos, max_subscriptions)?;
            codes.push(SubackCode::Granted(qos));
        }
        *self = grown;
        Ok(codes)
    }

    /// Takes filters away, passing over those that are not there.
    pub(crate) fn remove(&mut self, given_up: &[String], identity: &ClientIdentity) {
        for text in given_up {
            if let Some(filter) = Filter::parse(text, identity) {
                self.entries.retain(|(held, _)| *held != filter);
            }
        }
    }

    /// Puts one subscription; the same filter again takes the new quality of service ([MQTT-3.8.4-3]).
    fn put(&mut self, filter: Filter, qos: Qos, max_subscriptions: usize) -> Result<(), Violation> {
        if let Some(entry) = self.entries.iter_mut().find(|(held, _)| *held == filter) {
            entry.1 = qos;
            return Ok(());
        }
        if self.entries.len() >= max_subscriptions {
            return Err(Violation::TooManySubscriptions);
        }
        // One place at a time: most sessions hold few, and there are very many sessions.
        self.entries.reserve_exact(1);
        self.entries.push((filter, qos));
        Ok(())
    }

    /// Returns what was switched between `before` and now.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<FeatureChange> {
        let mut changes = Vec::new();
        for feature in Feature::ALL {
            match (before.has_feature(feature), self.has_feature(feature)) {
                (false, true) => changes.push(FeatureChange::On(feature)),
                (true, false) => changes.push(FeatureChange::Off(feature)),
                (true, true) | (false, false) => {}
            }
        }
        changes
    }
}
