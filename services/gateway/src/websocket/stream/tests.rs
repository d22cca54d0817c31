//! The stream against a client of another make, and against a peer that writes what it likes.

use std::future::poll_fn;
use std::task::Waker;

use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::*;

type Client = tokio_tungstenite::WebSocketStream<DuplexStream>;

async fn stream(io: DuplexStream) -> WebSocketStream<DuplexStream> {
    WebSocketStream::new(io, Bytes::new(), CancellationToken::new()).await
}

/// A client and the stream it talks to, with a pipe of `room` bytes between them.
async fn pair(room: usize) -> (Client, WebSocketStream<DuplexStream>) {
    let (near, far) = duplex(room);
    let client = Client::from_raw_socket(near, Role::Client, None).await;
    (client, stream(far).await)
}

/// A peer that writes frames of its own making, and the stream it talks to.
async fn raw_pair(room: usize) -> (DuplexStream, WebSocketStream<DuplexStream>) {
    let (near, far) = duplex(room);
    (near, stream(far).await)
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn poll_read(stream: &mut WebSocketStream<DuplexStream>, room: usize) -> Poll<io::Result<Vec<u8>>> {
    let mut bytes = vec![0; room];
    let mut buffer = ReadBuf::new(&mut bytes);
    ready!(Pin::new(stream).poll_read(&mut context(), &mut buffer))?;
    let filled = buffer.filled().len();
    bytes.truncate(filled);
    Poll::Ready(Ok(bytes))
}

fn poll_write(stream: &mut WebSocketStream<DuplexStream>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_write(&mut context(), bytes)
}

fn poll_flush(stream: &mut WebSocketStream<DuplexStream>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_flush(&mut context())
}

fn close_code(message: Message) -> u16 {
    match message {
        Message::Close(Some(CloseFrame { code, .. })) => code.into(),
        other => panic!("no close: {other:?}"),
    }
}

/// Bytes that show where they are in a stream.
fn counted(len: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().step_by(7).take(len).collect()
}

/// Sends `sent` in messages of the sizes given, each behind a ping, while it gathers what comes: `until` bytes, and an
/// answer to a ping.
async fn talk(client: Client, sent: &[u8], sizes: &[usize], until: usize) -> Vec<u8> {
    let (mut sink, mut messages) = client.split();
    let sending = async {
        let (mut rest, mut sizes) = (sent, sizes.iter().cycle());
        loop {
            let ping = Message::Ping(Bytes::from_static(b"there?"));
            sink.feed(ping).await.unwrap();
            let (message, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            rest = after;
            sink.send(Message::binary(message.to_vec())).await.unwrap();
            if rest.is_empty() {
                return;
            }
        }
    };
    let gathering = async {
        let (mut received, mut is_answered) = (Vec::new(), false);
        while received.len() < until || !is_answered {
            match messages.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => received.extend_from_slice(&bytes),
                Message::Pong(payload) => {
                    assert_eq!(&payload[..], b"there?");
                    is_answered = true;
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        received
    };
    futures::join!(sending, gathering).1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn both_directions_are_streams_whatever_the_pieces(
        room in prop_oneof![5_usize..40, 200_usize..5_000, Just(100_000_usize)],
        sizes in prop::collection::vec(0_usize..3_000, 1..5).prop_filter("some bytes", |sizes| sizes.iter().any(|size| *size > 0)),
        writes in prop::collection::vec(1_usize..40_000, 1..5),
        reads in 1_usize..9_000,
        to_server in 0_usize..20_000,
        to_client in 0_usize..60_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, stream) = pair(room).await;
            let (upward, downward) = (counted(to_server), counted(to_client));
            let (mut reader, mut writer) = tokio::io::split(stream);
            let reading = async {
                let (mut received, mut chunk) = (Vec::new(), vec![0; reads]);
                // Goes on after all has come, since pings are answered by reading.
                loop {
                    if received.len() == to_server {
                        break;
                    }
                    let read = reader.read(&mut chunk).await.unwrap();
                    received.extend_from_slice(&chunk[..read]);
                }
                let answering = reader.read(&mut chunk);
                (received, answering.await.unwrap_or(0))
            };
            let writing = async {
                let (mut rest, mut sizes) = (&downward[..], writes.iter().cycle());
                while !rest.is_empty() {
                    let (part, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                    rest = after;
                    let (one, other) = part.split_at(part.len() / 3);
                    let mut slices = [IoSlice::new(one), IoSlice::new(other)];
                    let mut slices = &mut slices[..];
                    while !slices.is_empty() {
                        let written = writer.write_vectored(slices).await.unwrap();
                        IoSlice::advance_slices(&mut slices, written);
                        slices = skip_empty(slices);
                    }
                    // The client may have gone with all that it waited for.
                    let _ = writer.flush().await;
                }
            };
            let talking = talk(client, &upward, &sizes, to_client);
            let ((received, _), (), answered) = futures::join!(reading, writing, talking);
            assert!(received == upward, "what the client sent came otherwise");
            assert!(answered == downward, "what the hub wrote came otherwise");
        });
    }
}

fn skip_empty<'a, 'b>(slices: &'b mut [IoSlice<'a>]) -> &'b mut [IoSlice<'a>] {
    let empty = slices.iter().take_while(|slice| slice.is_empty()).count();
    &mut slices[empty..]
}

