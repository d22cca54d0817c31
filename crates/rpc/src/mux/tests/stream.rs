//! Client and server over a carrier.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use downlink_domain::id::DeviceKey;
use downlink_domain::method::MethodError;
use downlink_domain::presence::LeaseEpoch;
use downlink_ports::{GatewayApi, MethodDelivery, Notify, PeerError};
use downlink_runtime::Lifecycle;
use futures::future::join_all;
use tokio::net::TcpListener;

use crate::testing::{Asked, PATIENCE, Staging, staged_gateway};
use crate::{Acceptor, Endpoint, GrpcGatewayClient, MuxOptions, Services};

const UNAVAILABLE: PeerError = PeerError::Unavailable { service: "gateway" };
const LATE: PeerError = PeerError::DeadlineExceeded { service: "gateway" };

fn notify(device: i64, version: u64) -> Notify {
    Notify {
        device: DeviceKey(device),
        version,
        body: Bytes::from_static(b"{}"),
    }
}

fn delivery(timeout: Duration) -> MethodDelivery {
    MethodDelivery {
        device: DeviceKey(1),
        epoch: LeaseEpoch(1),
        name: "reboot".parse().unwrap(),
        payload: Bytes::new(),
        timeout,
    }
}

#[tokio::test]
async fn calls_of_one_device_begin_in_the_order_they_were_made() {
    for lanes in [1, 3] {
        let mut staging = Staging::new();
        let client = staging.client(MuxOptions {
            lanes,
            ..MuxOptions::default()
        });
        let count = 600;
        let calls = (0..count).map(|n| {
            let version = u64::try_from(n / 5).unwrap();
            client.notify(vec![notify(n % 5, version)])
        });
        let serve = async {
            let mut next: HashMap<DeviceKey, u64> = HashMap::new();
            for _ in 0..count {
                let staged = staging.stage.next().await;
                let Asked::Notify(changes) = &staged.asked else {
                    panic!("only notifications were sent");
                };
                let next = next.entry(changes[0].device).or_default();
                assert_eq!(changes[0].version, *next);
                *next += 1;
                staged.succeed();
            }
        };
        let (results, ()) = tokio::join!(join_all(calls), serve);
        assert!(results.iter().all(Result::is_ok));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_at_both_ends() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions {
        call_timeout: Duration::from_secs(3),
        ..MuxOptions::default()
    });
    let (woken, mut staged) = tokio::join!(client.wake(vec![DeviceKey(1)]), staging.stage.next());
    assert_eq!(woken, Err(LATE));
    staged.answer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_ends_at_its_deadline_at_both_ends() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions {
        call_timeout: Duration::from_secs(3),
        ..MuxOptions::default()
    });
    let (ended, mut staged) = tokio::join!(client.disconnect(Vec::new()), staging.stage.next());
    assert_eq!(ended, Err(LATE));
    staged.answer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_method_gets_its_own_budget_and_then_times_out() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions {
        call_timeout: Duration::from_secs(1),
        ..MuxOptions::default()
    });
    let began = tokio::time::Instant::now();
    let budget = Duration::from_mins(5);
    let (invoked, staged) = tokio::join!(client.invoke(delivery(budget)), staging.stage.next());
    assert_eq!(invoked, Err(MethodError::TimedOut));
    assert!(began.elapsed() >= budget && began.elapsed() < budget + Duration::from_secs(5));
    drop(staged);
}

#[tokio::test]
async fn dropping_a_call_cancels_it_at_the_server() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions::default());
    let mut staged = tokio::select! {
        _ = client.wake(vec![DeviceKey(1)]) => panic!("nobody answered"),
        staged = staging.stage.next() => staged,
    };
    let closed = tokio::time::timeout(PATIENCE, staged.answer.closed()).await;
    assert!(closed.is_ok());
}

