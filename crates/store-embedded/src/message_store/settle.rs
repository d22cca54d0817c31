//! Messages settled.

use std::collections::{HashMap, HashSet};

use downlink_domain::Timestamp;
use downlink_domain::message::transition;
use downlink_domain::message::{QueueRules, Settlement};
use downlink_ports::{SettleError, StoreError};

use super::conclude::Conclusions;
use super::standing::{self, Place, Stored};
use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::statements::FIND_STANDINGS;
use crate::writer::Scope;

/// The answer to one settlement.
pub(crate) type Settled = Result<(), SettleError>;

/// One settlement.
pub(crate) struct SettleItem {
    pub(crate) settlement: Settlement,
    pub(crate) rules: QueueRules,
    pub(crate) now: Timestamp,
}

/// Settles messages in order; answers by position.
pub(crate) async fn settle(
    scope: &mut Scope<'_>,
    items: Vec<SettleItem>,
) -> Result<Vec<Result<Settled, StoreError>>, StoreError> {
    let places: HashSet<Place> = items.iter().map(SettleItem::place).collect();
    let mut loaded = load(scope, places.into_iter().collect()).await?;
    let mut conclusions = Conclusions::default();
    let mut touched: HashSet<Place> = HashSet::with_capacity(loaded.len());
    let mut answers = Vec::with_capacity(items.len());
    for item in &items {
        let message = match loaded.get_mut(&item.place()) {
            None => {
                answers.push(Ok(Err(SettleError::LockLost)));
                continue;
            }
            Some(Err(error)) => {
                answers.push(Err(error.clone()));
                continue;
            }
            Some(Ok(message)) => message,
        };
        let is_settled = settle_one(message, item, &mut conclusions);
        if is_settled.is_ok() {
            touched.insert(message.place);
        }
        answers.push(Ok(is_settled));
    }
    for message in loaded.values().flatten() {
        if touched.contains(&message.place) {
            conclusions.stands(message.place, message.standing);
        }
    }
    conclusions.write(scope).await?;
    Ok(answers)
}

impl SettleItem {
    fn place(&self) -> Place {
        (self.settlement.device, self.settlement.sequence)
    }
}

fn settle_one(message: &mut Stored, item: &SettleItem, conclusions: &mut Conclusions) -> Settled {
    let (token, verdict) = (item.settlement.token, item.settlement.verdict);
    let decision = transition::settle(message.standing, token, verdict, &item.rules, item.now)
        .map_err(|_| SettleError::LockLost)?;
    message.standing = decision.next;
    if let Some(status) = decision.feedback {
        conclusions.report(message, status, item.rules.feedback_ttl, item.now);
    }
    Ok(())
}

/// Reads where messages stand; those that are gone are missing, those that cannot be read are
/// errors.
pub(super) async fn load(
    scope: &mut Scope<'_>,
    places: Vec<Place>,
) -> Result<HashMap<Place, Result<Stored, StoreError>>, StoreError> {
    let rows = FIND_STANDINGS
        .fetch(scope.connection, None, places, |query, (key, sequence)| {
            query.bind(key.0).bind(stored(sequence.0))
        })
        .await
        .map_err(store_error)?;
    rows.iter()
        .map(|row| {
            let place = standing::place(&Fields::new(row, "messages", "sequence"))?;
            Ok((place, standing::stored(row)))
        })
        .collect()
}