#[tokio::test]
async fn what_came_behind_the_handshake_is_read_first() {
    let (mut peer, far) = duplex(1024);
    let early = Bytes::from_static(&[0x82, 0x83, 0, 0, 0, 0, b'a', b'b', b'c', 0x82]);
    let mut stream = WebSocketStream::new(far, early, CancellationToken::new()).await;
    peer.write_all(&[0x82, 0, 0, 0, 0, b'd', b'e'])
        .await
        .unwrap();
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"abcde");
}

/// Reads what there is without waiting.
fn take(peer: &mut DuplexStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *peer).poll_read(&mut context(), &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                all.extend_from_slice(buffer.filled());
            }
            _ => return all,
        }
    }
}

#[tokio::test]
async fn a_peer_that_takes_nothing_stops_the_writer_with_one_frame_kept() {
    let (mut peer, mut stream) = raw_pair(100).await;
    let taken = poll_write(&mut stream, &vec![7; 50_000]);
    assert!(
        matches!(taken, Poll::Ready(Ok(MAX_PAYLOAD_BYTES))),
        "{taken:?}"
    );
    let mut came = Vec::new();
    while came.len() < MAX_PAYLOAD_BYTES + 4 {
        if came.len() + 100 < MAX_PAYLOAD_BYTES + 4 {
            assert!(poll_write(&mut stream, &[8; 10]).is_pending());
        } else {
            let _ = poll_flush(&mut stream);
        }
        came.extend(take(&mut peer));
    }
    assert_eq!(came[..4], [0x82, 126, 0x0F, 0xFC]);
    assert_eq!(came[4..], [7; MAX_PAYLOAD_BYTES]);
    assert!(matches!(
        poll_write(&mut stream, &[8; 10]),
        Poll::Ready(Ok(10))
    ));
    assert_eq!(take(&mut peer)[..3], [0x82, 10, 8]);
}

#[tokio::test]
async fn a_frame_leaves_although_its_writer_only_reads_on() {
    let (mut peer, mut stream) = raw_pair(8).await;
    let Poll::Ready(Ok(30)) = poll_write(&mut stream, &[1; 30]) else {
        panic!("a frame is taken");
    };
    let mut came = Vec::new();
    let reading = poll_fn(|cx| {
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        Pin::new(&mut stream).poll_read(cx, &mut buffer)
    });
    tokio::select! {
        _ = reading => panic!("the peer says nothing"),
        () = async {
            while came.len() < 32 {
                came.push(peer.read_u8().await.unwrap());
            }
        } => {}
    }
    assert_eq!(came[..2], [0x82, 30]);
}

#[tokio::test]
async fn an_answer_to_a_ping_waits_for_the_end_of_a_frame() {
    let (mut peer, mut stream) = raw_pair(50).await;
    let Poll::Ready(Ok(60)) = poll_write(&mut stream, &[1; 60]) else {
        panic!("a frame is taken");
    };
    peer.write_all(&[0x89, 0x81, 0, 0, 0, 0, b'?'])
        .await
        .unwrap();
    assert!(poll_read(&mut stream, 100).is_pending());
    let mut came = take(&mut peer);
    assert_eq!(came.len(), 50);
    assert!(poll_read(&mut stream, 100).is_pending());
    came.extend(take(&mut peer));
    assert_eq!(came[2..62], [1; 60], "not within the frame");
    assert_eq!(came[62..], [0x8A, 1, b'?']);
}

