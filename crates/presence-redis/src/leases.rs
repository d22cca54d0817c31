//! Leases of gateways, and whether entries written under them may be relied on.

use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::id::GatewayId;
use downlink_ports::{GatewayLease, GatewayLeases, LeaseState, StoreError};
use futures::future::join;
use redis::{Value, cmd};
use tokio::time::Instant;

use crate::error::unavailable;
use crate::link::{info_field, into_text};
use crate::live::{MAX_GATEWAYS, write_details};
use crate::map::Master;
use crate::presence::RedisPresence;
use crate::shards::Command;
use crate::slot::slot_of;

/// How much longer than a lease its witnesses live: they tell an emptied server from a late word.
const WITNESSES_LONGER: Duration = Duration::from_mins(1);

/// A life of a master's data: it changes when the server is started again, and when another server
/// takes its place or it takes over itself.
type Life = String;

/// What the last renewal that was answered had seen.
pub(crate) struct Seen {
    /// The lives of the masters.
    lives: Vec<Life>,
    /// Until when the lease was held at least.
    until: Instant,
}

#[async_trait]
impl GatewayLeases for RedisPresence {
    async fn renew(&self, lease: GatewayLease, ttl: Duration) -> Result<LeaseState, StoreError> {
        let sent_at = Instant::now();
        // Both at once: while one master of a cluster is away the lease is kept all the same, even
        // though nothing can be said of the entries.
        let (held, lives) = join(self.take(&lease, ttl), self.visit_masters(&lease, ttl)).await;
        let is_held = held?;
        self.core.live.renewed(&lease, sent_at + ttl);
        let (lives, is_witnessed) = lives?;
        // Nothing that tells of a loss ends by being asked for: an answer that does not arrive is
        // given again. Only whether the lease had lapsed is told once, hence the own clock.
        let is_known = |seen: &Seen| seen.lives == lives && Instant::now() <= seen.until;
        let before = self.seen.lock().get(&lease.gateway).is_some_and(is_known);
        let is_kept = is_held && is_witnessed && before;
        if !is_kept {
            self.seen.lock().remove(&lease.gateway);
            // Before the entries, so that they are not lost without it.
            self.leave_witnesses(&lease, ttl).await?;
        }
        let mut seen = self.seen.lock();
        if seen.len() >= MAX_GATEWAYS && !seen.contains_key(&lease.gateway) {
            return Err(StoreError::Overloaded);
        }
        let until = sent_at + ttl;
        seen.insert(lease.gateway, Seen { lives, until });
        Ok(if is_kept {
            LeaseState::Kept
        } else {
            LeaseState::Anew
        })
    }

    async fn release(&self, gateway: &GatewayId) -> Result<(), StoreError> {
        self.core.live.released(gateway);
        self.seen.lock().remove(gateway);
        let mut call = self.core.lease_call(&self.core.scripts.release);
        call.words.arg(gateway.as_str());
        let released = self.core.run_one(call).await;
        // An answer that was on its way may have brought it back.
        self.core.live.released(gateway);
        released.map(drop)
    }

    async fn gateways(&self) -> Result<Vec<GatewayLease>, StoreError> {
        self.core.leases().await
    }
}

impl RedisPresence {
    /// Takes or renews the lease; tells whether it was held until now.
    async fn take(&self, lease: &GatewayLease, ttl: Duration) -> Result<bool, StoreError> {
        let mut call = self.core.lease_call(&self.core.scripts.renew);
        call.words
            .arg(lease.gateway.as_str())
            .arg(millis(ttl))
            .arg(write_details(lease));
        Ok(self.core.run_one(call).await? == Value::Int(1))
    }

    /// Asks every master which life it leads and whether it remembers the gateway.
    async fn visit_masters(
        &self,
        lease: &GatewayLease,
        ttl: Duration,
    ) -> Result<(Vec<Life>, bool), StoreError> {
        let map = self.core.shards.map();
        if !map.is_whole() {
            return Err(unavailable(&"not every master is connected"));
        }
        let mut commands = Vec::with_capacity(3 * map.masters.len());
        for master in &map.masters {
            let witness = self.core.keys.witness(master.tag, &lease.gateway);
            let slot = slot_of(&witness);
            for section in ["server", "replication"] {
                let mut info = cmd("INFO");
                info.arg(section);
                commands.push(Command::new(slot, info));
            }
            let mut keep = cmd("PEXPIRE");
            keep.arg(&witness).arg(millis(ttl + WITNESSES_LONGER));
            commands.push(Command::new(slot, keep));
        }
        let answers = self.core.shards.run(commands).await?;
        let mut lives = Vec::with_capacity(map.masters.len());
        let mut is_witnessed = true;
        let mut answers = answers.into_iter();
        while let (Some(server), Some(replication), Some(witness)) =
            (answers.next(), answers.next(), answers.next())
        {
            lives.push(read_life(server, replication)?);
            is_witnessed &= witness == Value::Int(1);
        }
        // The order of the masters is that of their addresses, which say nothing of their data.
        lives.sort_unstable();
        Ok((lives, is_witnessed))
    }

    /// Has every master remember the gateway.
    async fn leave_witnesses(&self, lease: &GatewayLease, ttl: Duration) -> Result<(), StoreError> {
        let map = self.core.shards.map();
        let remember = |master: &Master| {
            let witness = self.core.keys.witness(master.tag, &lease.gateway);
            let mut set = cmd("SET");
            set.arg(&witness)
                .arg("")
                .arg("PX")
                .arg(millis(ttl + WITNESSES_LONGER));
            Command::new(slot_of(&witness), set)
        };
        let commands = map.masters.iter().map(remember).collect();
        let left = self.core.shards.run(commands).await;
        left.map(drop)
    }
}

fn read_life(server: Value, replication: Value) -> Result<Life, StoreError> {
    let told = into_text(server).zip(into_text(replication));
    let life = told.as_ref().and_then(|(server, replication)| {
        let is_master = info_field(replication, "role") == Some("master");
        let run = info_field(server, "run_id").filter(|_| is_master)?;
        let history = info_field(replication, "master_replid")?;
        Some(format!("{run} {history}"))
    });
    life.ok_or_else(|| unavailable(&"a server does not say which life it leads"))
}

/// The whole milliseconds of a time to live, at least one.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}
