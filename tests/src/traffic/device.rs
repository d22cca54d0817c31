//! A device that takes every message it can get.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use downlink_auth::sign;
use downlink_mqtt::packet::{
    ClientPacket, Connack, Connect, PacketId, Qos, ServerPacket, Subscribe, SubscribeFilter,
};
use tokio::time::timeout;

use super::{Access, FAR_FUTURE_SECONDS, Ledger};
use crate::wire::mqtt::Mqtt;

/// Longest silence of the hub, which answers pings, before the device goes elsewhere.
const SILENCE: Duration = Duration::from_secs(4);
/// Time between pings.
const PING: Duration = Duration::from_secs(1);
/// Pause before the next attempt to connect.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Device {
    access: Access,
    name: String,
    key: Vec<u8>,
    turn: usize,
}

impl Device {
    /// `turn` says which gateway it tries first.
    pub(super) fn new(access: &Access, name: &str, key: Vec<u8>, turn: usize) -> Self {
        Self {
            access: access.clone(),
            name: name.to_owned(),
            key,
            turn,
        }
    }

    /// Connects, takes and acknowledges messages, and connects again when that ends, for ever.
    pub(super) async fn run(mut self, ledger: &Ledger) {
        loop {
            // Every end of a connection is a reason to try the next gateway.
            let _ = self.stay(ledger).await;
            ledger.reconnect();
            self.turn += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn stay(&self, ledger: &Ledger) -> anyhow::Result<()> {
        let mut connection = timeout(SILENCE, self.connect()).await??;
        let mut ping = tokio::time::interval(PING);
        loop {
            let packet = tokio::select! {
                packet = connection.next() => packet?,
                _ = ping.tick() => {
                    let silent = connection.heard_at.elapsed();
                    ensure!(silent < SILENCE, "the hub is silent");
                    connection.send(&ClientPacket::Pingreq).await?;
                    continue;
                }
            };
            if let ServerPacket::Publish(publish) = packet {
                let id = String::from_utf8(publish.payload.to_vec())?;
                ledger.take(&self.name, id, publish.delivery.is_dup());
                let packet_id = publish.delivery.packet_id();
                let packet_id = packet_id.context("messages come with quality of service 1")?;
                connection.send(&ClientPacket::Puback(packet_id)).await?;
            }
        }
    }

    /// Connects and waits until the hub has its subscription.
    pub(super) async fn connect_and_subscribe(&self) -> anyhow::Result<Mqtt> {
        let mut connection = timeout(SILENCE, self.connect()).await??;
        match timeout(SILENCE, connection.next()).await?? {
            ServerPacket::Suback(_) => Ok(connection),
            other => bail!("not subscribed: {other:?}"),
        }
    }

    async fn connect(&self) -> anyhow::Result<Mqtt> {
        let (host, name) = (&self.access.host, &self.name);
        let address = self.access.door(self.turn, 8883);
        let io = self.access.trust.connect(address, host, None).await?;
        let mut connection = Mqtt::over(io, SILENCE);
        let scope = format!("{host}/devices/{name}");
        let connect = Connect::new(name.as_str())
            .with_username(format!("{host}/{name}/?api-version=2021-04-12"))
            .with_password(sign(&scope, &self.key, FAR_FUTURE_SECONDS, None));
        connection.send(&connect.into()).await?;
        match connection.next().await? {
            ServerPacket::Connack(Connack::Accepted { .. }) => {}
            other => bail!("not accepted: {other:?}"),
        }
        let subscribe = Subscribe {
            packet_id: PacketId::new(1).context("one is an id")?,
            filters: vec![SubscribeFilter {
                filter: format!("devices/{name}/messages/devicebound/#"),
                qos: Qos::AtLeastOnce,
            }],
        };
        connection.send(&ClientPacket::Subscribe(subscribe)).await?;
        Ok(connection)
    }
}
