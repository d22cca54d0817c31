use super::*;
use crate::error::DecodeError;
use crate::packet::{Connect, ConnectWill, PacketKind, SubackCode, SubscribeFilter};
use bytes::BytesMut;

const C2D: &str = "devices/dev1/messages/devicebound/#";
const METHODS: &str = "$iothub/methods/POST/#";
const TWIN: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("tests use identifiers above zero")
}

fn seconds(value: u64) -> Duration {
    Duration::from_secs(value)
}

fn session_with_window(window: u16) -> Session<&'static str> {
    let identity = ClientIdentity::device("dev1").expect("a valid id");
    let options = SessionOptions {
        window,
        ..SessionOptions::new(KeepAlive::from_seconds(60))
    };
    Session::new(identity, options, Duration::ZERO)
}

fn session() -> Session<&'static str> {
    session_with_window(16)
}

fn subscribe(filters: &[(&str, Qos)]) -> ClientPacket {
    let filters = filters
        .iter()
        .map(|(filter, qos)| SubscribeFilter {
            filter: (*filter).to_owned(),
            qos: *qos,
        })
        .collect();
    ClientPacket::Subscribe(Subscribe {
        packet_id: id(9),
        filters,
    })
}

fn unsubscribe(filters: &[&str]) -> ClientPacket {
    let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
    ClientPacket::Unsubscribe(Unsubscribe {
        packet_id: id(10),
        filters,
    })
}

fn publish(topic: &str, delivery: Delivery, payload: &'static [u8]) -> ClientPacket {
    let payload = Bytes::from_static(payload);
    ClientPacket::Publish(Publish {
        topic: topic.to_owned(),
        delivery,
        retain: false,
        payload,
    })
}

fn at_least_once(packet_id: u16) -> Delivery {
    Delivery::AtLeastOnce {
        packet_id: id(packet_id),
        dup: false,
    }
}

