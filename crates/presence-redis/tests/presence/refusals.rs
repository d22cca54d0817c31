//! What cannot be opened says so in one line, in time.

use std::time::{Duration, Instant};

use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::presence::Subscriptions;
use downlink_ports::{GatewayLeases, PollThrottle, PollTurn, PresenceDirectory};
use downlink_presence_redis::{OpenError, Password, RIGHTS, RedisOptions, RedisPresence, Topology};
use downlink_runtime::Lifecycle;
use downlink_stack::{Redis, RedisSentinel};
use tokio::net::TcpListener;

use crate::support::{self, connect, renew, soon, tell};

const POLLS: Duration = Duration::from_mins(2);

async fn refused(mut options: RedisOptions) -> OpenError {
    options.connect_timeout = Duration::from_millis(500);
    let began = Instant::now();
    let opened = RedisPresence::open(options, &Lifecycle::new()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "in time");
    let error = opened.err().expect("is refused");
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let error = refused(support::options(Topology::Single { url })).await;
    let line = error.to_string();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{line}");
    assert!(line.contains("presence.redis.urls"), "{line}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let urls = vec![format!("redis://{address}")];
    for topology in [
        Topology::Single {
            url: urls[0].clone(),
        },
        Topology::Cluster { urls: urls.clone() },
        Topology::Sentinel {
            urls,
            master: "mymaster".to_owned(),
        },
    ] {
        let line = refused(support::options(topology)).await.to_string();
        assert!(line.contains(&address.to_string()), "{line}");
        assert!(line.contains("presence.redis.urls"), "{line}");
    }
}

#[tokio::test]
async fn a_server_that_is_no_cluster_or_no_sentinel_is_refused() {
    let url = Redis::shared().url();
    let urls = vec![url];
    let sentinel = Topology::Sentinel {
        urls: urls.clone(),
        master: "mymaster".to_owned(),
    };
    for topology in [Topology::Cluster { urls }, sentinel] {
        let error = refused(support::options(topology)).await;
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_master_that_the_sentinels_do_not_know_is_named() {
    let servers = RedisSentinel::start();
    let mut options = support::watched_by(&servers);
    options.topology = Topology::Sentinel {
        urls: servers.sentinel_urls(),
        master: "nobody".to_owned(),
    };
    let line = refused(options).await.to_string();
    assert!(line.contains("nobody"), "{line}");
}

#[tokio::test]
async fn a_password_opens_and_a_wrong_one_is_refused_without_being_shown() {
    let redis = Redis::start();
    tell(&redis.url(), &["CONFIG", "SET", "requirepass", "hunter2"]).await;
    let mut options = support::on(&redis);
    let line = refused(options.clone()).await.to_string();
    assert!(
        line.contains("NOAUTH") || line.contains("uthentication"),
        "{line}"
    );
    options.credentials.password = Some(Password::new("hunter3"));
    let line = refused(options.clone()).await.to_string();
    assert!(!line.contains("hunter"), "{line}");
    options.credentials.password = Some(Password::new("hunter2"));
    support::open(options).await.ping().await.unwrap();
}

#[tokio::test]
async fn a_user_with_the_rights_that_are_named_is_enough() {
    let redis = Redis::start();
    let mut options = support::on(&redis);
    let pattern = format!("{}:*", options.key_prefix);
    let (keys, channels) = (format!("~{pattern}"), format!("&{pattern}"));
    let mut words = vec![
        "ACL",
        "SETUSER",
        "presence",
        "on",
        ">hunter2",
        "resetchannels",
    ];
    words.extend([&*keys, &*channels]);
    words.extend(RIGHTS.split_ascii_whitespace());
    tell(&redis.url(), &words).await;
    options.credentials.username = Some("presence".to_owned());
    options.credentials.password = Some(Password::new("hunter2"));
    let presence = support::open(options).await;
    renew(&presence, "gateway").await;
    let mut watch = presence.watch(DeviceKey(7)).await.unwrap();
    let connected = connect(&presence, DeviceKey(7), "gateway", 1).await;
    let told = soon("the change", watch.changed()).await.unwrap();
    let subscriptions = Subscriptions {
        methods: true,
        ..Subscriptions::default()
    };
    presence
        .subscribe(DeviceKey(7), connected.epoch, subscriptions)
        .await
        .unwrap();
    let gone = vec![(DeviceKey(7), connected.epoch)];
    presence.restore(vec![(DeviceKey(7), told)]).await.unwrap();
    presence.disconnect(gone).await.unwrap();
    presence.gateways().await.unwrap();
    for turn in [PollTurn::Taken, PollTurn::TooSoon { wait: POLLS }] {
        let asked = presence.take_turn(DeviceKey(7), POLLS, Timestamp::from_millis(1));
        assert_eq!(asked.await, Ok(turn));
    }
    presence.ping().await.unwrap();
    presence
        .release(&support::gateway("gateway"))
        .await
        .unwrap();
}

#[tokio::test]
async fn many_calls_at_once_take_turns_and_none_is_lost() {
    let mut options = support::single();
    // Less than one batch: each goes alone.
    options.max_in_flight = 100;
    options.call_timeout = Duration::from_secs(20);
    let presence = support::open(options).await;
    renew(&presence, "gateway").await;
    let devices: Vec<_> = (0..1500).map(DeviceKey).collect();
    let entry = |device: &DeviceKey| (*device, support::route("gateway", 1, 1000));
    presence
        .restore(devices.iter().map(entry).collect())
        .await
        .unwrap();
    let lookups = futures::future::join_all((0..20).map(|_| presence.lookup(&devices))).await;
    for found in lookups {
        assert_eq!(found.unwrap().iter().flatten().count(), devices.len());
    }
}

#[tokio::test]
async fn wrong_options_are_refused_before_anything_is_tried() {
    let mut options = support::single();
    options.key_prefix = String::new();
    options.max_in_flight = 0;
    let error = refused(options).await;
    assert!(
        matches!(&error, OpenError::Options(faults) if faults.len() == 2),
        "{error}"
    );
}
