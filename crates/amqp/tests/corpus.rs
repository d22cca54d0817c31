//! The stored seeds of the fuzz targets, through the functions the targets call: recorded
//! conversations must come to what they came to, whatever pieces they arrive in.

#[path = "../fuzz/harness/lib.rs"]
mod harness;

use std::{
    fs,
    path::{Path, PathBuf},
};

use downlink_amqp::{
    cbs::CbsOperation,
    engine::CloseCause,
    message::{Body, MessageId},
    performative::{DeliveryState, Performative, Role},
    sasl::SaslChoice,
    types::Value,
};
use harness::{Conversation, Script};
use proptest::prelude::*;

/// Sizes of the pieces a recording is cut into; 0 leaves its frames whole.
const STEPS: [usize; 8] = [0, 1, 2, 3, 5, 7, 64, 255];

fn seed(target: &str, name: &str) -> Vec<u8> {
    let path = folder(target).join(name).with_extension("bin");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// The seeds of a target in the order of their names, at least one.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).expect("a folder of seeds");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut seeds: Vec<_> = paths
        .map(|path| (path.display().to_string(), fs::read(path).expect("a seed")))
        .collect();
    assert!(!seeds.is_empty(), "no seeds of {target}");
    seeds.sort();
    seeds
}

/// Replays a recording in pieces of each size; all must come to the same, which is returned.
fn replay(name: &str) -> Conversation {
    let input = seed("connection", name);
    let (script_length, stream) = input.split_first().expect("a length");
    assert_eq!(*script_length, 0, "recordings have no script");
    let mut conversations = STEPS.map(|step| harness::converse(Script::new(&[]), stream, step));
    for (conversation, step) in conversations.iter().zip(STEPS) {
        let (told, first) = (
            format!("{conversation:?}"),
            format!("{:?}", conversations[0]),
        );
        assert_eq!(told, first, "in pieces of {step} bytes");
    }
    std::mem::take(&mut conversations[0])
}

fn attached(conversation: &Conversation) -> Vec<(Role, &str)> {
    let attached = conversation.attached.iter();
    attached
        .map(|(role, address)| (*role, address.as_str()))
        .collect()
}

fn text(body: &Body) -> &str {
    match body {
        Body::Data(data) => std::str::from_utf8(data).expect("text"),
        other => panic!("expected data, got {other:?}"),
    }
}

#[test]
fn node_service_sends_commands_and_takes_feedback() {
    let conversation = replay("node-service");
    assert_eq!(
        conversation.audiences,
        [Some("corpus.downlink.test".to_owned())]
    );
    assert_eq!(
        attached(&conversation),
        [
            (Role::Receiver, "$cbs"),
            (Role::Sender, "$cbs"),
            (Role::Sender, "/messages/serviceBound/feedback"),
            (Role::Receiver, "/messages/devicebound"),
        ]
    );
    let [first, second, third] = conversation.messages.as_slice() else {
        panic!("{} messages", conversation.messages.len());
    };
    assert_eq!(first.0, "/messages/devicebound");
    let to = first.1.properties.to.as_deref();
    assert_eq!(to, Some("/devices/demo-device/messages/devicebound"));
    assert_eq!(
        first.1.properties.message_id,
        Some(MessageId::from("cmd-1"))
    );
    assert_eq!(
        first.1.application_property("color"),
        Some(&Value::from("blue"))
    );
    assert_eq!(text(&first.1.body), "hello");
    // A text that looks like a uuid travels as one, and keeps its letters.
    let id = second.1.properties.message_id.clone().expect("an id");
    assert!(matches!(id, MessageId::Uuid(_)));
    assert_eq!(id.to_string(), "11111111-2222-4333-8444-555555555555");
    assert_eq!(text(&second.1.body).len(), 3_000);
    let to = third.1.properties.to.as_deref();
    assert_eq!(to, Some("/devices/no-such-device/messages/devicebound"));
    // The receiver accepts the one delivery it got.
    assert_eq!(conversation.outcomes, [Some(DeliveryState::Accepted)]);
    assert_eq!(conversation.cause, Some(CloseCause::Peer));
}

proptest! {
    /// The hub's side may do what it likes: the harness panics when the engine does not keep its
    /// word to either end.
    #[test]
    fn conversations_hold_with_any_caller(
        which in any::<prop::sample::Index>(),
        script in prop::collection::vec(any::<u8>(), 1..80),
        step in 0_usize..300,
    ) {
        let seeds = seeds("connection");
        let (_, input) = which.get(&seeds);
        let (length, rest) = input.split_first().expect("a length");
        harness::converse(Script::new(&script), &rest[usize::from(*length)..], step);
    }
}

