//! What a caller is told.

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::method::{MethodCall, MethodError};
use downlink_ports::{MethodApi, MethodDelivery};
use downlink_runtime::Shutdown;
use tokio::time::{Instant, sleep};

use super::support::{Bench, a_call, answer, echo};
use crate::MethodOptions;

const LIMIT: usize = 128 * 1024;

fn text_of(bytes: usize) -> Bytes {
    let mut text = vec![b'x'; bytes];
    text[0] = b'"';
    text[bytes - 1] = b'"';
    text.into()
}

#[tokio::test(start_paused = true)]
async fn a_connected_device_answers_with_what_it_likes() {
    let bench = Bench::start(echo);
    bench.bring_online().await;
    for payload in [
        "",
        "null",
        "true",
        "12",
        "\"a\"",
        "[1,[2]]",
        "{\"a\":{\"b\":null}}",
    ] {
        let call = MethodCall {
            payload: Bytes::from_static(payload.as_bytes()),
            ..a_call(0, 30)
        };
        assert_eq!(bench.router.invoke(call).await, answer(200, payload));
    }
    assert_eq!(bench.counted("answered"), 7);
}

#[tokio::test(start_paused = true)]
async fn any_status_of_the_device_is_an_answer() {
    let bench = Bench::start(|_| async { answer(500, "{}") });
    bench.bring_online().await;
    assert_eq!(bench.router.invoke(a_call(0, 30)).await, answer(500, "{}"));
}