#[tokio::test]
async fn of_more_pings_than_have_room_the_last_is_answered_and_writing_waits() {
    // Polled by hand, the pipe must not ask for the turn of others.
    tokio::task::unconstrained(async {
        let (mut peer, mut stream) = raw_pair(64).await;
        let mut answers = 0;
        for count in 0..2_000_u16 {
            let [high, low] = count.to_be_bytes();
            let ping = [0x89, 0x82, 0, 0, 0, 0, high, low];
            peer.write_all(&ping).await.unwrap();
            assert!(poll_read(&mut stream, 100).is_pending());
        }
        let mut last = Vec::new();
        loop {
            assert!(poll_read(&mut stream, 100).is_pending());
            let came = take(&mut peer);
            if came.is_empty() {
                break;
            }
            assert!(answers > 0 || poll_write(&mut stream, b"x").is_pending());
            last.extend_from_slice(&came);
            answers += came.len();
        }
        assert!(answers < WRITE_BUFFER_BYTES + 100, "{answers}");
        let [high, low] = 1_999_u16.to_be_bytes();
        assert!(last.ends_with(&[0x8A, 2, high, low]), "{last:x?}");
    })
    .await;
}

#[tokio::test]
async fn a_message_of_the_largest_size_is_read_in_frames_or_in_one_and_its_memory_given_back() {
    for sizes in [&[MAX_MESSAGE_BYTES][..], &[100_000]] {
        let (near, mut stream) = raw_pair(64 * 1024).await;
        let sent = counted(MAX_MESSAGE_BYTES);
        let (mut reading, mut writing) = tokio::io::split(near);
        let writing = async {
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let (part, after) = rest.split_at(sizes[0].min(rest.len()));
                let first = if rest.len() == sent.len() { 2 } else { 0 };
                let last = if after.is_empty() { 0x80 } else { 0 };
                let mut frame = vec![first | last, 0xFF];
                frame.extend_from_slice(&(part.len() as u64).to_be_bytes());
                frame.extend_from_slice(&[0; 4]);
                frame.extend_from_slice(part);
                writing.write_all(&frame).await.unwrap();
                rest = after;
            }
            // Enough that the rest of the large buffer is used up.
            for _ in 0..1_000 {
                let small = [0x82, 0x81, 0, 0, 0, 0, b'x'];
                writing.write_all(&small).await.unwrap();
            }
        };
        let mut received = vec![0; MAX_MESSAGE_BYTES + 1_000];
        let (read, ()) = futures::join!(stream.read_exact(&mut received), writing);
        read.unwrap();
        assert!(received[..MAX_MESSAGE_BYTES] == sent, "it came otherwise");
        assert!(poll_read(&mut stream, 10).is_pending());
        assert!(stream.outgrown.is_none());
        assert!(futures::FutureExt::now_or_never(reading.read_u8()).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn shutting_down_sends_close_and_waits_for_the_answer() {
    let (mut client, mut stream) = pair(1024).await;
    let reader = async {
        assert_eq!(close_code(client.next().await.unwrap().unwrap()), 1000);
        // The client's own answer leaves with its next step.
        assert!(client.next().await.is_none());
    };
    let began_at = tokio::time::Instant::now();
    let (ended, ()) = futures::join!(stream.shutdown(), reader);
    ended.unwrap();
    assert_eq!(began_at.elapsed(), Duration::ZERO);
    drop(client);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    let error = stream.write(b"more").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn what_comes_behind_the_clients_close_can_be_read_away_once_nothing_follows() {
    let (mut peer, mut stream) = raw_pair(64 * 1024).await;
    peer.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    peer.write_all(b"last record").await.unwrap();
    stream.shutdown().await.unwrap();
    let reading = async {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    };
    let leaving = async {
        peer.write_all(b", and the end").await.unwrap();
        drop(peer);
    };
    let (rest, ()) = futures::join!(reading, leaving);
    assert_eq!(rest, b"last record, and the end");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_close_is_left() {
    let (mut peer, mut stream) = raw_pair(64 * 1024).await;
    peer.write_all(&[0x82, 0x81, 0, 0, 0, 0, b'x'])
        .await
        .unwrap();
    let began_at = tokio::time::Instant::now();
    stream.shutdown().await.unwrap();
    assert_eq!(began_at.elapsed(), CLOSE_PATIENCE);
    let mut last = Vec::new();
    peer.read_to_end(&mut last).await.unwrap();
    assert_eq!(last, [0x88, 2, 0x03, 0xE8]);
}

#[tokio::test]
async fn a_gateway_that_goes_away_says_so() {
    let (near, far) = duplex(1024);
    let mut client = Client::from_raw_socket(near, Role::Client, None).await;
    let drain = CancellationToken::new();
    let mut stream = WebSocketStream::new(far, Bytes::new(), drain.clone()).await;
    drain.cancel();
    let (ended, message) = futures::join!(stream.shutdown(), async {
        let message = client.next().await.unwrap().unwrap();
        assert!(client.next().await.is_none());
        message
    });
    ended.unwrap();
    assert_eq!(close_code(message), 1001);
}

#[tokio::test]
async fn the_clients_close_is_answered_with_its_code_behind_what_it_sent() {
    let (mut client, mut stream) = pair(1024).await;
    client.feed(Message::binary(&b"last"[..])).await.unwrap();
    let bye = CloseFrame {
        code: CloseCode::from(4001),
        reason: "bye".into(),
    };
    client.close(Some(bye)).await.unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"last");
    assert_eq!(close_code(client.next().await.unwrap().unwrap()), 4001);
    let error = stream.write(b"too late").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn both_sides_may_close_at_once() {
    let (mut client, mut stream) = pair(1024).await;
    client.close(None).await.unwrap();
    stream.shutdown().await.unwrap();
    let message = client.next().await.unwrap().unwrap();
    assert_eq!(close_code(message), 1000);
    assert!(client.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_breaks_the_rules_is_answered_and_fails_the_read_after_what_came_before() {
    for (violation, code) in [
        (&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'][..], 1003),
        (&[0x82, 0x02, b'h', b'i'], 1002),
        (&[0x82, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
    ] {
        let (mut peer, mut stream) = raw_pair(64 * 1024).await;
        peer.write_all(&[0x82, 0x82, 0, 0, 0, 0, b'o', b'k'])
            .await
            .unwrap();
        peer.write_all(violation).await.unwrap();
        let mut bytes = [0; 2];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"ok");
        let error = stream.read(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut answer = [0; 4];
        peer.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[..2], [0x88, 2]);
        assert_eq!(u16::from_be_bytes([answer[2], answer[3]]), code);
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_close_fails_the_read_after_what_came() {
    for (sent, came) in [
        (&[][..], &b""[..]),
        (&[0x82, 0x81, 0, 0, 0, 0, b'x'], b"x"),
        (&[0x82, 0x82, 0, 0, 0, 0, b'x'], b""),
        (&[0x02, 0x81, 0, 0, 0, 0, b'x'], b""),
        (&[0x82], b""),
    ] {
        let (mut peer, mut stream) = raw_pair(64).await;
        peer.write_all(sent).await.unwrap();
        peer.shutdown().await.unwrap();
        let mut received = Vec::new();
        let error = stream.read_to_end(&mut received).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{sent:x?}");
        assert_eq!(received, came);
    }
}

#[tokio::test]
async fn what_a_client_left_before_it_went_is_read_although_its_ping_cannot_be_answered() {
    let (mut peer, mut stream) = raw_pair(64).await;
    peer.write_all(&[0x89, 0x80, 0, 0, 0, 0, 0x82, 0x81, 0, 0, 0, 0, b'x'])
        .await
        .unwrap();
    drop(peer);
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    let error = stream.write_all(b"there?").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_more_is_left_in_time() {
    let (mut peer, mut stream) = raw_pair(50).await;
    let Poll::Ready(Ok(60)) = poll_write(&mut stream, &[1; 60]) else {
        panic!("a frame is taken");
    };
    let began_at = tokio::time::Instant::now();
    stream.shutdown().await.unwrap();
    assert_eq!(began_at.elapsed(), CLOSE_PATIENCE);
    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), 50);
}

#[tokio::test]
async fn empty_frames_without_end_leave_others_their_turn() {
    let (mut peer, mut stream) = raw_pair(64 * 1024).await;
    for _ in 0..5_000 {
        peer.write_all(&[0x82, 0x80, 0, 0, 0, 0]).await.unwrap();
    }
    peer.shutdown().await.unwrap();
    let mut polls = 0;
    let reading = poll_fn(|cx| {
        polls += 1;
        let mut bytes = [0; 6];
        Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut bytes))
    });
    let error = reading.await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(polls >= 5_000 / READS_PER_POLL, "{polls}");
}