#[test]
fn every_seed_holds_what_the_targets_check() {
    for (name, input) in seeds("connection") {
        assert!(harness::connection(&input).is_some(), "{name}");
    }
    for (name, input) in seeds("value") {
        assert!(harness::value(&input).is_some(), "{name}");
    }
    for (name, input) in seeds("message") {
        assert!(harness::message(&input).is_some(), "{name}");
    }
    for (name, input) in seeds("cbs") {
        assert!(harness::cbs(&input).is_some(), "{name}");
    }
}

#[test]
fn python_service_sends_commands() {
    let conversation = replay("python-service");
    let audience = "https://corpus.downlink.test".to_owned();
    assert_eq!(conversation.audiences, [Some(audience)]);
    let address = "amqps://corpus.downlink.test/messages/devicebound";
    assert_eq!(
        attached(&conversation),
        [
            (Role::Receiver, "$cbs"),
            (Role::Sender, "$cbs"),
            (Role::Receiver, address)
        ]
    );
    let [first, second, third] = conversation.messages.as_slice() else {
        panic!("{} messages", conversation.messages.len());
    };
    let properties = &first.1.properties;
    assert_eq!(properties.message_id, Some(MessageId::from("py-1")));
    assert_eq!(properties.correlation_id, Some(MessageId::from("c-9")));
    let ack = first.1.application_property("iothub-ack");
    assert_eq!(ack, Some(&Value::from("full")));
    assert_eq!(text(&first.1.body), "hello from python");
    assert_eq!(text(&second.1.body), "second");
    assert_eq!(text(&third.1.body), "third");
    assert_eq!(conversation.cause, Some(CloseCause::Peer));
}

#[test]
fn java_service_sends_commands_over_two_sessions() {
    let conversation = replay("java-service");
    assert_eq!(conversation.container.as_deref(), Some(""));
    assert_eq!(
        attached(&conversation).last(),
        Some(&(Role::Receiver, "/messages/devicebound"))
    );
    let [first, _] = conversation.messages.as_slice() else {
        panic!("{} messages", conversation.messages.len());
    };
    assert_eq!(text(&first.1.body), "hello from java");
    let color = first.1.application_property("color");
    assert_eq!(color, Some(&Value::from("red")));
    assert_eq!(conversation.cause, Some(CloseCause::Peer));
}

#[test]
fn java_service_accepts_feedback() {
    let conversation = replay("java-feedback");
    assert_eq!(
        attached(&conversation).last(),
        Some(&(Role::Sender, "/messages/servicebound/feedback"))
    );
    assert_eq!(conversation.outcomes, [Some(DeliveryState::Accepted)]);
    assert_eq!(conversation.cause, Some(CloseCause::Peer));
}

#[test]
fn node_service_that_was_refused_takes_its_leave() {
    let conversation = replay("node-service-refused");
    assert!(conversation.messages.is_empty());
    assert_eq!(conversation.detached, 3);
    assert_eq!(conversation.cause, Some(CloseCause::Peer));
}

#[test]
fn node_device_settles_messages_and_uses_every_link() {
    let conversation = replay("node-device");
    let audience = "corpus.downlink.test%2Fdevices%2Fnode-device".to_owned();
    assert_eq!(conversation.audiences, [Some(audience)]);
    let device = |path| format!("/devices/node-device/{path}");
    let expected = [
        (Role::Receiver, "$cbs".to_owned()),
        (Role::Sender, "$cbs".to_owned()),
        (Role::Receiver, device("messages/events")),
        (Role::Sender, device("messages/devicebound")),
        (Role::Receiver, device("methods/devicebound")),
        (Role::Receiver, device("twin")),
        (Role::Sender, device("methods/devicebound")),
        (Role::Sender, device("twin")),
    ];
    assert_eq!(conversation.attached, expected);
    let [reading, get, report, subscribe, answer] = conversation.messages.as_slice() else {
        panic!("{} messages", conversation.messages.len());
    };
    assert_eq!(text(&reading.1.body), "{\"t\":21}");
    for (asked, operation) in [(get, "GET"), (report, "PATCH"), (subscribe, "PUT")] {
        assert_eq!(asked.0, device("twin"));
        let named = asked.1.annotation("operation");
        assert_eq!(named, Some(&Value::from(operation)));
    }
    assert_eq!(text(&report.1.body), "{\"interval\":5}");
    let status = answer.1.application_property("IoThub-status");
    assert_eq!(status, Some(&Value::Int(200)));
    // Complete, reject, abandon, and complete what came again.
    assert!(matches!(
        conversation.outcomes[..4],
        [
            Some(DeliveryState::Accepted),
            Some(DeliveryState::Rejected(_)),
            Some(DeliveryState::Released | DeliveryState::Modified { .. }),
            Some(DeliveryState::Accepted)
        ]
    ));
    assert_eq!(conversation.cause, Some(CloseCause::Peer));
}

