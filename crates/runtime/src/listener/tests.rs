use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{BindError, Listener, ListenerOptions, is_peer_failure};
use crate::lifecycle::{Lifecycle, Shutdown};

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn options() -> ListenerOptions {
    ListenerOptions::new(LOOPBACK, "--https-port")
}

#[tokio::test]
async fn taken_port_is_named_with_its_cure() {
    let first = Listener::bind(&options()).unwrap();
    let taken = first.local_address();
    let error = Listener::bind(&ListenerOptions {
        address: taken,
        ..options()
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "port {} on 127.0.0.1 is taken by another process: stop it or set --https-port",
            taken.port()
        )
    );
    assert_eq!(error.address(), taken);
}

#[test]
fn port_that_is_not_permitted_is_named_with_its_cure() {
    let address = "127.0.0.1:443".parse().unwrap();
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let text = BindError::new(address, "--https-port", denied).to_string();
    assert!(text.starts_with("port 443 on 127.0.0.1 is not permitted: grant cap_net_bind_service"));
    assert!(text.contains("a port above 1023 with --https-port"));
    assert!(!text.contains('\n'));
}

#[tokio::test]
async fn address_of_another_machine_is_told_apart() {
    // TEST-NET-1 (RFC 5737) is on no interface.
    let address = "192.0.2.1:0".parse().unwrap();
    let error = Listener::bind(&ListenerOptions {
        address,
        ..options()
    })
    .unwrap_err();
    assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
}

#[tokio::test]
async fn each_connection_is_served_in_a_task_of_its_own() {
    let lifecycle = Lifecycle::new();
    let listener = Listener::bind(&options()).unwrap();
    let address = listener.local_address();
    listener.serve(&lifecycle, "echo", |mut stream, _peer| async move {
        assert!(stream.nodelay()?);
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        stream.write_all(&byte).await
    });
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut talking = TcpStream::connect(address).await.unwrap();
    assert_eq!(
        echo(&mut talking, 7).await.unwrap(),
        7,
        "the silent one does not hold it up"
    );
    assert_eq!(echo(&mut silent, 8).await.unwrap(), 8);
    assert_eq!(
        lifecycle.shutdown(Duration::from_secs(5)).await,
        Shutdown::Drained
    );
    TcpStream::connect(address)
        .await
        .expect_err("the socket is closed");
}

#[tokio::test]
async fn connection_beyond_the_bound_is_closed_and_room_is_given_back() {
    let lifecycle = Lifecycle::new();
    let listener = Listener::bind(&ListenerOptions {
        max_connections: 1,
        ..options()
    })
    .unwrap();
    let address = listener.local_address();
    let (ended, mut has_ended) = mpsc::channel(1);
    listener.serve(&lifecycle, "echo", move |mut stream, _peer| {
        let ended = ended.clone();
        async move {
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                stream.write_all(&byte).await?;
            }
            ended.send(()).await.map_err(io::Error::other)
        }
    });
    let mut first = TcpStream::connect(address).await.unwrap();
    assert_eq!(echo(&mut first, 1).await.unwrap(), 1);
    let mut second = TcpStream::connect(address).await.unwrap();
    echo(&mut second, 2).await.expect_err("closed at once");
    assert_eq!(
        echo(&mut first, 3).await.unwrap(),
        3,
        "the open one is unharmed"
    );
    drop(first);
    has_ended.recv().await.unwrap();
    // The slot is dropped just after the handler said that it ended.
    let mut third = TcpStream::connect(address).await.unwrap();
    while echo(&mut third, 4).await.is_err() {
        third = TcpStream::connect(address).await.unwrap();
    }
}

#[tokio::test]
async fn open_connections_are_counted() {
    let listener = Listener::bind(&options()).unwrap();
    let address = listener.local_address();
    let open = listener.open_connections();
    let mut acceptor = listener.into_acceptor();
    let _client = TcpStream::connect(address).await.unwrap();
    let accepted = acceptor.accept().await;
    assert_eq!(open.count(), 1);
    drop(accepted);
    assert_eq!(open.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_when_the_system_is_exhausted_and_not_when_a_peer_gave_up() {
    let mut acceptor = Listener::bind(&options()).unwrap().into_acceptor();
    let exhausted = io::Error::from(io::ErrorKind::OutOfMemory);
    let start = tokio::time::Instant::now();
    for _ in 0..9 {
        acceptor.pause_after(&exhausted).await;
    }
    // 10 + 20 + … + 640 ms, then 1 s each.
    assert_eq!(start.elapsed(), Duration::from_millis(1_270 + 2_000));
    let start = tokio::time::Instant::now();
    acceptor
        .pause_after(&io::Error::from(io::ErrorKind::ConnectionAborted))
        .await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(!is_peer_failure(&exhausted));
}

async fn echo(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
    stream.write_all(&[byte]).await?;
    stream.read_u8().await
}