#[track_caller]
fn act(session: &mut Session<&'static str>, packet: ClientPacket) -> Action<&'static str> {
    session.on_packet(packet, Duration::ZERO).unwrap().unwrap()
}

#[track_caller]
fn violation(session: &mut Session<&'static str>, packet: ClientPacket) -> Violation {
    session.on_packet(packet, Duration::ZERO).unwrap_err()
}

#[track_caller]
fn changes(action: Action<&'static str>) -> Vec<FeatureChange> {
    match action {
        Action::Subscribed { changes, .. } | Action::Unsubscribed { changes, .. } => changes,
        other => panic!("{other:?}"),
    }
}

fn good_connect() -> Connect {
    Connect::new("dev1")
        .with_username("hub.test/dev1/?api-version=2021-04-12")
        .with_password("SharedAccessSignature sr=x")
}

#[track_caller]
fn refusal_bytes(packet: ClientPacket) -> Vec<u8> {
    let refusal = AwaitingConnect.on_packet(packet).unwrap_err();
    let mut out = BytesMut::new();
    refusal.encode(&mut out);
    out.to_vec()
}

#[test]
fn a_valid_connect_becomes_a_request() {
    let mut connect = good_connect();
    connect.keep_alive_seconds = 60;
    let request = AwaitingConnect.on_packet(connect.into()).unwrap();
    assert_eq!(request.identity, ClientIdentity::device("dev1").unwrap());
    assert_eq!(
        request.password.as_deref(),
        Some(&b"SharedAccessSignature sr=x"[..])
    );
    assert!(!request.clean_session);
    assert_eq!(request.keep_alive.timeout(), seconds(90));
    assert!(!format!("{request:?}").contains("SharedAccessSignature"));
}

#[test]
fn an_empty_password_is_no_password() {
    let request = AwaitingConnect
        .on_packet(good_connect().with_password("").into())
        .unwrap();
    assert_eq!(request.password, None);
}

#[test]
fn refusals_of_names_are_code_five() {
    let not_authorized = [0x20, 2, 0, 5];
    let other_client = Connect::new("dev2").with_username("hub.test/dev1/?api-version=1");
    let no_username = Connect::new("dev1");
    let malformed = Connect::new("dev1").with_username("dev1");
    for connect in [other_client, no_username, malformed] {
        assert_eq!(refusal_bytes(connect.into()), not_authorized);
    }
}

#[test]
fn the_answer_to_another_protocol_level_depends_on_the_level() {
    for (level, bytes) in [
        (3, &[0x20, 2, 0, 1][..]),
        (5, &[0x20, 3, 0, 0x84, 0][..]),
        (6, &[0x20, 2, 0, 1][..]),
    ] {
        let mut out = BytesMut::new();
        Refusal::from(DecodeError::ProtocolLevel(level)).encode(&mut out);
        assert_eq!(&out[..], bytes);
    }
}

#[test]
fn anything_but_connect_first_is_closed_without_an_answer() {
    assert_eq!(refusal_bytes(ClientPacket::Pingreq), []);
    let mut out = BytesMut::new();
    Refusal::from(DecodeError::ProtocolName).encode(&mut out);
    assert!(out.is_empty());
}

#[test]
fn a_second_connect_is_a_violation() {
    assert_eq!(
        violation(&mut session(), good_connect().into()),
        Violation::SecondConnect
    );
}

#[test]
fn a_will_becomes_marked_telemetry() {
    let will = ConnectWill {
        topic: "devices/dev1/messages/events/a=b".to_owned(),
        payload: Bytes::from_static(b"gone"),
        qos: Qos::AtLeastOnce,
        retain: true,
    };
    let connect = Connect {
        will: Some(will),
        ..good_connect()
    };
    let request = AwaitingConnect.on_packet(connect.into()).unwrap();
    let telemetry = request.will.unwrap().into_telemetry();
    assert_eq!(telemetry.properties.encode(), "a=b&iothub-MessageType=Will");
    assert_eq!(telemetry.payload, "gone");
}

#[test]
fn a_will_elsewhere_is_refused_with_code_five() {
    for (topic, qos) in [
        ("devices/dev2/messages/events/", Qos::AtLeastOnce),
        ("$iothub/twin/GET/?$rid=1", Qos::AtMostOnce),
        ("devices/dev1/messages/events/", Qos::ExactlyOnce),
        ("devices/dev1/messages/events/a=%zz", Qos::AtMostOnce),
    ] {
        let payload = Bytes::new();
        let will = ConnectWill {
            topic: topic.to_owned(),
            payload,
            qos,
            retain: false,
        };
        let connect = Connect {
            will: Some(will),
            ..good_connect()
        };
        assert_eq!(refusal_bytes(connect.into()), [0x20, 2, 0, 5], "{topic}");
    }
}

#[test]
fn subscribing_grants_at_most_one_and_tells_what_changed() {
    let mut session = session();
    let asked = [
        (C2D, Qos::ExactlyOnce),
        (METHODS, Qos::AtMostOnce),
        (TWIN, Qos::AtLeastOnce),
    ];
    let Action::Subscribed {
        suback,
        changes,
        desired_since: None,
        is_changed: true,
    } = act(&mut session, subscribe(&asked))
    else {
        panic!("SUBSCRIBE is answered by SUBACK");
    };
    assert_eq!(suback.packet_id, id(9));
    assert_eq!(
        suback.codes,
        [Qos::AtLeastOnce, Qos::AtMostOnce, Qos::AtLeastOnce].map(SubackCode::Granted)
    );
    let on = [
        Feature::CloudToDevice,
        Feature::Methods,
        Feature::TwinResponses,
    ];
    assert_eq!(changes, on.map(FeatureChange::On));
}

#[test]
fn subscribing_again_changes_nothing_but_the_quality_of_service() {
    let mut session = session();
    act(&mut session, subscribe(&[(C2D, Qos::AtLeastOnce)]));
    assert_eq!(
        changes(act(&mut session, subscribe(&[(C2D, Qos::AtMostOnce)]))),
        []
    );
    assert_eq!(
        session.subscriptions().cloud_to_device_qos(),
        Some(Qos::AtMostOnce)
    );
}

#[test]
fn unsubscribing_switches_features_off_and_unknown_filters_are_answered_too() {
    let mut session = session();
    act(&mut session, subscribe(&[(DESIRED, Qos::AtMostOnce)]));
    let off = changes(act(&mut session, unsubscribe(&["never/asked", DESIRED])));
    assert_eq!(off, [FeatureChange::Off(Feature::DesiredPatches)]);
    assert_eq!(changes(act(&mut session, unsubscribe(&[DESIRED]))), []);
    assert!(!session.has_feature(Feature::DesiredPatches));
}

#[test]
fn methods_stay_on_while_one_filter_for_them_is_left() {
    let mut session = session();
    let reboot = "$iothub/methods/POST/reboot/#";
    act(
        &mut session,
        subscribe(&[(METHODS, Qos::AtMostOnce), (reboot, Qos::AtMostOnce)]),
    );
    assert!(session.subscriptions().takes_method("anything"));
    assert_eq!(changes(act(&mut session, unsubscribe(&[METHODS]))), []);
    assert!(session.subscriptions().takes_method("reboot"));
    assert!(!session.subscriptions().takes_method("anything"));
    let off = changes(act(&mut session, unsubscribe(&[reboot])));
    assert_eq!(off, [FeatureChange::Off(Feature::Methods)]);
}

#[test]
fn a_filter_for_a_method_matches_its_raw_and_its_encoded_name() {
    let mut session = session();
    act(
        &mut session,
        subscribe(&[("$iothub/methods/POST/a%2Fb/#", Qos::AtMostOnce)]),
    );
    assert!(session.subscriptions().takes_method("a/b"));
    assert!(!session.subscriptions().takes_method("a"));
}

#[test]
fn an_unsupported_filter_closes_and_grants_nothing() {
    let mut session = session();
    let asked = [
        (C2D, Qos::AtLeastOnce),
        ("devices/dev1/#", Qos::AtLeastOnce),
    ];
    assert_eq!(
        violation(&mut session, subscribe(&asked)),
        Violation::UnsupportedFilter
    );
    assert!(session.subscriptions().is_empty());
}

#[test]
fn the_sixth_distinct_subscription_closes() {
    let mut session = session();
    let names = ["a", "b", "c", "d", "e"].map(|name| format!("$iothub/methods/POST/{name}/#"));
    for name in &names {
        act(&mut session, subscribe(&[(name, Qos::AtMostOnce)]));
    }
    act(&mut session, subscribe(&[(&names[0], Qos::AtMostOnce)]));
    let sixth = subscribe(&[(TWIN, Qos::AtMostOnce)]);
    assert_eq!(
        violation(&mut session, sixth),
        Violation::TooManySubscriptions
    );
}

#[test]
fn stored_subscriptions_are_active_before_any_subscribe() {
    let mut first = session();
    act(
        &mut first,
        subscribe(&[(C2D, Qos::AtLeastOnce), (METHODS, Qos::AtMostOnce)]),
    );
    let stored = first.subscriptions().to_stored(first.identity());
    let mut second = session();
    second.restore(&stored).unwrap();
    assert_eq!(second.subscriptions(), first.subscriptions());
    assert_eq!(second.delivery_credit(), 16);
    assert!(second.has_feature(Feature::Methods));
}

#[test]
fn a_stored_filter_of_another_device_is_not_restored() {
    let filter = "devices/dev2/messages/devicebound/#".to_owned();
    let stored = [StoredSubscription {
        filter: filter.clone(),
        qos: Qos::AtLeastOnce,
    }];
    let mut session = session();
    assert_eq!(session.restore(&stored), Err(RestoreError { filter }));
    assert_eq!(session.delivery_credit(), 0);
}

#[test]
fn telemetry_carries_its_flags_as_properties_and_asks_for_its_puback() {
    let mut session = session();
    let packet = ClientPacket::Publish(Publish {
        topic: "devices/dev1/messages/events/$.mid=7&k=v/".to_owned(),
        delivery: Delivery::AtLeastOnce {
            packet_id: id(3),
            dup: true,
        },
        retain: true,
        payload: Bytes::from_static(b"21.5"),
    });
    let Action::Telemetry { telemetry, puback } = act(&mut session, packet) else {
        panic!("a publish to the events topic is telemetry");
    };
    assert_eq!(puback, Some(id(3)));
    assert_eq!(telemetry.payload, "21.5");
    assert_eq!(telemetry.properties.get("$.mid"), Some("7"));
    assert_eq!(telemetry.properties.get("mqtt-dup"), Some("true"));
    assert_eq!(telemetry.properties.get("mqtt-retain"), Some("true"));
}

#[test]
fn a_device_cannot_pass_for_another_in_its_properties() {
    let mut session = session();
    let topic = "devices/dev1/messages/events/$.cdid=other&%24.cmid=m&$.cdid=again";
    let Action::Telemetry { telemetry, .. } =
        act(&mut session, publish(topic, Delivery::AtMostOnce, b""))
    else {
        panic!("a publish to the events topic is telemetry");
    };
    assert_eq!(telemetry.properties.get("$.cdid"), Some("dev1"));
    assert_eq!(telemetry.properties.get("$.cmid"), Some(""));
    assert_eq!(telemetry.properties.iter().count(), 2);
}

#[test]
fn payload_and_properties_together_are_limited() {
    static FULL: [u8; 262_144] = [0; 262_144];
    let mut session = session();
    let topic = "devices/dev1/messages/events/";
    act(&mut session, publish(topic, Delivery::AtMostOnce, &FULL));
    let over = publish(
        "devices/dev1/messages/events/a",
        Delivery::AtMostOnce,
        &FULL,
    );
    assert_eq!(
        violation(&mut session, over),
        Violation::MessageTooLarge { bytes: 262_145 }
    );
}

#[test]
fn an_undecodable_bag_or_a_foreign_topic_closes() {
    let mut session = session();
    for topic in [
        "devices/dev1/messages/events/a=%zz",
        "devices/dev2/messages/events/",
        "x",
    ] {
        let found = violation(&mut session, publish(topic, Delivery::AtMostOnce, b""));
        assert!(
            matches!(found, Violation::PropertyBag(_) | Violation::ForeignTopic),
            "{topic}"
        );
    }
}

#[test]
fn twin_and_method_publishes_become_their_actions() {
    let mut session = session();
    assert_eq!(
        act(
            &mut session,
            publish("$iothub/twin/GET/?$rid=a", at_least_once(4), b" ")
        ),
        Action::TwinGet {
            rid: "a".to_owned(),
            puback: Some(id(4))
        }
    );
    let topic = "$iothub/twin/PATCH/properties/reported/?$rid=b&$version=2";
    assert_eq!(
        act(&mut session, publish(topic, Delivery::AtMostOnce, b"{}")),
        Action::TwinPatchReported {
            rid: "b".to_owned(),
            version: ExpectedVersion::Exactly(2),
            body: Bytes::from_static(b"{}"),
            puback: None,
        }
    );
    assert_eq!(
        act(
            &mut session,
            publish("$iothub/methods/res/200/?$rid=c", at_least_once(5), b"null")
        ),
        Action::MethodResponse {
            rid: "c".to_owned(),
            status: 200,
            payload: Bytes::from_static(b"null"),
            puback: Some(id(5)),
        }
    );
}

#[test]
fn nothing_is_delivered_without_a_subscription() {
    let mut session = session();
    assert_eq!(session.delivery_credit(), 0);
    assert_eq!(
        session.place_delivery(1, "lock", Redelivery::No),
        Err("lock")
    );
}

#[test]
fn deliveries_complete_on_their_puback_in_any_order() {
    let mut session = session_with_window(2);
    act(&mut session, subscribe(&[(C2D, Qos::AtLeastOnce)]));
    let mut ids = Vec::new();
    for (sequence, lock) in [(1, "first"), (2, "second")] {
        let placed = session
            .place_delivery(sequence, lock, Redelivery::No)
            .unwrap();
        let Placed::InFlight(Delivery::AtLeastOnce {
            packet_id,
            dup: false,
        }) = placed
        else {
            panic!("{placed:?}");
        };
        ids.push(packet_id);
    }
    assert_eq!(session.delivery_credit(), 0);
    assert_eq!(
        session.place_delivery(3, "third", Redelivery::No),
        Err("third")
    );
    assert_eq!(
        act(&mut session, ClientPacket::Puback(ids[1])),
        Action::Acknowledged("second")
    );
    assert_eq!(session.delivery_credit(), 1);
    assert_eq!(
        session.on_packet(ClientPacket::Puback(ids[1]), Duration::ZERO),
        Ok(None)
    );
    assert_eq!(session.into_unacknowledged().collect::<Vec<_>>(), ["first"]);
}

#[test]
fn a_redelivery_is_marked_and_keeps_its_identifier() {
    let mut session = session();
    act(&mut session, subscribe(&[(C2D, Qos::AtLeastOnce)]));
    let first = session.place_delivery(40, "old", Redelivery::No).unwrap();
    let Placed::InFlight(Delivery::AtLeastOnce { packet_id, .. }) = first else {
        panic!("{first:?}");
    };
    let again = session.place_delivery(40, "new", Redelivery::No).unwrap();
    assert_eq!(
        again,
        Placed::InFlight(Delivery::AtLeastOnce {
            packet_id,
            dup: true
        })
    );
    assert_eq!(
        act(&mut session, ClientPacket::Puback(packet_id)),
        Action::Acknowledged("new")
    );
    let elsewhere = session.place_delivery(41, "x", Redelivery::Yes).unwrap();
    assert!(matches!(elsewhere, Placed::InFlight(delivery) if delivery.is_dup()));
}

#[test]
fn a_withdrawn_delivery_frees_its_place_and_its_late_puback_is_ignored() {
    let mut session = session_with_window(1);
    act(&mut session, subscribe(&[(C2D, Qos::AtLeastOnce)]));
    let placed = session.place_delivery(5, "lock", Redelivery::No).unwrap();
    let Placed::InFlight(Delivery::AtLeastOnce { packet_id, .. }) = placed else {
        panic!("{placed:?}");
    };
    assert_eq!(session.withdraw_delivery(5), Some("lock"));
    assert_eq!(session.delivery_credit(), 1);
    assert_eq!(
        session.on_packet(ClientPacket::Puback(packet_id), Duration::ZERO),
        Ok(None)
    );
}

#[test]
fn at_quality_of_service_zero_a_message_completes_when_written() {
    let mut session = session();
    act(&mut session, subscribe(&[(C2D, Qos::AtMostOnce)]));
    let placed = session.place_delivery(1, "lock", Redelivery::Yes);
    assert_eq!(placed, Ok(Placed::CompleteOnWrite("lock")));
    assert_eq!(session.into_unacknowledged().count(), 0);
}

#[test]
fn any_packet_moves_the_keep_alive_deadline() {
    let mut session = session();
    assert_eq!(session.keep_alive_deadline(), seconds(90));
    let ping = session.on_packet(ClientPacket::Pingreq, seconds(50));
    assert_eq!(ping, Ok(Some(Action::Ping)));
    assert_eq!(session.keep_alive_deadline(), seconds(140));
    session
        .on_packet(ClientPacket::Puback(id(1)), seconds(80))
        .unwrap();
    assert_eq!(session.keep_alive_deadline(), seconds(170));
}

#[test]
fn time_without_a_reader_does_not_count_against_the_client() {
    let mut session = session();
    session.defer_keep_alive(seconds(70));
    assert_eq!(session.keep_alive_deadline(), seconds(160));
    session.defer_keep_alive(seconds(10));
    assert_eq!(session.keep_alive_deadline(), seconds(160));
}

#[test]
fn disconnect_is_a_clean_end() {
    assert_eq!(
        act(&mut session(), ClientPacket::Disconnect),
        Action::Disconnect
    );
}

#[test]
fn violations_name_the_clause_they_break() {
    assert!(
        Violation::SecondConnect
            .to_string()
            .contains("[MQTT-3.1.0-2]")
    );
    let first = Violation::ConnectExpected(PacketKind::Pingreq);
    assert!(first.to_string().contains("[MQTT-3.1.0-1]"));
    assert!(DecodeError::QosThree.to_string().contains("[MQTT-3.3.1-4]"));
}