#[test]
fn java_devices_share_a_connection() {
    let conversation = replay("java-devices");
    let audience = |number| Some(format!("corpus.downlink.test/devices/java-device-{number}"));
    assert_eq!(conversation.audiences, [audience(1), audience(2)]);
    for number in 1..=2 {
        let events = format!("/devices/java-device-{number}/messages/events");
        assert!(attached(&conversation).contains(&(Role::Receiver, &events)));
        let mut readings = conversation.messages.iter();
        let (_, reading) = readings
            .find(|(address, _)| *address == events)
            .expect("a reading");
        assert_eq!(text(&reading.body), format!("{{\"t\":2{number}}}"));
    }
    assert!(
        conversation
            .outcomes
            .contains(&Some(DeliveryState::Released))
    );
    assert!(
        conversation
            .outcomes
            .contains(&Some(DeliveryState::Accepted))
    );
    // It leaves without a word.
    assert_eq!(conversation.cause, Some(CloseCause::Lost));
}

#[test]
fn user_of_sasl_plain_is_told() {
    let conversation = replay("built-plain");
    assert_eq!(conversation.user.as_deref(), Some("device@sas.hub1"));
    assert_eq!(conversation.cause, Some(CloseCause::Peer));
}

#[test]
fn tokens_are_put_by_ids_of_three_types() {
    let put = |name| {
        let request = harness::cbs(&seed("cbs", name)).expect("a request");
        let CbsOperation::PutToken(put) = request.operation else {
            panic!("no put-token");
        };
        assert!(put.token.starts_with("SharedAccessSignature "));
        (request.message_id, put.name)
    };
    let (id, name) = put("node-service-1");
    assert!(matches!(id, Some(MessageId::String(_))));
    assert_eq!(name.as_deref(), Some("corpus.downlink.test"));
    let (id, name) = put("java-service-1");
    assert!(matches!(id, Some(MessageId::Uuid(_))));
    assert_eq!(name.as_deref(), Some("corpus.downlink.test"));
    let (id, name) = put("python-service-1");
    assert!(matches!(id, Some(MessageId::Ulong(_))));
    assert_eq!(name.as_deref(), Some("https://corpus.downlink.test"));
}

#[test]
fn mechanisms_are_chosen_as_each_client_does() {
    let choice = |name| harness::sasl(&seed("sasl", name));
    assert_eq!(choice("java-feedback-1"), Some(SaslChoice::Anonymous));
    assert_eq!(choice("python-service-1"), Some(SaslChoice::Anonymous));
    assert_eq!(choice("external"), Some(SaslChoice::External));
    for (name, user) in [
        ("plain-service", "service@sas.root.hub1"),
        ("plain-device", "demo-device@sas.hub1"),
    ] {
        let Some(SaslChoice::Plain(credential)) = choice(name) else {
            panic!("no credential in {name}");
        };
        assert_eq!(credential.authcid, user);
    }
    assert_eq!(choice("real-hub-outcome"), None);
}

/// Frames of the real hub as amqp.md §13 lists them.
#[test]
fn frames_of_the_real_hub_are_read() {
    let frames = harness::frames(&seed("frame", "real-hub"));
    let [
        Performative::Open(open),
        Performative::Begin(begin),
        Performative::Attach(cbs),
        ..,
    ] = frames.as_slice()
    else {
        panic!("{frames:?}");
    };
    assert_eq!((open.max_frame_size, open.channel_max), (65_536, 8_191));
    assert_eq!(open.idle_time_out, Some(240_000));
    assert_eq!(begin.remote_channel, Some(0));
    assert_eq!(
        (cbs.role, cbs.max_message_size),
        (Role::Receiver, Some(1_048_576))
    );
    let attaches = frames
        .iter()
        .filter(|frame| matches!(frame, Performative::Attach(_)));
    assert_eq!(attaches.count(), 8);

    let twin = harness::message(&seed("message", "real-hub-twin")).expect("a message");
    assert_eq!(twin.annotation("status"), Some(&Value::Int(200)));
    assert!(text(&twin.body).starts_with("{\"desired\":"));
    let reply = harness::message(&seed("message", "real-hub-cbs-reply")).expect("a message");
    assert_eq!(reply.properties.correlation_id, Some(MessageId::Ulong(0)));
    assert_eq!(reply.body, Body::Empty);
}
