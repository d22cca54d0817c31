use std::time::Duration;

use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_ports::{GatewayApi, Gateways, PeerError};
use downlink_runtime::Lifecycle;
use futures::future::join_all;
use tokio::net::TcpListener;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::testing::{Asked, PATIENCE, Staging, staged_gateway};
use crate::{Acceptor, Endpoint, GatewayPool, GrpcGatewayClient, MuxOptions, Services, in_process};

#[tokio::test]
async fn many_connections_share_one_acceptor() {
    let mut staging = Staging::new();
    let clients: Vec<_> = (0..200)
        .map(|_| staging.client(MuxOptions::default()))
        .collect();
    let calls = clients.iter().map(|client| client.wake(vec![DeviceKey(1)]));
    let (woken, ()) = tokio::join!(join_all(calls), async {
        for _ in 0..clients.len() {
            staging.stage.next().await.succeed();
        }
    });
    assert!(woken.iter().all(Result::is_ok));
}

#[tokio::test]
async fn the_same_calls_go_over_tcp() {
    let (server, caller) = (Lifecycle::new(), Lifecycle::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::tcp(listener, 8);
    let address = acceptor.local_addr().unwrap().to_string();
    let (gateway, mut stage) = staged_gateway();
    Services::new(&server).with_gateway(gateway).serve(acceptor);
    let endpoint = Endpoint::tcp(&address);
    let client = GrpcGatewayClient::new(&endpoint, MuxOptions::default(), &caller);
    let (woken, ended, ()) = tokio::join!(
        client.wake(vec![DeviceKey(1)]),
        client.disconnect(Vec::new()),
        async {
            stage.next().await.succeed();
            stage.next().await.succeed();
        }
    );
    assert_eq!((woken, ended), (Ok(()), Ok(())));
}

#[tokio::test]
async fn a_connection_beyond_the_bound_waits_for_a_place() {
    let (server, caller) = (Lifecycle::new(), Lifecycle::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::tcp(listener, 1);
    let address = acceptor.local_addr().unwrap().to_string();
    let (gateway, mut stage) = staged_gateway();
    Services::new(&server).with_gateway(gateway).serve(acceptor);
    let connect = |call_timeout| {
        let options = MuxOptions {
            call_timeout,
            ..MuxOptions::default()
        };
        GrpcGatewayClient::new(&Endpoint::tcp(&address), options, &caller)
    };
    let first = connect(PATIENCE);
    let (woken, ()) = tokio::join!(first.wake(vec![DeviceKey(1)]), async {
        stage.next().await.succeed();
    });
    assert_eq!(woken, Ok(()));

    let late = PeerError::DeadlineExceeded { service: "gateway" };
    let second = connect(Duration::from_millis(100));
    assert_eq!(second.wake(vec![DeviceKey(2)]).await, Err(late));
    drop((first, second));
    let third = connect(PATIENCE);
    let (woken, ()) = tokio::join!(third.wake(vec![DeviceKey(3)]), async {
        let staged = stage.next().await;
        assert_eq!(staged.asked, Asked::Wake(vec![DeviceKey(3)]));
        staged.succeed();
    });
    assert_eq!(woken, Ok(()));
}

#[tokio::test]
async fn health_is_told_per_service_and_falls_with_the_drain() {
    let (gateway, _stage) = staged_gateway();
    let (endpoint, acceptor) = in_process();
    let server = Lifecycle::new();
    Services::new(&server).with_gateway(gateway).serve(acceptor);
    let mut health = HealthClient::new(endpoint.connect_lazy());
    let request = HealthCheckRequest {
        service: "downlink.v1.GatewayService".to_owned(),
    };
    let mut told = health.watch(request).await.unwrap().into_inner();
    let mut until = async |wanted| {
        loop {
            let next = tokio::time::timeout(PATIENCE, told.message()).await;
            let status = next.expect("health is told").unwrap().unwrap().status();
            if status == wanted {
                return;
            }
        }
    };
    until(ServingStatus::Serving).await;
    // Holds the drain open until its effect was seen.
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    server.spawn("held", downlink_runtime::OnError::Log, async {
        let _ = finished.await;
    });
    let observe = async {
        until(ServingStatus::NotServing).await;
        drop(finish);
    };
    tokio::join!(server.shutdown(PATIENCE), observe);
}

#[tokio::test]
async fn a_pool_finds_gateways_by_the_id_that_presence_names() {
    let mut staging = Staging::new();
    let pool = GatewayPool::new();
    let id: GatewayId = "gateway-1".parse().unwrap();
    assert!(pool.find(&id).is_none());
    let client = staging.client(MuxOptions::default());
    pool.register(id.clone(), std::sync::Arc::new(client));
    let found = pool.clone().find(&id).unwrap();
    let (woken, ()) = tokio::join!(found.wake(vec![DeviceKey(5)]), async {
        let staged = staging.stage.next().await;
        assert_eq!(staged.asked, Asked::Wake(vec![DeviceKey(5)]));
        staged.succeed();
    });
    assert_eq!(woken, Ok(()));
    pool.remove(&id);
    assert!(pool.find(&id).is_none());
}
