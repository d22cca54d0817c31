//! Prints how long queries over many twins take, and what the index of tags costs writers.
//!
//! `cargo run --release --example queries -p downlink-store-postgres -- [twins] [URL]`; without a
//! number 1,000,000 twins, without a URL on a server of its own, which runs without `fsync` and is
//! gone afterwards. With a URL it fills a database that must be empty and leaves dropping it to
//! whoever made it. A million twins take about 3 GB and five minutes.
#![expect(
    clippy::print_stdout,
    reason = "what it finds is for whoever started it"
)]

use std::error::Error;
use std::time::{Duration, Instant};

use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_domain::query::{Comparison, Field, Filter, Member, Scalar, Section, Source};
use downlink_domain::twin::{Object, ReplacedKeys, TwinChange, TwinRules};
use downlink_domain::{caps, device::IfMatch};
use downlink_ports::{Needs, Scan, Tallied, Tally, TwinQueries, TwinStore};
use downlink_runtime::Lifecycle;
use downlink_stack::Postgres;
use downlink_store_postgres::{PostgresOptions, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const HUB: &str = "hub.downlink.test";
/// Twins that one statement makes.
const BATCH: u64 = 50_000;
/// How often each query is made; the middle time counts.
const TIMES: usize = 5;
/// Writes of each kind that are measured, a hundred in a call.
const WRITES: i64 = 5_000;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let twins = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let url = match arguments.next() {
        Some(url) => url,
        None => Postgres::shared().create_database(),
    };
    let options = PostgresOptions {
        url: url.clone(),
        migrate: true,
        query_timeout: Duration::from_mins(2),
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(options, &Lifecycle::new()).await?;
    let mut connection = PgConnection::connect(&url).await?;
    fill(&mut connection, twins).await?;
    sizes(&mut connection).await?;
    let measured = Measured { store: &store };
    measured.pages().await?;
    measured.counts().await?;
    measured.walk().await?;
    measured.writes(&mut connection).await
}

async fn execute(connection: &mut PgConnection, sql: String) -> Outcome<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await?;
    Ok(())
}

/// Identities, and twins with five tags, two desired and four reported properties.
async fn fill(connection: &mut PgConnection, twins: u64) -> Outcome<()> {
    let begun = Instant::now();
    let mut first = 1;
    while first <= twins {
        let last = (first + BATCH - 1).min(twins);
        let numbers = format!("FROM generate_series({first}, {last}) AS n");
        let identities = format!(
            "INSERT INTO identities (device_key, hub, device_id, generation, etag, status,
                status_updated_at, authentication, primary_key, secondary_key, is_edge,
                connection_state_updated_at, last_activity_at)
            SELECT n, '{HUB}', 'device-' || n, n, 1,
                CASE WHEN n % 50 = 0 THEN 'disabled' ELSE 'enabled' END, 0, 'sas',
                sha256(n::text::bytea), sha256(n::text::bytea), FALSE, 0, 0 {numbers}"
        );
        let twins = format!(
            r#"INSERT INTO twins (device_key, hub, tags, desired, desired_metadata,
                desired_version, reported, reported_metadata, reported_version, etag, version)
            SELECT n, '{HUB}',
                format('{{"site":"site-%s","ring":%s,"building":{{"floor":%s,"room":"r-%s"}},"serial":"%s"}}',
                    n * 31 % 1000, n * 17 % 10, n % 40, n * 13 % 5000, md5(n::text)),
                format('{{"rate":%s,"log":{{"level":"warn"}}}}', n % 60),
                '{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z","$lastUpdatedVersion":2,"rate":{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z","$lastUpdatedVersion":2}},"log":{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z","$lastUpdatedVersion":2,"level":{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z","$lastUpdatedVersion":2}}}}}}',
                2,
                format('{{"fw":"1.%s.%s","battery":%s.5,"net":{{"rssi":-%s,"ip":"10.0.%s.%s"}}}}',
                    n % 5, n % 11, n * 37 % 100, 40 + n % 50, n / 250 % 250, n % 250),
                '{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z","fw":{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z"}},"battery":{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z"}},"net":{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z","rssi":{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z"}},"ip":{{"$lastUpdated":"2026-01-05T12:00:00.0000000Z"}}}}}}',
                2, 2, 4 {numbers}"#
        );
        execute(connection, identities).await?;
        execute(connection, twins).await?;
        first = last + 1;
    }
    let filled = begun.elapsed();
    execute(connection, "VACUUM ANALYZE identities".to_owned()).await?;
    execute(connection, "VACUUM ANALYZE twins".to_owned()).await?;
    execute(connection, "VACUUM ANALYZE twin_values".to_owned()).await?;
    println!("{twins} twins made in {:.0} s", filled.as_secs_f64());
    Ok(())
}

