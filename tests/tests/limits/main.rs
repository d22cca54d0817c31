//! Rates of a hub that two gateways share through Redis: a greedy device is slowed, its neighbours are not.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod hub;

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use crate::hub::{Hub, Sent};

/// What the hub does in a second, of telemetry.
const RATE: f64 = 60.0;
/// What a neighbour sends in a second.
const QUIET: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greedy_device_is_slowed_and_its_neighbours_on_two_gateways_are_not() {
    measure(Duration::from_secs(8)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the same for longer: run it with --ignored --nocapture for the figures"]
async fn the_rate_is_kept_over_half_a_minute() {
    measure(Duration::from_secs(30)).await;
}

async fn measure(measured: Duration) {
    let hub = Hub::start();
    let limits = json!({"hub": {"telemetry": "60/s burst 6"}});
    // Stated at one gateway, it holds at both.
    hub.manage("PUT", "/admin/limits", &limits).await;
    let from = Instant::now() + Duration::from_secs(5);
    let until = from + measured;
    let greedy = [0, 1].map(|gateway| {
        let name = format!("greedy-{gateway}");
        let hub = &hub;
        async move {
            hub.device(&name)
                .await
                .send_greedily(hub, gateway, from, until)
                .await
        }
    });
    let quiet = [0, 0, 1, 1]
        .into_iter()
        .enumerate()
        .map(|(number, gateway)| {
            let name = format!("quiet-{number}");
            let hub = &hub;
            async move {
                hub.device(&name)
                    .await
                    .send_each(hub, gateway, QUIET, from, until)
                    .await
            }
        });
    let (greedy, quiet) = futures::join!(join_all(greedy), join_all(quiet));
    let count = |sent: &[Sent]| sent.iter().map(|sent| sent.acknowledged).sum::<u32>();
    let total = f64::from(count(&greedy) + count(&quiet)) / measured.as_secs_f64();
    let waits = quiet.iter().map(|sent| sent.longest_wait);
    let longest = waits.max().unwrap_or_default();
    tell(&format!(
        "{total:.1} of {RATE} a second, neighbours wait {longest:?} at most: {greedy:?} {quiet:?}"
    ));
    let error = (total - RATE).abs() / RATE;
    assert!(
        error < 0.1,
        "{total} of {RATE} a second: {greedy:?} {quiet:?}"
    );
    for sent in &greedy {
        assert!(sent.acknowledged > 40, "one gateway starves: {greedy:?}");
    }
    // Debug builds share two cores with whatever else is tested; without turns it would be many seconds.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    hub.stop();
}

/// Prints the figures for whoever runs with `--nocapture`.
#[expect(
    clippy::print_stdout,
    reason = "the figures of a run are read by people"
)]
fn tell(figures: &str) {
    println!("{figures}");
}
