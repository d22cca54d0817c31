//! Two gateways that both want one device.

use crate::support::Run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_without_any_failure() {
    let run = Run::start().await;
    run.goes_on().await;
    let verdict = run.end().await;
    verdict.assert_kept();
    // Only what a device has abandoned comes again, once and marked.
    let abandoned = verdict.abandoned.len();
    assert!(abandoned > 0, "{verdict}");
    assert_eq!(verdict.repeats, abandoned, "{verdict}");
    assert_eq!(verdict.marked, abandoned, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_two_gateways_claim_each_device() {
    let run = Run::start_contested().await;
    run.goes_on().await;
    run.goes_on().await;
    let verdict = run.end().await;
    verdict.assert_kept();
    assert!(verdict.reconnects > 10, "{verdict}");
}
