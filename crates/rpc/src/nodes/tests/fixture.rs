//! Nodes that can be stopped and started again, and cables that can be cut or fall silent.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::access::Actor;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceId, DeviceKey, HubName, LockToken, SequenceNumber};
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::{AckMode, NewMessage, Properties, Settlement, Verdict};
use downlink_ports::{
    EnqueueError, Enqueued, LockedMessage, PeerError, PurgeOutcome, QueueApi, ReceiveCall,
    SettleError,
};
use downlink_runtime::{Lifecycle, OnError};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::testing::{PATIENCE, at, hub};
use crate::{Acceptor, MuxOptions, NodesOptions, Services};

/// Longest wait of a call in these tests: above what it takes to find a silent node.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// An address of this test's own, so that its port is still free when a node starts again.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // The test runner may start several processes at a time.
    let process = u8::try_from(std::process::id() % 200).unwrap_or(0);
    (Ipv4Addr::new(127, 20 + process, high, low), 0).into()
}

pub(super) fn options(addresses: &[SocketAddr]) -> NodesOptions {
    NodesOptions {
        addresses: addresses.iter().map(ToString::to_string).collect(),
        refresh: Duration::from_millis(50),
        mux: MuxOptions {
            call_timeout: CALL_TIMEOUT,
            ..MuxOptions::default()
        },
    }
}

/// What a queue node was given, kept over restarts.
#[derive(Default)]
pub(super) struct Log {
    messages: Mutex<Vec<(DeviceId, u64)>>,
    events: Mutex<Vec<[u8; 16]>>,
    counts: Mutex<Vec<DeviceKey>>,
}

impl Log {
    pub(super) fn take_messages(&self) -> Vec<(DeviceId, u64)> {
        std::mem::take(&mut self.messages.lock())
    }

    pub(super) fn has_messages(&self) -> bool {
        !self.messages.lock().is_empty()
    }

    pub(super) fn take_events(&self) -> Vec<[u8; 16]> {
        std::mem::take(&mut self.events.lock())
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.lock().is_empty()
    }

    pub(super) fn counted(&self) -> usize {
        self.counts.lock().len()
    }
}

/// A queue that keeps what it is given; it answers after a while and never when it is held. Like
/// the real one it takes nothing once it drains.
struct Recorder {
    log: Arc<Log>,
    lifecycle: Lifecycle,
    pause: Duration,
    is_held: watch::Receiver<bool>,
}

impl Recorder {
    fn admit(&self) -> Result<(), PeerError> {
        let service = "queue";
        if self.lifecycle.is_draining() {
            return Err(PeerError::Unavailable { service });
        }
        Ok(())
    }

    async fn pause(&self) {
        let mut held = self.is_held.clone();
        let _ = held.wait_for(|is_held| !is_held).await;
        tokio::time::sleep(self.pause).await;
    }
}

fn number_of(message: &NewMessage) -> u64 {
    let id = message.properties.message_id.as_ref().unwrap();
    id.parse().unwrap()
}

#[async_trait]
impl QueueApi for Recorder {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, PeerError> {
        self.admit()?;
        let given = messages.iter().map(|m| (m.device.clone(), number_of(m)));
        self.log.messages.lock().extend(given);
        self.pause().await;
        let accept = |message: NewMessage| {
            Ok(Enqueued {
                device: DeviceKey(1),
                sequence: SequenceNumber(number_of(&message)),
            })
        };
        Ok(messages.into_iter().map(accept).collect())
    }

    async fn receive(&self, calls: Vec<ReceiveCall>) -> Result<Vec<Vec<LockedMessage>>, PeerError> {
        self.pause().await;
        Ok(vec![Vec::new(); calls.len()])
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(), SettleError>>, PeerError> {
        self.pause().await;
        // Tells positions apart: every other lock is lost.
        let settle = |settlement: Settlement| match settlement.sequence.0 % 2 {
            0 => Ok(()),
            _ => Err(SettleError::LockLost),
        };
        Ok(settlements.into_iter().map(settle).collect())
    }

    async fn record_events(&self, events: Vec<Event>) -> Result<(), PeerError> {
        self.admit()?;
        let ids = events.iter().map(|event| event.id);
        self.log.events.lock().extend(ids);
        self.pause().await;
        Ok(())
    }

    async fn purge(&self, _: HubName, _: DeviceId, _: Actor) -> Result<PurgeOutcome, PeerError> {
        self.admit()?;
        self.pause().await;
        Ok(PurgeOutcome { removed: 1 })
    }

    async fn count(&self, devices: Vec<DeviceKey>) -> Result<Vec<u64>, PeerError> {
        self.log.counts.lock().extend(&devices);
        self.pause().await;
        Ok(vec![7; devices.len()])
    }

    async fn receive_feedback(
        &self,
        _: HubName,
        _: Duration,
    ) -> Result<Option<FeedbackBatch>, PeerError> {
        Ok(None)
    }

    async fn settle_feedback(
        &self,
        _: HubName,
        _: LockToken,
        _: Verdict,
    ) -> Result<Result<(), SettleError>, PeerError> {
        Ok(Ok(()))
    }
}

/// A queue node at an address of its own.
pub(super) struct QueueNode {
    pub(super) address: SocketAddr,
    pub(super) log: Arc<Log>,
    pub(super) lifecycle: Lifecycle,
    held: watch::Sender<bool>,
}

impl QueueNode {
    pub(super) async fn start() -> Self {
        Self::start_at(own_address(), Arc::default()).await
    }

