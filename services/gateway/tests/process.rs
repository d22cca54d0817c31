//! The service in a process of its own.

use downlink_testkit::assert_names_what_it_lacks;

const PROGRAM: &str = env!("CARGO_BIN_EXE_downlink-gateway");

#[test]
fn it_names_everything_it_lacks_and_what_to_run_instead() {
    assert_names_what_it_lacks(
        PROGRAM,
        &[
            "presence.kind",
            "tls.certificate_file",
            "peers.queue",
            "peers.methods",
            "peers.twins",
        ],
    );
}
