//! Redis behind TLS.

use downlink_domain::id::DeviceKey;
use downlink_ports::{Clock, GatewayLeases, LeaseState, PresenceDirectory};
use downlink_presence_redis::{RedisPresence, Topology};
use downlink_runtime::{Lifecycle, SystemClock, dev_certificate};
use downlink_stack::Redis;

use crate::support::{self, LEASE, connect, renew, route_of, soon, tell};

#[tokio::test]
async fn a_server_behind_tls_is_reached_if_its_authority_is_trusted() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let now_seconds = SystemClock.now().as_millis() / 1000;
    let made = dev_certificate::ensure(folder.path(), &[], now_seconds).unwrap();
    let port = support::free_port().to_string();
    let files = [&made.certificate_file, &made.key_file, &made.ca_file];
    let [certificate, key, authority] = files.map(|file| file.to_str().unwrap());
    let words = [
        ["tls-cert-file", certificate],
        ["tls-key-file", key],
        ["tls-ca-cert-file", authority],
        ["tls-auth-clients", "no"],
        ["tls-port", &port],
    ];
    let words: Vec<&str> = ["CONFIG", "SET"]
        .into_iter()
        .chain(words.into_iter().flatten())
        .collect();
    tell(&redis.url(), &words).await;

    let url = format!("rediss://127.0.0.1:{port}");
    let mut options = support::options(Topology::Single { url });
    options.connect_timeout = std::time::Duration::from_secs(1);
    let stranger = RedisPresence::open(options.clone(), &Lifecycle::new()).await;
    assert!(stranger.is_err(), "nobody vouches for the server");
    options.root_certificates = Some(std::fs::read(authority).unwrap());
    let presence = support::open(options).await;
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Anew);
    let mut watch = presence.watch(DeviceKey(7)).await.unwrap();
    let connected = connect(&presence, DeviceKey(7), "gateway", 1).await;
    let told = soon("the change", watch.changed()).await.unwrap();
    assert_eq!(told.epoch, connected.epoch);
    assert_eq!(route_of(&presence, DeviceKey(7)).await, Some(told));
    let kept = presence.renew(support::lease("gateway"), LEASE).await;
    assert_eq!(kept, Ok(LeaseState::Kept));
}
