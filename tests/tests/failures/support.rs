//! One hub with two of everything, and traffic through both gateways.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use downlink_stack::{Kafka, Postgres, Redis};
use downlink_tests::split::{Layout, Node, Options, Programs, SplitHub};
use downlink_tests::traffic::{Access, Load, Traffic, Verdict};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

const USUAL: Load = Load {
    mqtt: 3,
    amqp: 2,
    multiplexed: 3,
    claimants: 1,
    pause: Duration::from_millis(20),
};
/// How long the traffic may stand still before it goes on, and how long the last message may take:
/// a lock of 5 s must lapse, clients notice silence after 4 s, and debug builds share two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const HOST: &str = "hub.failures.test";

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
static NEXT: AtomicU8 = AtomicU8::new(1);

/// The servers of this test program.
pub(crate) struct Servers {
    pub(crate) postgres: &'static Postgres,
    pub(crate) redis: &'static Redis,
    pub(crate) kafka: &'static Kafka,
}

/// A hub under traffic.
pub(crate) struct Run {
    pub(crate) servers: Servers,
    pub(crate) hub: SplitHub,
    pub(crate) traffic: Traffic,
    pub(crate) access: Access,
    pub(crate) prefix: String,
    folder: TempDir,
    turn: MutexGuard<'static, ()>,
}

impl Run {
    /// Starts a hub of its own on the shared servers, and traffic on it.
    pub(crate) async fn start() -> Self {
        Self::start_with(USUAL).await
    }

    /// As [`Self::start`], every device claimed by two clients.
    pub(crate) async fn start_contested() -> Self {
        Self::start_with(Load {
            claimants: 2,
            ..USUAL
        })
        .await
    }

    async fn start_with(load: Load) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let servers = Servers {
            postgres: Postgres::shared(),
            redis: Redis::shared(),
            kafka: Kafka::shared(),
        };
        let folder = tempfile::tempdir().unwrap();
        let gateways = own_addresses();
        let prefix = format!("run-{}", NEXT.load(Ordering::Relaxed));
        let hub = SplitHub::start(&Options {
            programs: Programs::beside_this_one().unwrap(),
            folder: folder.path().to_owned(),
            hosts: vec![HOST.to_owned()],
            layout: Layout::whole(&gateways),
            nodes: 2,
            postgres_url: servers.postgres.create_database(),
            redis_url: servers.redis.url(),
            kafka: Some(servers.kafka.bootstrap()),
            prefix: prefix.clone(),
            settings: [
                "queue.lock_duration=5s",
                "queue.feedback.flush_interval=200ms",
                "queue.feedback.lock_duration=5s",
                "queue.max_delivery_count=100",
                "presence.lease_ttl=3s",
                "presence.lease_renew_interval=500ms",
                "gateway.sweep_interval=5s",
            ]
            .map(str::to_owned)
            .to_vec(),
        })
        .unwrap();
        let access = Access::to(&hub.credentials, &hub.ca_file, HOST, &gateways).unwrap();
        let traffic = Traffic::start(&access, load).await.unwrap();
        Self {
            servers,
            hub,
            traffic,
            access,
            prefix,
            folder,
            turn,
        }
    }

    /// Waits until every device has taken further messages.
    pub(crate) async fn goes_on(&self) {
        self.traffic.wait_for_progress(10, PATIENCE).await.unwrap();
    }

    /// Waits until a process says that it is, or is not, ready.
    pub(crate) async fn wait_until_readiness_is(&self, node: &Node, wanted: bool) {
        let end = Instant::now() + PATIENCE;
        while node.is_ready() != wanted {
            assert!(
                node.process().is_running(),
                "{} ended: {}",
                node.name(),
                node.last_words()
            );
            assert!(
                Instant::now() < end,
                "{} says that it is {}",
                node.name(),
                !wanted
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Names of the devices.
    pub(crate) fn devices(&self) -> &[String] {
        self.traffic.devices()
    }

    /// Ends the traffic and then the hub in order; what became of each message.
    pub(crate) async fn end(self) -> Verdict {
        let (verdict, rest) = self.end_traffic().await;
        rest.hub.stop().unwrap();
        verdict
    }

    /// Ends the traffic; the hub goes on.
    pub(crate) async fn end_traffic(self) -> (Verdict, Rest) {
        let verdict = self.traffic.finish(PATIENCE).await.unwrap();
        tell(&verdict);
        let rest = Rest {
            servers: self.servers,
            hub: self.hub,
            prefix: self.prefix,
            _folder: self.folder,
            _turn: self.turn,
        };
        (verdict, rest)
    }
}

/// What is left of a run without its traffic.
pub(crate) struct Rest {
    pub(crate) servers: Servers,
    pub(crate) hub: SplitHub,
    pub(crate) prefix: String,
    _folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// Prints the count for whoever runs with `--nocapture`.
#[expect(
    clippy::print_stdout,
    reason = "the figures of a run are read by people"
)]
fn tell(verdict: &Verdict) {
    println!("{verdict}");
}

/// Two loopback addresses that no other run of this program uses.
fn own_addresses() -> [IpAddr; 2] {
    let run = NEXT.fetch_add(1, Ordering::Relaxed);
    [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(127, 77, run, last)))
}
