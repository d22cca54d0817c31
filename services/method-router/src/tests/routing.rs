//! Where calls go, and that none goes twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use downlink_domain::method::MethodError;
use downlink_ports::{MethodApi, MethodDelivery, PresenceDirectory};
use tokio::time::{Instant, sleep};

use super::support::{Bench, DEVICE, a_call, answer, echo};

#[tokio::test(start_paused = true)]
async fn a_device_that_connects_within_the_connect_timeout_gets_the_call() {
    let bench = Bench::start(echo);
    let started = Instant::now();
    let (outcome, ()) = tokio::join!(bench.router.invoke(a_call(20, 30)), async {
        sleep(Duration::from_secs(5)).await;
        bench.bring_online().await;
    });
    assert!(outcome.is_ok());
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_connected_is_waited_for_until_it_answers_methods() {
    let bench = Bench::start(echo);
    let epoch = bench.connect_to("gateway-a").await;
    let started = Instant::now();
    let (outcome, ()) = tokio::join!(bench.router.invoke(a_call(20, 30)), async {
        sleep(Duration::from_secs(2)).await;
        bench.subscribe(epoch).await;
    });
    assert!(outcome.is_ok());
    assert_eq!(started.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn the_gateway_is_told_which_connection_and_how_long() {
    let bench = Bench::start(echo);
    let epoch = bench.bring_online().await;
    bench.router.invoke(a_call(0, 30)).await.unwrap();
    let call = a_call(0, 30);
    let expected = MethodDelivery {
        device: DEVICE,
        epoch,
        name: call.name,
        payload: call.payload,
        timeout: Duration::from_millis(29_800),
    };
    assert_eq!(*bench.gateway.calls.lock(), [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_route_is_not_tried_again_before_presence_changes() {
    let bench = Bench::start(|_| async { Err(MethodError::NotOnline) });
    bench.bring_online().await;
    let outcome = bench.router.invoke(a_call(0, 30)).await;
    assert_eq!(outcome, Err(MethodError::NotOnline));
    assert_eq!(bench.call_count(), 1);
    let outcome = bench.router.invoke(a_call(10, 30)).await;
    assert_eq!(outcome, Err(MethodError::NotOnline));
    assert_eq!(bench.call_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_stale_route_did_not_take_goes_to_the_new_connection() {
    let offers = Arc::new(AtomicUsize::new(0));
    let bench = Bench::start(move |delivery| {
        let is_first = offers.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if is_first {
                Err(MethodError::NotOnline)
            } else {
                echo(delivery).await
            }
        }
    });
    let old = bench.bring_online().await;
    let (outcome, new) = tokio::join!(bench.router.invoke(a_call(10, 30)), async {
        sleep(Duration::from_secs(1)).await;
        bench.bring_online().await
    });
    assert!(outcome.is_ok());
    let epochs: Vec<_> = bench.gateway.calls.lock().iter().map(|d| d.epoch).collect();
    assert_eq!(epochs, [old, new]);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_during_the_offer_is_followed_without_a_connect_timeout() {
    let presence: Arc<parking_lot::Mutex<Option<Arc<Bench>>>> = Arc::default();
    let known = Arc::clone(&presence);
    let bench = Arc::new(Bench::start(move |delivery: MethodDelivery| {
        let bench = known.lock().take();
        async move {
            match bench {
                Some(bench) => {
                    bench.bring_online().await;
                    Err(MethodError::NotOnline)
                }
                None => echo(delivery).await,
            }
        }
    }));
    *presence.lock() = Some(Arc::clone(&bench));
    bench.bring_online().await;
    assert!(bench.router.invoke(a_call(0, 30)).await.is_ok());
    assert_eq!(bench.call_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_device_on_a_gateway_that_is_gone_is_not_online_until_it_connects_elsewhere() {
    let bench = Bench::start(echo);
    let epoch = bench.connect_to("gateway-gone").await;
    bench.subscribe(epoch).await;
    let outcome = bench.router.invoke(a_call(0, 30)).await;
    assert_eq!(outcome, Err(MethodError::NotOnline));
    let (outcome, _) = tokio::join!(bench.router.invoke(a_call(10, 30)), async {
        sleep(Duration::from_secs(1)).await;
        bench.bring_online().await
    });
    assert!(outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_device_that_comes_and_goes_without_taking_the_call_ends_it_in_bounded_offers() {
    let bench = Arc::new(Bench::start(|_| async { Err(MethodError::NotOnline) }));
    let flapping = async {
        for _ in 0..1_000 {
            let epoch = bench.bring_online().await;
            sleep(Duration::from_millis(10)).await;
            let gone = vec![(DEVICE, epoch)];
            bench.presence.disconnect(gone).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    };
    let (outcome, ()) = tokio::join!(bench.router.invoke(a_call(300, 300)), flapping);
    assert_eq!(outcome, Err(MethodError::NotOnline));
    assert_eq!(bench.call_count(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_reaches_nobody() {
    let bench = Bench::start(|delivery| async {
        sleep(Duration::from_secs(7)).await;
        echo(delivery).await
    });
    bench.bring_online().await;
    let first = bench.router.invoke(a_call(0, 5)).await;
    assert_eq!(first, Err(MethodError::TimedOut));
    let second = bench.router.invoke(a_call(0, 30)).await;
    assert_eq!(second, answer(200, a_call(0, 30).payload));
    assert_eq!(bench.call_count(), 2);
}
