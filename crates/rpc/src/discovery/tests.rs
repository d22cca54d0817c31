use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::method::MethodError;
use downlink_domain::presence::LeaseEpoch;
use downlink_ports::{
    GatewayApi, GatewayLease, GatewayLeases, Gateways, LeaseState, MethodDelivery, PeerError,
    StoreError,
};
use downlink_runtime::Lifecycle;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::{DiscoveryOptions, GatewayDiscovery};
use crate::testing::{Asked, PATIENCE, Stage, staged_gateway};
use crate::{Acceptor, MuxOptions, Services};

const GONE: PeerError = PeerError::Unavailable { service: "gateway" };

/// Leases as the test sets them.
struct Leases {
    held: Mutex<Result<Vec<GatewayLease>, ()>>,
    looks: AtomicUsize,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            held: Mutex::new(Ok(Vec::new())),
            looks: AtomicUsize::new(0),
        }
    }
}

impl Leases {
    fn set(&self, held: &[(&str, &str)]) {
        let lease = |(gateway, address): &(&str, &str)| GatewayLease {
            gateway: id(gateway),
            address: (*address).to_owned(),
            connections: 0,
        };
        *self.held.lock() = Ok(held.iter().map(lease).collect());
    }

    fn fail(&self) {
        *self.held.lock() = Err(());
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    /// Waits until two more looks have begun: the first of them was taken in.
    async fn looked_at(&self) {
        let goal = self.looks() + 2;
        let looked = async {
            while self.looks() < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let looked = tokio::time::timeout(PATIENCE, looked).await;
        looked.expect("leases are looked at");
    }
}

#[async_trait]
impl GatewayLeases for Leases {
    async fn renew(&self, _: GatewayLease, _: Duration) -> Result<LeaseState, StoreError> {
        Ok(LeaseState::Kept)
    }

    async fn release(&self, _: &GatewayId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn gateways(&self) -> Result<Vec<GatewayLease>, StoreError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let held = self.held.lock().clone();
        held.map_err(|()| StoreError::Unavailable("as the test wants".to_owned()))
    }
}

fn id(text: &str) -> GatewayId {
    text.parse().unwrap()
}

/// A gateway that is served, and where its calls come in.
struct Served {
    address: String,
    stage: Stage,
    _server: Lifecycle,
}

impl Served {
    async fn start() -> Self {
        let server = Lifecycle::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let acceptor = Acceptor::tcp(listener, 8);
        let address = acceptor.local_addr().unwrap().to_string();
        let (gateway, stage) = staged_gateway();
        Services::new(&server).with_gateway(gateway).serve(acceptor);
        Self {
            address,
            stage,
            _server: server,
        }
    }

    /// Answers one wake-up made through `gateway`.
    async fn is_woken_by(&mut self, gateway: Arc<dyn GatewayApi>) {
        let (woken, ()) = tokio::join!(gateway.wake(vec![DeviceKey(7)]), async {
            let staged = self.stage.next().await;
            assert_eq!(staged.asked, Asked::Wake(vec![DeviceKey(7)]));
            staged.succeed();
        });
        assert_eq!(woken, Ok(()));
    }
}

fn options(refresh: Duration, grace: Duration) -> DiscoveryOptions {
    DiscoveryOptions {
        refresh,
        grace,
        max_gateways: 3,
        mux: MuxOptions::default(),
    }
}

const OFTEN: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_hours(1);

fn discover(
    leases: &Arc<Leases>,
    options: DiscoveryOptions,
    scope: &Lifecycle,
) -> Arc<GatewayDiscovery> {
    GatewayDiscovery::start(Arc::clone(leases) as _, None, options, scope)
}

fn delivery() -> MethodDelivery {
    MethodDelivery {
        device: DeviceKey(7),
        epoch: LeaseEpoch(1),
        name: "reboot".parse().unwrap(),
        payload: Bytes::new(),
        timeout: Duration::from_secs(5),
    }
}

#[tokio::test]
async fn gateways_are_found_by_their_leases_and_at_their_new_addresses() {
    let scope = Lifecycle::new();
    let (mut first, mut second) = (Served::start().await, Served::start().await);
    let leases = Arc::new(Leases::default());
    leases.set(&[("a", &first.address)]);
    let discovery = discover(&leases, options(OFTEN, NEVER), &scope);
    leases.looked_at().await;
    let known = discovery.pool().find(&id("a")).expect("known by now");
    first.is_woken_by(known).await;
    leases.set(&[("a", &second.address)]);
    leases.looked_at().await;
    second.is_woken_by(discovery.find(&id("a")).unwrap()).await;
}

#[tokio::test]
async fn a_gateway_that_nobody_has_seen_is_looked_for_at_once() {
    let scope = Lifecycle::new();
    let mut served = Served::start().await;
    let leases = Arc::new(Leases::default());
    let discovery = discover(&leases, options(NEVER, NEVER), &scope);
    let unknown = discovery.find(&id("a")).unwrap();
    assert_eq!(
        unknown.invoke(delivery()).await,
        Err(MethodError::NotOnline)
    );
    assert_eq!(unknown.wake(vec![DeviceKey(7)]).await, Err(GONE));
    leases.set(&[("a", &served.address)]);
    served.is_woken_by(discovery.find(&id("a")).unwrap()).await;
    served.is_woken_by(unknown).await;
}

#[tokio::test]
async fn however_many_ask_the_leases_are_not_looked_at_more_often() {
    let scope = Lifecycle::new();
    let leases = Arc::new(Leases::default());
    let discovery = discover(&leases, options(NEVER, NEVER), &scope);
    let calls = (0..500).map(|n| {
        let unknown = discovery.find(&id(&format!("g-{n}"))).unwrap();
        async move { unknown.invoke(delivery()).await }
    });
    let began = std::time::Instant::now();
    let outcomes = join_all(calls).await;
    assert!(
        outcomes
            .iter()
            .all(|one| *one == Err(MethodError::NotOnline))
    );
    let most = began.elapsed().as_millis() / 100 + 2;
    assert!(leases.looks() as u128 <= most, "{} looks", leases.looks());
}

#[tokio::test]
async fn a_lease_that_vanished_keeps_its_client_for_the_grace_alone() {
    let scope = Lifecycle::new();
    let mut served = Served::start().await;
    let leases = Arc::new(Leases::default());
    leases.set(&[("a", &served.address)]);
    let grace = Duration::from_millis(600);
    let discovery = discover(&leases, options(OFTEN, grace), &scope);
    leases.looked_at().await;
    leases.set(&[]);
    leases.looked_at().await;
    served.is_woken_by(discovery.find(&id("a")).unwrap()).await;
    let held = discovery.find(&id("a")).unwrap();
    let gone = async {
        while discovery.pool().find(&id("a")).is_some() {
            leases.looked_at().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it goes");
    // Whoever is calling it may finish.
    served.is_woken_by(held).await;
}

#[tokio::test]
async fn leases_that_cannot_be_read_change_nothing() {
    let scope = Lifecycle::new();
    let mut served = Served::start().await;
    let leases = Arc::new(Leases::default());
    leases.set(&[("a", &served.address)]);
    let discovery = discover(&leases, options(OFTEN, Duration::ZERO), &scope);
    leases.looked_at().await;
    leases.fail();
    leases.looked_at().await;
    served.is_woken_by(discovery.find(&id("a")).unwrap()).await;
    let unknown = discovery.find(&id("b")).unwrap();
    assert_eq!(unknown.wake(vec![DeviceKey(7)]).await, Err(GONE));
}

#[tokio::test]
async fn the_own_gateway_is_called_directly_and_one_without_an_address_not_at_all() {
    let scope = Lifecycle::new();
    let (own, mut stage) = staged_gateway();
    let leases = Arc::new(Leases::default());
    leases.set(&[("own", "127.0.0.1:1"), ("hidden", "")]);
    let dyn_leases = Arc::clone(&leases) as _;
    let own = Some((id("own"), own));
    let discovery = GatewayDiscovery::start(dyn_leases, own, options(OFTEN, NEVER), &scope);
    leases.looked_at().await;
    let found = discovery.find(&id("own")).unwrap();
    let (woken, ()) = tokio::join!(found.wake(vec![DeviceKey(1)]), async {
        stage.next().await.succeed();
    });
    assert_eq!(woken, Ok(()));
    assert!(discovery.pool().find(&id("hidden")).is_none());
}

#[tokio::test]
async fn no_more_gateways_are_known_than_the_bound_allows() {
    let scope = Lifecycle::new();
    let leases = Arc::new(Leases::default());
    let address = "127.0.0.1:1";
    leases.set(&[
        ("a", address),
        ("b", address),
        ("c", address),
        ("d", address),
    ]);
    let discovery = discover(&leases, options(OFTEN, NEVER), &scope);
    leases.looked_at().await;
    let known = ["a", "b", "c", "d"].map(|name| discovery.pool().find(&id(name)).is_some());
    assert_eq!(known, [true, true, true, false]);
}
