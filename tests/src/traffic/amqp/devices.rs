//! Devices on one AMQP connection that take every message they can get.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use downlink_amqp::message::{Body, Message};
use downlink_amqp::performative::{
    Attach, DeliveryState, Detach, Disposition, Performative, ReceiverSettleMode, Role, Transfer,
};
use downlink_amqp::types::Value;
use downlink_auth::sign;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::traffic::{Access, FAR_FUTURE_SECONDS, Ledger, message_number};
use crate::wire::amqp::{Amqp, Incoming, receiver};

/// Silence that the hub is told not to exceed, and after which the connection is given up.
const IDLE_TIME_OUT_MILLIS: u32 = 4_000;
const SILENCE: Duration = Duration::from_secs(4);
/// How long it may take until links are asked for.
const OPENING: Duration = Duration::from_secs(8);
/// Pause before the next attempt to connect, or to attach a link again.
const PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(50);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Handle of the link for messages, in a session that may hold the `$cbs` pair too.
const MESSAGES: u32 = 3;
/// Credit of a link, granted again when half of it is used.
const CREDIT: u32 = 20;
/// Of so many messages one is abandoned at its first delivery.
const ABANDONED_ONE_OF: usize = 16;

/// One device, or several, each with its own token and session.
pub(in crate::traffic) struct Devices {
    access: Access,
    /// Names and keys.
    credentials: Vec<(String, Vec<u8>)>,
    turn: usize,
}

/// A connection with the links of the devices.
struct Connection {
    amqp: Amqp,
    units: Vec<Unit>,
    is_shared: bool,
}

/// A device on the connection; its place among them is its channel.
struct Unit {
    name: String,
    link: Link,
    settling: Settling,
}

#[derive(Clone, Copy, Debug)]
enum Link {
    Detached { again_at: Instant },
    Asked,
    Attached { delivery_count: u32, credit: u32 },
}

/// How a device settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settling {
    /// With its word, as most SDKs do.
    AtOnce,
    /// When the hub has answered its word, as C# does.
    InTwoSteps,
}

impl Devices {
    /// `turn` says which gateway they try first.
    pub(in crate::traffic) fn new(
        access: &Access,
        credentials: Vec<(String, Vec<u8>)>,
        turn: usize,
    ) -> Self {
        Self {
            access: access.clone(),
            credentials,
            turn,
        }
    }

    /// Connects, takes and settles messages, and connects again when that ends, for ever.
    pub(in crate::traffic) async fn run(mut self, ledger: &Ledger) {
        loop {
            // Every end of a connection is a reason to try the next gateway.
            let _ = self.stay(ledger).await;
            ledger.reconnect();
            self.turn += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn stay(&self, ledger: &Ledger) -> anyhow::Result<()> {
        let mut connection = timeout(OPENING, self.open()).await??;
        let (mut tick, mut beat) = (interval(TICK), interval(HEARTBEAT));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                frame = connection.amqp.next_frame() => connection.on_frame(frame?, ledger)?,
                _ = tick.tick() => connection.attach_again(),
                _ = beat.tick() => {
                    let silent = connection.amqp.heard_at.elapsed();
                    ensure!(silent < SILENCE, "the hub is silent");
                    connection.amqp.put_heartbeat();
                }
            }
            while let Some(frame) = connection.amqp.read_frame()? {
                connection.on_frame(frame, ledger)?;
            }
            connection.amqp.flush().await?;
        }
    }

    async fn open(&self) -> anyhow::Result<Connection> {
        let (access, host) = (&self.access, &self.access.host);
        let mut amqp = super::connect(access, self.turn, Some(IDLE_TIME_OUT_MILLIS)).await?;
        let mut units = Vec::with_capacity(self.credentials.len());
        amqp.begin(0).await?;
        amqp.attach_tokens().await?;
        for (channel, (name, key)) in (0..).zip(&self.credentials) {
            if channel > 0 {
                amqp.begin(channel).await?;
            }
            let scope = format!("{host}/devices/{name}");
            amqp.put_token(&sign(&scope, key, FAR_FUTURE_SECONDS, None))
                .await?;
            units.push(Unit::new(name, channel));
        }
        Ok(Connection {
            amqp,
            is_shared: units.len() > 1,
            units,
        })
    }
}

impl Unit {
    fn new(name: &str, channel: u16) -> Self {
        Self {
            name: name.to_owned(),
            link: Link::Detached {
                again_at: Instant::now(),
            },
            settling: if channel.is_multiple_of(2) {
                Settling::AtOnce
            } else {
                Settling::InTwoSteps
            },
        }
    }

