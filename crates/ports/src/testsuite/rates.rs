//! What gateways want of a hub's rates.

use std::time::Duration;

use downlink_domain::id::{GatewayId, HubName};
use downlink_domain::limits::HubOperation;

use super::given::a_hub;
use super::presence::Presence;
use crate::Wants;

/// Longer than any test.
const LONG: Duration = Duration::from_mins(2);
const SHORT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

fn wants(each: u32) -> Wants {
    let mut wants = [each; HubOperation::COUNT];
    wants[0] = u32::MAX;
    wants
}

async fn say(presence: &Presence, gateway: &str, each: u32, ttl: Duration) -> Vec<(String, Wants)> {
    say_of(presence, &a_hub(), gateway, each, ttl).await
}

async fn say_of(
    presence: &Presence,
    hub: &HubName,
    gateway: &str,
    each: u32,
    ttl: Duration,
) -> Vec<(String, Wants)> {
    let gateway: GatewayId = gateway.parse().unwrap();
    let heard = presence.rates.exchange(hub, &gateway, wants(each), ttl);
    let heard = heard.await.unwrap().into_iter();
    let mut heard: Vec<_> = heard
        .map(|(gateway, wants)| (gateway.to_string(), wants))
        .collect();
    heard.sort();
    heard
}

fn said(gateway: &str, each: u32) -> (String, Wants) {
    (gateway.to_owned(), wants(each))
}

#[doc(hidden)]
pub async fn gateways_hear_the_newest_word_of_each_other_and_their_own(presence: Presence) {
    assert_eq!(say(&presence, "a", 1, LONG).await, [said("a", 1)]);
    assert_eq!(
        say(&presence, "b", 2, LONG).await,
        [said("a", 1), said("b", 2)]
    );
    assert_eq!(
        say(&presence, "a", 3, LONG).await,
        [said("a", 3), said("b", 2)]
    );
}

#[doc(hidden)]
pub async fn hubs_have_rates_of_their_own(presence: Presence) {
    let other = "other.example".parse().unwrap();
    say(&presence, "a", 1, LONG).await;
    let heard = say_of(&presence, &other, "b", 2, LONG).await;
    assert_eq!(heard, [said("b", 2)]);
}

#[doc(hidden)]
pub async fn a_gateway_that_leaves_is_heard_no_more(presence: Presence) {
    say(&presence, "a", 1, LONG).await;
    let gone = "a".parse().unwrap();
    presence.rates.leave(&a_hub(), &gone).await.unwrap();
    assert_eq!(say(&presence, "b", 2, LONG).await, [said("b", 2)]);
}

#[doc(hidden)]
pub async fn a_word_that_is_not_said_again_ends(presence: Presence) {
    say(&presence, "dead", 1, SHORT).await;
    let began = std::time::Instant::now();
    while say(&presence, "b", 2, LONG).await != [said("b", 2)] {
        assert!(began.elapsed() < PATIENCE, "it does not end");
    }
    // The clock of a server counts in whole milliseconds.
    assert!(began.elapsed() + Duration::from_millis(100) >= SHORT);
}