async fn sizes(connection: &mut PgConnection) -> Outcome<()> {
    for table in ["identities", "twins", "twin_values"] {
        let size: i64 = sqlx::query_scalar("SELECT pg_total_relation_size($1::text::regclass)")
            .bind(table)
            .fetch_one(&mut *connection)
            .await?;
        println!("{table:<42} {:>9} MB", size / 1024 / 1024);
    }
    Ok(())
}

fn hub() -> HubName {
    HUB.parse().expect("a valid host name")
}

fn member(section: Section, path: &[&str]) -> Field {
    Field::Member(Member {
        section,
        path: path.iter().map(|name| (*name).to_owned()).collect(),
    })
}

fn tag(path: &[&str]) -> Field {
    member(Section::Tags, path)
}

fn equal(field: Field, value: &str) -> Filter {
    compare(field, Comparison::Eq, Scalar::Text(value.to_owned()))
}

fn compare(field: Field, comparison: Comparison, value: Scalar) -> Filter {
    Filter::Compare {
        field,
        comparison,
        value,
    }
}

struct Measured<'s> {
    store: &'s PostgresStore,
}

impl Measured<'_> {
    async fn pages(&self) -> Outcome<()> {
        // md5 of 7.
        let serial = "8f14e45fceea167a5a36dedd4bea2543";
        let battery = member(Section::Reported, &["battery"]);
        let below = |value| compare(battery.clone(), Comparison::Lt, Scalar::Number(value));
        let ring = compare(tag(&["ring"]), Comparison::Eq, Scalar::Number(3.0));
        let site = || equal(tag(&["site"]), "site-17");
        let cases = [
            ("one twin by its serial", equal(tag(&["serial"]), serial)),
            ("one twin by its id", equal(Field::DeviceId, "device-77777")),
            ("100 of 1/1,000 by site", site()),
            ("100 of 1/10 by ring", ring.clone()),
            ("100 by site and ring", Filter::And(vec![site(), ring])),
            ("100 by a range of floors", {
                compare(
                    tag(&["building", "floor"]),
                    Comparison::Ge,
                    Scalar::Number(38.0),
                )
            }),
            (
                "100 by site and battery",
                Filter::And(vec![site(), below(20.0)]),
            ),
            ("100 of 1/5 by battery, no index", below(20.0)),
            (
                "100 of 1/50 by status, no index",
                equal(Field::Status, "disabled"),
            ),
        ];
        for (name, filter) in cases {
            let scan = a_scan(filter, 100);
            let mut times = Vec::new();
            let mut found = 0;
            for _ in 0..TIMES {
                let begun = Instant::now();
                let page = self.store.scan(scan.clone()).await?;
                times.push(begun.elapsed());
                found = page.rows.len();
            }
            report(&format!("page: {name}"), times, found as u64);
        }
        Ok(())
    }

    async fn counts(&self) -> Outcome<()> {
        let ring = compare(tag(&["ring"]), Comparison::Eq, Scalar::Number(3.0));
        let any_ring = compare(tag(&["ring"]), Comparison::Ge, Scalar::Number(0.0));
        let site = || equal(tag(&["site"]), "site-17");
        let battery = member(Section::Reported, &["battery"]);
        let below = compare(battery, Comparison::Lt, Scalar::Number(20.0));
        let cases = [
            ("all", Filter::All, vec![]),
            ("of a site", site(), vec![]),
            ("of a ring", ring.clone(), vec![]),
            ("of a range that has all", any_ring, vec![]),
            (
                "of a site and a ring",
                Filter::And(vec![site(), ring]),
                vec![],
            ),
            ("by ring", Filter::All, vec![tag(&["ring"])]),
            ("by site", Filter::All, vec![tag(&["site"])]),
            ("by status", Filter::All, vec![Field::Status]),
            (
                "by firmware of a site",
                site(),
                vec![member(Section::Reported, &["fw"])],
            ),
            (
                "by firmware, no index",
                Filter::All,
                vec![member(Section::Reported, &["fw"])],
            ),
            ("of a battery, no index", below, vec![]),
        ];
        for (name, filter, group_by) in cases {
            let tally = Tally {
                hub: hub(),
                source: Source::Devices,
                filter,
                group_by,
                max_groups: 10_000,
            };
            let mut times = Vec::new();
            let mut counted = 0;
            for _ in 0..TIMES {
                let begun = Instant::now();
                let tallied = self.store.tally(tally.clone()).await?;
                times.push(begun.elapsed());
                if let Tallied::Groups(groups) = tallied {
                    counted = groups.iter().map(|group| group.count).sum();
                }
            }
            report(&format!("count: {name}"), times, counted);
        }
        Ok(())
    }

    async fn walk(&self) -> Outcome<()> {
        let ring = compare(tag(&["ring"]), Comparison::Eq, Scalar::Number(3.0));
        for (name, filter) in [("everything", Filter::All), ("a ring", ring)] {
            let mut scan = a_scan(filter, 100);
            let mut times = Vec::new();
            let mut rows = 0;
            for _ in 0..100 {
                let begun = Instant::now();
                let page = self.store.scan(scan.clone()).await?;
                times.push(begun.elapsed());
                rows += page.rows.len();
                let Some(next) = page.next else { break };
                scan.after = Some(next);
            }
            report(&format!("each of 100 pages: {name}"), times, rows as u64);
        }
        Ok(())
    }

    /// Writes with the triggers of the index and without.
    async fn writes(&self, connection: &mut PgConnection) -> Outcome<()> {
        let mut first = 1;
        for (state, what) in [("ENABLE", "with"), ("DISABLE", "without")] {
            execute(
                connection,
                format!("ALTER TABLE twins {state} TRIGGER USER"),
            )
            .await?;
            for (kind, change) in [("report", report_of(first)), ("tag", tag_of(first))] {
                let mut times = Vec::new();
                for call in 0..WRITES / 100 {
                    let keys = first + call * 100..first + (call + 1) * 100;
                    let changes = keys.map(|key| (DeviceKey(key), change.clone())).collect();
                    let begun = Instant::now();
                    self.store
                        .update_twins(changes, rules(), Timestamp::UNSET)
                        .await?;
                    times.push(begun.elapsed());
                }
                first += WRITES;
                report(
                    &format!("100 writes of a {kind} {what} the index"),
                    times,
                    100,
                );
            }
        }
        Ok(())
    }
}

