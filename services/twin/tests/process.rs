//! The service in a process of its own.

use downlink_testkit::{assert_names_what_does_not_answer, assert_names_what_it_lacks};

const PROGRAM: &str = env!("CARGO_BIN_EXE_downlink-twin");

#[test]
fn it_names_everything_it_lacks_and_what_to_run_instead() {
    assert_names_what_it_lacks(PROGRAM, &["storage.kind", "presence.kind"]);
}

#[test]
fn it_names_a_database_that_does_not_answer() {
    // Port 9 of loopback: nobody listens there.
    let settings = [
        ("DOWNLINK_STORAGE__KIND", "postgres"),
        (
            "DOWNLINK_STORAGE__POSTGRES__URL",
            "postgres://nobody:hush@127.0.0.1:9/none",
        ),
        ("DOWNLINK_PRESENCE__KIND", "redis"),
        ("DOWNLINK_PRESENCE__REDIS__URLS", "redis://127.0.0.1:9"),
        ("DOWNLINK_LISTEN__METRICS_PORT", "0"),
        ("DOWNLINK_PEERS__PORT", "0"),
    ];
    assert_names_what_does_not_answer(PROGRAM, &settings, "storage.postgres.url");
}