#[tokio::test]
async fn calls_beyond_the_bound_of_a_lane_are_refused_at_once() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions {
        max_calls: 2,
        ..MuxOptions::default()
    });
    let wake = |device| client.wake(vec![DeviceKey(device)]);
    let serve = async {
        let (first, second) = (staging.stage.next().await, staging.stage.next().await);
        let overloaded = PeerError::Overloaded { service: "gateway" };
        assert_eq!(wake(3).await, Err(overloaded));
        first.succeed();
        second.succeed();
    };
    let (first, second, ()) = tokio::join!(wake(1), wake(2), serve);
    assert_eq!((first, second), (Ok(()), Ok(())));
}

#[tokio::test]
async fn a_server_that_halts_fails_what_it_held_and_refuses_what_comes() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions::default());
    let (woken, ()) = tokio::join!(client.wake(vec![DeviceKey(1)]), async {
        let _staged = staging.stage.next().await;
        staging.server.shutdown(Duration::ZERO).await;
    });
    assert_eq!(woken, Err(UNAVAILABLE));
    assert_eq!(client.wake(vec![DeviceKey(2)]).await, Err(UNAVAILABLE));
    assert_eq!(client.disconnect(Vec::new()).await, Err(UNAVAILABLE));
}

#[tokio::test]
async fn a_draining_server_still_answers() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions::default());
    let held = Lifecycle::clone(&staging.server);
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    held.spawn("held", downlink_runtime::OnError::Log, async {
        let _ = finished.await;
    });
    let drive = async {
        held.draining().await;
        let (woken, ()) = tokio::join!(client.wake(vec![DeviceKey(1)]), async {
            staging.stage.next().await.succeed();
        });
        assert_eq!(woken, Ok(()));
        drop(finish);
    };
    let shutdown = staging.server.shutdown(PATIENCE);
    tokio::join!(shutdown, drive);
}

#[tokio::test]
async fn a_dropped_client_ends_its_calls_at_the_server() {
    let mut staging = Staging::new();
    let client = Arc::new(staging.client(MuxOptions::default()));
    let calling = {
        let client = Arc::clone(&client);
        async move { client.wake(vec![DeviceKey(1)]).await }
    };
    let mut staged = tokio::select! {
        _ = calling => panic!("nobody answered"),
        staged = staging.stage.next() => staged,
    };
    drop(client);
    let closed = tokio::time::timeout(PATIENCE, staged.answer.closed()).await;
    assert!(closed.is_ok());
    let shutdown = staging.caller.shutdown(PATIENCE).await;
    assert_eq!(shutdown, downlink_runtime::Shutdown::Drained);
}

#[tokio::test]
async fn a_client_finds_a_server_that_came_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let caller = Lifecycle::new();
    let endpoint = Endpoint::tcp(&address.to_string());
    let client = GrpcGatewayClient::new(&endpoint, MuxOptions::default(), &caller);

    let first_life = Lifecycle::new();
    let (gateway, mut stage) = staged_gateway();
    let services = Services::new(&first_life).with_gateway(gateway);
    services.serve(Acceptor::tcp(listener, 8));
    let (woken, ()) = tokio::join!(client.wake(vec![DeviceKey(1)]), async {
        stage.next().await.succeed();
    });
    assert_eq!(woken, Ok(()));
    first_life.shutdown(Duration::ZERO).await;

    let second_life = Lifecycle::new();
    let (gateway, mut stage) = staged_gateway();
    let listener = TcpListener::bind(address).await.unwrap();
    let services = Services::new(&second_life).with_gateway(gateway);
    services.serve(Acceptor::tcp(listener, 8));
    let call_until_answered = async {
        while client.wake(vec![DeviceKey(2)]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, async {
        tokio::join!(call_until_answered, async {
            stage.next().await.succeed();
        })
    });
    assert!(answered.await.is_ok());
}

#[tokio::test]
async fn a_service_that_was_never_there_is_unavailable() {
    let caller = Lifecycle::new();
    let (endpoint, acceptor) = crate::in_process();
    drop(acceptor);
    let client = GrpcGatewayClient::new(&endpoint, MuxOptions::default(), &caller);
    assert_eq!(client.wake(vec![DeviceKey(1)]).await, Err(UNAVAILABLE));
}