fn report_of(value: i64) -> TwinChange {
    let mut patch = Object::new();
    patch.insert("battery".to_owned(), value.into());
    TwinChange::Report {
        patch,
        expected_version: None,
    }
}

fn tag_of(value: i64) -> TwinChange {
    let mut tags = Object::new();
    tags.insert("ring".to_owned(), value.into());
    TwinChange::Patch {
        tags: Some(tags),
        desired: None,
        if_match: IfMatch::Any,
    }
}

fn rules() -> TwinRules {
    TwinRules {
        max_tags_bytes: caps::MAX_TAGS_BYTES,
        max_desired_bytes: caps::MAX_DESIRED_BYTES,
        max_reported_bytes: caps::MAX_REPORTED_BYTES,
        replaced_keys: ReplacedKeys::Omitted,
        kept_changes: 0,
    }
}

fn a_scan(filter: Filter, limit: u32) -> Scan {
    Scan {
        hub: hub(),
        source: Source::Devices,
        filter,
        after: None,
        limit,
        needs: Needs {
            tags: true,
            desired: true,
            reported: true,
            configurations: true,
            waiting: true,
        },
        now: Timestamp::UNSET,
    }
}

fn report(name: &str, mut times: Vec<Duration>, rows: u64) {
    times.sort();
    let millis = |at: usize| times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let (middle, most) = (millis(times.len() / 2), millis(times.len() - 1));
    println!("{name:<42} {middle:>9.1} ms, at most {most:>9.1} ms, {rows} rows");
}
