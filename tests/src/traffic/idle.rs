//! Devices that are connected and silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use downlink_auth::sign;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::amqp;
use super::back_end::BackEnd;
use super::device::Device;
use super::{Access, FAR_FUTURE_SECONDS, ways};
use crate::wire::amqp::{Amqp, receiver, sender};
use crate::wire::mqtt::Mqtt;

/// Connections that are made at once.
const AT_ONCE: usize = 16;
/// Handles of a device's links, in a session that may hold the `$cbs` pair too.
const TELEMETRY: u32 = 2;
const MESSAGES: u32 = 3;

/// How devices are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// MQTT, a connection each, with the subscription to messages.
    Mqtt,
    /// AMQP, a connection each, with a token over CBS, a link for telemetry and one for messages
    /// with credit.
    Amqp,
    /// The same on one AMQP connection, a session each.
    Multiplexed,
}

/// Registered devices.
pub struct Fleet {
    access: Access,
    devices: Vec<(String, Vec<u8>)>,
}

/// Connections that are held until this is dropped.
pub struct Held {
    #[expect(dead_code, reason = "they are held, not used")]
    connections: Vec<Connection>,
}

#[expect(dead_code, reason = "they are held, not used")]
enum Connection {
    Mqtt(Mqtt),
    Amqp(Amqp),
}

impl Fleet {
    /// Registers `devices` devices.
    ///
    /// # Errors
    /// What the hub answers.
    pub async fn new(access: &Access, devices: usize) -> anyhow::Result<Self> {
        let devices = BackEnd::new(access).register_all("idle", devices).await?;
        Ok(Self {
            access: access.clone(),
            devices,
        })
    }

    /// Connects every device and returns when each has its subscription or its links.
    ///
    /// # Errors
    /// What the hub answers.
    pub async fn connect(self, form: Form) -> anyhow::Result<Held> {
        let connections = match form {
            Form::Multiplexed => vec![Connection::Amqp(self.multiplex().await?)],
            Form::Mqtt | Form::Amqp => self.connect_each(form).await?,
        };
        Ok(Held { connections })
    }

    async fn connect_each(self, form: Form) -> anyhow::Result<Vec<Connection>> {
        let held = Arc::new(Mutex::new(Vec::with_capacity(self.devices.len())));
        let (fleet, next) = (Arc::new(self), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (fleet, next, held) = (Arc::clone(&fleet), Arc::clone(&next), Arc::clone(&held));
            tasks.spawn(async move {
                while let Some((name, key)) =
                    fleet.devices.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let connection = match form {
                        Form::Mqtt => {
                            let device = Device::new(&fleet.access, name, key.clone(), 0);
                            let connected = device.connect_and_subscribe().await;
                            Connection::Mqtt(connected.context("over MQTT")?)
                        }
                        Form::Amqp | Form::Multiplexed => {
                            let mut amqp = amqp::connect(&fleet.access, 0, None).await?;
                            amqp.begin(0).await?;
                            amqp.attach_tokens().await?;
                            attach_device(&fleet.access, &mut amqp, 0, name, key).await?;
                            Connection::Amqp(amqp)
                        }
                    };
                    held.lock().push(connection);
                }
                anyhow::Ok(())
            });
        }
        ways::all(tasks).await?;
        let connections = std::mem::take(&mut *held.lock());
        Ok(connections)
    }

    async fn multiplex(&self) -> anyhow::Result<Amqp> {
        let mut amqp = amqp::connect(&self.access, 0, None).await?;
        amqp.begin(0).await?;
        amqp.attach_tokens().await?;
        for (channel, (name, key)) in (1..).zip(&self.devices) {
            amqp.begin(channel).await?;
            attach_device(&self.access, &mut amqp, channel, name, key).await?;
        }
        Ok(amqp)
    }
}

async fn attach_device(
    access: &Access,
    amqp: &mut Amqp,
    channel: u16,
    name: &str,
    key: &[u8],
) -> anyhow::Result<()> {
    let scope = format!("{}/devices/{name}", access.host);
    amqp.put_token(&sign(&scope, key, FAR_FUTURE_SECONDS, None))
        .await?;
    let events = format!("/devices/{name}/messages/events");
    amqp.attach(channel, sender(TELEMETRY, &events)).await?;
    let messages = format!("/devices/{name}/messages/devicebound");
    amqp.attach(channel, receiver(MESSAGES, &messages)).await?;
    amqp.grant(channel, MESSAGES);
    amqp.flush().await
}
