use proptest::prelude::*;

use super::*;

fn gateway(name: &str) -> GatewayId {
    name.parse().unwrap()
}

fn taken(
    record: &mut ConnectionRecord,
    epoch: u64,
    on: &str,
    report: ConnectionReport,
) -> Vec<(u64, u32, Option<ConnectionEnd>)> {
    let mut events = Vec::new();
    record.take(LeaseEpoch(epoch), &gateway(on), report, &mut events);
    let told = events.iter().map(|event| {
        let ChangeNumber { epoch, turn } = event.number;
        (epoch.0, turn, event.ended)
    });
    told.collect()
}

const LOST: ConnectionReport = ConnectionReport::Ended(ConnectionEnd::Lost);
const PRESUMED: ConnectionReport = ConnectionReport::Ended(ConnectionEnd::GatewayLost);

#[test]
fn a_late_disconnect_leaves_the_newer_connection_alone() {
    let mut record = ConnectionRecord::default();
    taken(&mut record, 1, "a", ConnectionReport::Began);
    let superseded = ConnectionEnd::Ordered(DisconnectReason::Superseded);
    assert_eq!(
        taken(&mut record, 2, "b", ConnectionReport::Began),
        [(1, 1, Some(superseded)), (2, 0, None)]
    );
    assert_eq!(taken(&mut record, 1, "a", LOST), []);
    assert_eq!(taken(&mut record, 1, "a", ConnectionReport::Stands), []);
    assert!(record.is_connected);
    assert_eq!(record.gateway, Some(gateway("b")));
}

#[test]
fn a_gateway_that_was_presumed_gone_contradicts_and_one_that_reported_the_end_does_not() {
    let mut record = ConnectionRecord::default();
    taken(&mut record, 1, "a", ConnectionReport::Began);
    let presumed = ConnectionEnd::GatewayLost;
    assert_eq!(
        taken(&mut record, 1, "a", PRESUMED),
        [(1, 1, Some(presumed))]
    );
    assert_eq!(taken(&mut record, 1, "b", ConnectionReport::Stands), []);
    assert_eq!(
        taken(&mut record, 1, "a", ConnectionReport::Stands),
        [(1, 2, None)]
    );
    taken(&mut record, 1, "a", PRESUMED);
    assert_eq!(taken(&mut record, 1, "a", LOST), [], "it is told already");
    assert_eq!(taken(&mut record, 1, "a", ConnectionReport::Stands), []);
    assert!(!record.is_connected);
}

#[test]
fn an_end_whose_connect_was_not_reported_is_told_with_it() {
    let mut record = ConnectionRecord::default();
    assert_eq!(
        taken(&mut record, 7, "a", LOST),
        [(7, 0, None), (7, 1, Some(ConnectionEnd::Lost))]
    );
    assert_eq!(taken(&mut record, 7, "a", ConnectionReport::Began), []);
    assert_eq!(taken(&mut record, 8, "a", PRESUMED), []);
}

#[test]
fn ends_have_names_of_their_own() {
    for end in ConnectionEnd::ALL {
        assert_eq!(ConnectionEnd::parse(end.as_str()), Some(end));
    }
    assert_eq!(ConnectionEnd::parse("other"), None);
}

#[test]
fn a_number_has_64_digits_and_is_compared_as_text() {
    let number = |epoch, turn| ChangeNumber {
        epoch: LeaseEpoch(epoch),
        turn,
    };
    let numbers = [
        number(0, 0),
        number(9, 1),
        number(10, 0),
        number(10, 11),
        number(u64::MAX, u32::MAX),
    ];
    for pair in numbers.windows(2) {
        let (earlier, later) = (pair[0].to_string(), pair[1].to_string());
        assert_eq!((earlier.len(), later.len()), (64, 64));
        assert!(earlier < later);
    }
}

fn reports() -> impl Strategy<Value = Vec<(u64, usize, ConnectionReport)>> {
    let report = prop_oneof![
        Just(ConnectionReport::Began),
        Just(ConnectionReport::Stands),
        Just(LOST),
        Just(PRESUMED),
        Just(ConnectionReport::Ended(ConnectionEnd::Vanished)),
    ];
    prop::collection::vec((1_u64..6, 0_usize..3, report), 0..60)
}

proptest! {
    #[test]
    fn numbers_rise_and_connects_and_disconnects_alternate(reports in reports()) {
        let gateways = ["a", "b", "c"].map(gateway);
        let mut record = ConnectionRecord::default();
        let mut events = Vec::new();
        for (epoch, on, report) in reports {
            let before = record.clone();
            let count = events.len();
            let changed = record.take(LeaseEpoch(epoch), &gateways[on], report, &mut events);
            prop_assert_eq!(changed, record != before);
            prop_assert!(changed || events.len() == count);
            // A second time it tells nothing.
            let count = events.len();
            prop_assert!(!record.take(LeaseEpoch(epoch), &gateways[on], report, &mut events));
            prop_assert_eq!(events.len(), count);
        }
        for pair in events.windows(2) {
            prop_assert!(pair[0].number < pair[1].number);
            prop_assert_ne!(pair[0].ended.is_some(), pair[1].ended.is_some());
        }
        if let Some(last) = events.last() {
            prop_assert_eq!(last.ended.is_none(), record.is_connected);
            prop_assert_eq!(last.number, record.number);
        }
    }
}