    fn attach(&self) -> Attach {
        let address = format!("/devices/{}/messages/devicebound", self.name);
        let rcv_settle_mode = match self.settling {
            Settling::AtOnce => ReceiverSettleMode::First,
            Settling::InTwoSteps => ReceiverSettleMode::Second,
        };
        Attach {
            rcv_settle_mode: Some(rcv_settle_mode),
            ..receiver(MESSAGES, &address)
        }
    }
}

impl Connection {
    /// Asks for the links that are due.
    fn attach_again(&mut self) {
        let now = Instant::now();
        for (channel, unit) in (0..).zip(&mut self.units) {
            if matches!(unit.link, Link::Detached { again_at } if again_at <= now) {
                self.amqp.put(channel, &unit.attach().into(), &[]);
                unit.link = Link::Asked;
            }
        }
    }

    fn on_frame(
        &mut self,
        (channel, frame, payload): Incoming,
        ledger: &Ledger,
    ) -> anyhow::Result<()> {
        match frame {
            Performative::Attach(echo) if echo.source.is_some() && echo.handle == MESSAGES => {
                let delivery_count = echo.initial_delivery_count.unwrap_or_default();
                self.grant(channel, delivery_count)
            }
            Performative::Detach(detach) => self.on_detach(channel, &detach, ledger),
            Performative::Transfer(transfer) if transfer.handle == MESSAGES => {
                self.on_message(channel, &transfer, &payload, ledger)
            }
            Performative::End(end) => bail!("ended: {:?}", end.error),
            Performative::Close(close) => bail!("closed: {:?}", close.error),
            // What the hub says to words that were not settled is of no consequence: a message
            // whose lock was lost comes again.
            _ => Ok(()),
        }
    }

    fn unit(&mut self, channel: u16) -> anyhow::Result<&mut Unit> {
        let unit = self.units.get_mut(usize::from(channel));
        unit.context("a channel without a device")
    }

    fn grant(&mut self, channel: u16, delivery_count: u32) -> anyhow::Result<()> {
        self.unit(channel)?.link = Link::Attached {
            delivery_count,
            credit: CREDIT,
        };
        self.amqp
            .grant_again(channel, MESSAGES, delivery_count, CREDIT);
        Ok(())
    }

    /// A device of its own connects again; one among others has only its link attached again.
    fn on_detach(&mut self, channel: u16, detach: &Detach, ledger: &Ledger) -> anyhow::Result<()> {
        ensure!(
            self.is_shared && detach.handle == MESSAGES,
            "detached: {:?}",
            detach.error
        );
        ledger.reconnect();
        let answer = Detach {
            handle: MESSAGES,
            closed: true,
            error: None,
        };
        self.amqp.put(channel, &answer.into(), &[]);
        self.unit(channel)?.link = Link::Detached {
            again_at: Instant::now() + PAUSE,
        };
        Ok(())
    }

    fn on_message(
        &mut self,
        channel: u16,
        transfer: &Transfer,
        payload: &Bytes,
        ledger: &Ledger,
    ) -> anyhow::Result<()> {
        ensure!(!transfer.more, "small messages come whole");
        let delivery = transfer.delivery_id.context("a delivery has an id")?;
        let message = Message::decode(payload)?;
        let Body::Data(body) = &message.body else {
            bail!("no data: {message:?}");
        };
        let id = String::from_utf8(body.to_vec())?;
        let count = message.annotation("iothub-deliverycount");
        let Some(Value::Ubyte(count)) = count else {
            bail!("no count: {message:?}");
        };
        let unit = self.unit(channel)?;
        let Link::Attached {
            delivery_count,
            credit,
        } = &mut unit.link
        else {
            bail!("a message on no link");
        };
        *delivery_count = delivery_count.wrapping_add(1);
        *credit = credit.checked_sub(1).context("more than was granted")?;
        let (delivery_count, credit, settling) = (*delivery_count, *credit, unit.settling);
        ledger.take(&unit.name, id.clone(), *count > 0);
        let is_chosen = message_number(&id).is_some_and(|at| at % ABANDONED_ONE_OF == 0);
        let state = if is_chosen && ledger.abandon(id) {
            DeliveryState::Released
        } else {
            DeliveryState::Accepted
        };
        let word = Disposition {
            role: Role::Receiver,
            first: delivery,
            last: None,
            settled: settling == Settling::AtOnce,
            state: Some(state),
        };
        self.amqp.put(channel, &word.into(), &[]);
        if credit <= CREDIT / 2 {
            self.grant(channel, delivery_count)?;
        }
        Ok(())
    }
}
