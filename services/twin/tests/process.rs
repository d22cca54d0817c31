//! The service in a process of its own.

use downlink_testkit::assert_refuses_to_run_alone;

#[test]
fn it_names_a_bad_setting_else_what_it_lacks_and_what_to_run_instead() {
    assert_refuses_to_run_alone(env!("CARGO_BIN_EXE_downlink-twin"));
}