#[tokio::test(start_paused = true)]
async fn an_offline_device_is_not_online_at_once_without_a_connect_timeout() {
    let bench = Bench::start(echo);
    let started = Instant::now();
    let outcome = bench.router.invoke(a_call(0, 30)).await;
    assert_eq!(outcome, Err(MethodError::NotOnline));
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(bench.counted("offline"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_takes_no_methods_is_told_from_one_that_is_not_there() {
    let bench = Bench::start(echo);
    let epoch = bench.connect_to("gateway-a").await;
    for connect in [0, 10] {
        let outcome = bench.router.invoke(a_call(connect, 30)).await;
        assert_eq!(outcome, Err(MethodError::NotSubscribed));
    }
    assert_eq!(bench.call_count(), 0);
    assert_eq!(bench.counted("not-subscribed"), 2);
    // The last word counts.
    let (outcome, ()) = tokio::join!(bench.router.invoke(a_call(10, 30)), async {
        sleep(Duration::from_secs(5)).await;
        bench.leave(epoch).await;
    });
    assert_eq!(outcome, Err(MethodError::NotOnline));
}

#[tokio::test(start_paused = true)]
async fn an_offline_device_is_waited_for_until_the_connect_timeout() {
    let bench = Bench::start(echo);
    let started = Instant::now();
    let outcome = bench.router.invoke(a_call(20, 30)).await;
    assert_eq!(outcome, Err(MethodError::NotOnline));
    assert_eq!(started.elapsed(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_slow_times_out_shortly_before_the_response_timeout() {
    let bench = Bench::start(|_| async {
        sleep(Duration::from_mins(10)).await;
        answer(200, "1")
    });
    bench.bring_online().await;
    let started = Instant::now();
    let outcome = bench.router.invoke(a_call(0, 5)).await;
    assert_eq!(outcome, Err(MethodError::TimedOut));
    assert_eq!(started.elapsed(), Duration::from_millis(4_800));
    assert_eq!(bench.call_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_connect_wait_is_part_of_the_response_timeout() {
    let bench = Bench::start(|_| async {
        sleep(Duration::from_mins(10)).await;
        answer(200, "1")
    });
    let started = Instant::now();
    let (outcome, ()) = tokio::join!(bench.router.invoke(a_call(20, 30)), async {
        sleep(Duration::from_secs(15)).await;
        bench.bring_online().await;
    });
    assert_eq!(outcome, Err(MethodError::TimedOut));
    assert_eq!(started.elapsed(), Duration::from_millis(29_800));
    let left = bench.gateway.calls.lock()[0].timeout;
    assert_eq!(left, Duration::from_millis(14_800));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_fails_its_calls_at_once_and_nothing_is_sent_again() {
    for (told, heard) in [
        (MethodError::ConnectionLost, MethodError::ConnectionLost),
        (MethodError::Superseded, MethodError::Superseded),
        (MethodError::Unavailable, MethodError::ConnectionLost),
        (MethodError::TimedOut, MethodError::TimedOut),
        (MethodError::BadAnswer, MethodError::BadAnswer),
        (MethodError::TooManyInFlight, MethodError::TooManyInFlight),
    ] {
        let bench = Bench::start(move |_| async move { Err(told) });
        bench.bring_online().await;
        let started = Instant::now();
        assert_eq!(bench.router.invoke(a_call(20, 30)).await, Err(heard));
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(bench.call_count(), 1, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn payloads_up_to_the_limit_pass_both_ways() {
    let bench = Bench::start(echo);
    bench.bring_online().await;
    let sized = |bytes| MethodCall {
        payload: text_of(bytes),
        ..a_call(0, 30)
    };
    let outcome = bench.router.invoke(sized(LIMIT)).await;
    assert_eq!(outcome, answer(200, text_of(LIMIT)));
    let outcome = bench.router.invoke(sized(LIMIT + 1)).await;
    assert_eq!(outcome, Err(MethodError::PayloadTooLarge));
    assert_eq!(bench.call_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_or_not_json_is_a_bad_answer() {
    for payload in [
        text_of(LIMIT + 1),
        Bytes::from_static(b"{not json"),
        Bytes::from_static(b"\"\xff\""),
    ] {
        let bench = Bench::start(move |_| {
            let payload = payload.clone();
            async move { answer(200, payload) }
        });
        bench.bring_online().await;
        let outcome = bench.router.invoke(a_call(0, 30)).await;
        assert_eq!(outcome, Err(MethodError::BadAnswer));
    }
}

#[tokio::test(start_paused = true)]
async fn parallel_calls_to_one_device_get_their_own_answers() {
    let bench = Bench::start(|delivery: MethodDelivery| async move {
        // The later the call, the sooner its answer.
        let number: u64 = std::str::from_utf8(&delivery.payload)
            .unwrap()
            .parse()
            .unwrap();
        sleep(Duration::from_millis(100 - number)).await;
        echo(delivery).await
    });
    bench.bring_online().await;
    let calls = (0..10).map(|number| {
        bench.router.invoke(MethodCall {
            payload: number.to_string().into(),
            ..a_call(0, 30)
        })
    });
    let outcomes = futures::future::join_all(calls).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome, answer(200, number.to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_hundred_and_first_call_in_flight_for_a_device_is_refused() {
    let bench = Bench::start(|delivery| async {
        sleep(Duration::from_secs(1)).await;
        echo(delivery).await
    });
    bench.bring_online().await;
    let calls = (0..101).map(|_| bench.router.invoke(a_call(0, 30)));
    let mut outcomes = futures::future::join_all(calls).await;
    assert_eq!(outcomes.pop(), Some(Err(MethodError::TooManyInFlight)));
    assert!(outcomes.iter().all(Result::is_ok));
    assert!(bench.router.invoke(a_call(0, 30)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn more_calls_than_the_node_holds_are_refused_as_unavailable() {
    let options = MethodOptions {
        max_in_flight: 1.try_into().unwrap(),
        ..MethodOptions::default()
    };
    let bench = Bench::start_with(options, echo);
    let waiting = bench.router.invoke(a_call(20, 30));
    tokio::pin!(waiting);
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    let outcome = bench.router.invoke(a_call(0, 30)).await;
    assert_eq!(outcome, Err(MethodError::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_frees_its_place() {
    let options = MethodOptions {
        max_per_device: 1.try_into().unwrap(),
        ..MethodOptions::default()
    };
    let bench = Bench::start_with(options, echo);
    {
        let waiting = bench.router.invoke(a_call(20, 30));
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
    }
    bench.bring_online().await;
    assert!(bench.router.invoke(a_call(0, 30)).await.is_ok());
    assert_eq!(bench.counted("hung-up"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_refuses_what_was_not_handed_over_and_lets_the_rest_finish() {
    let bench = Bench::start(|delivery| async {
        sleep(Duration::from_secs(3)).await;
        echo(delivery).await
    });
    let waiting = bench.router.invoke(a_call(20, 30));
    tokio::pin!(waiting);
    assert!(futures::poll!(waiting.as_mut()).is_pending());

    let other = Bench::start(|delivery| async {
        sleep(Duration::from_secs(3)).await;
        echo(delivery).await
    });
    other.bring_online().await;
    let handed_over = other.router.invoke(a_call(0, 30));
    let (refused, answered, first, second) = tokio::join!(
        waiting,
        handed_over,
        bench.lifecycle.shutdown(Duration::from_secs(10)),
        async {
            tokio::task::yield_now().await;
            other.lifecycle.shutdown(Duration::from_secs(10)).await
        },
    );
    assert_eq!(refused, Err(MethodError::Unavailable));
    assert!(answered.is_ok());
    assert_eq!((first, second), (Shutdown::Drained, Shutdown::Drained));
    let late = other.router.invoke(a_call(0, 30)).await;
    assert_eq!(late, Err(MethodError::Unavailable));
}