    pub(super) async fn start_at_localhost() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), Arc::default()).await
    }

    pub(super) async fn start_some(count: usize) -> Vec<Self> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Self::start().await);
        }
        nodes
    }

    async fn start_at(address: SocketAddr, log: Arc<Log>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let acceptor = Acceptor::tcp(listener, 64);
        let address = acceptor.local_addr().unwrap();
        let lifecycle = Lifecycle::new();
        let (held, is_held) = watch::channel(false);
        let recorder = Recorder {
            log: Arc::clone(&log),
            lifecycle: lifecycle.clone(),
            pause: Duration::from_millis(2),
            is_held,
        };
        Services::new(&lifecycle)
            .with_queue(Arc::new(recorder))
            .serve(acceptor);
        Self {
            address,
            log,
            lifecycle,
            held,
        }
    }

    /// Lets calls come in but not end.
    pub(super) fn hold(&self) {
        self.held.send_replace(true);
    }

    pub(super) fn release(&self) {
        self.held.send_replace(false);
    }

    /// Stops as a process does that is told to.
    pub(super) async fn stop(&self) {
        self.lifecycle.shutdown(PATIENCE).await;
    }

    /// Stops without a word to anybody, as far as that goes within one process.
    pub(super) async fn kill(&self) {
        self.lifecycle.shutdown(Duration::ZERO).await;
    }

    /// The same node again, at the same address.
    pub(super) async fn restart(&mut self) {
        *self = Self::start_at(self.address, Arc::clone(&self.log)).await;
    }
}

pub(super) fn addresses(nodes: &[QueueNode]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.address).collect()
}

/// Which node holds the messages of each device; panics if two do.
#[track_caller]
pub(super) fn owners(nodes: &[QueueNode]) -> HashMap<DeviceId, usize> {
    let mut owners = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for (device, _) in node.log.take_messages() {
            let owner = *owners.entry(device).or_insert(index);
            assert_eq!(owner, index, "a device has two nodes");
        }
    }
    owners
}

/// A device whose messages go to the given node.
pub(super) async fn device_of(queue: &dyn QueueApi, nodes: &[QueueNode], node: usize) -> usize {
    let all = (0..50).map(|device| message(device, 0)).collect();
    queue.enqueue(all).await.unwrap();
    let owners = owners(nodes);
    (0..50)
        .find(|device| owners[&message(*device, 0).device] == node)
        .expect("every node has devices")
}

/// Waits until `condition` holds.
pub(super) async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let holds = tokio::time::timeout(PATIENCE, holds).await;
    holds.expect("it comes about in time");
}

pub(super) fn message(device: usize, number: u64) -> NewMessage {
    NewMessage {
        hub: hub(),
        device: format!("device-{device}").parse().unwrap(),
        properties: Properties {
            message_id: Some(number.to_string()),
            ..Properties::default()
        },
        ack: AckMode::None,
        expiry: None,
        body: Bytes::from_static(b"body"),
    }
}

pub(super) fn event(device: i64) -> Event {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&device.to_be_bytes());
    Event {
        id,
        hub: hub(),
        device_key: DeviceKey(device),
        device: Some(format!("device-{device}").parse().unwrap()),
        module: None,
        kind: EventKind::Telemetry,
        at: at(0),
        properties: Vec::new(),
        body: Bytes::new(),
    }
}

/// What runs through a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Current {
    Flowing,
    /// Connections are taken and nothing comes out of them: a process that is stopped.
    Silent,
    /// Every connection breaks, and new ones are refused.
    Cut,
}

/// A way to a node that can be interrupted.
pub(super) struct Cable {
    pub(super) address: SocketAddr,
    current: watch::Sender<Current>,
}

impl Cable {
    /// Lays a cable to `node`.
    pub(super) async fn to(node: SocketAddr, lifecycle: &Lifecycle) -> Self {
        let listener = TcpListener::bind(own_address()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (current, flow) = watch::channel(Current::Flowing);
        let scope = lifecycle.clone();
        lifecycle.spawn_background("cable", OnError::Log, async move {
            let mut listener = Some(listener);
            loop {
                let mut state = flow.clone();
                let now = *state.borrow_and_update();
                if now == Current::Cut {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(TcpListener::bind(address).await.unwrap());
                }
                let accept = async {
                    match &listener {
                        Some(listener) => listener.accept().await.unwrap().0,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    near = accept => {
                        scope.spawn_background("strand", OnError::Log, strand(near, node, flow.clone()));
                    }
                    changed = state.changed() => if changed.is_err() { return },
                }
            }
        });
        Self { address, current }
    }

    pub(super) fn cut(&self) {
        self.current.send_replace(Current::Cut);
    }

    pub(super) fn silence(&self) {
        self.current.send_replace(Current::Silent);
    }

    pub(super) fn mend(&self) {
        self.current.send_replace(Current::Flowing);
    }
}

/// Carries one connection as long as the cable lets it.
async fn strand(mut near: TcpStream, node: SocketAddr, mut flow: watch::Receiver<Current>) {
    let mut far = None;
    loop {
        let now = *flow.borrow_and_update();
        match now {
            Current::Cut => return,
            Current::Silent => {
                if flow.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Current::Flowing => {}
        }
        let far = match &mut far {
            Some(far) => far,
            None => match TcpStream::connect(node).await {
                Ok(stream) => far.insert(stream),
                Err(_) => return,
            },
        };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, far) => return,
            changed = flow.changed() => if changed.is_err() { return },
        }
    }
}
