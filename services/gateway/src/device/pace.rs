//! How fast a session may go: its device's own rates, and its part in those of the hub.
//!
//! Telemetry over MQTT waits for its turns and nothing is read meanwhile; a message over AMQP whose turn is too far away
//! is refused, which its sender hears. Twin requests take their turns as they come in and are refused when those are too
//! far away. Messages are asked for as fast as they may be handed out. A session of which nothing is limited holds one
//! empty pointer.

use std::collections::VecDeque;
use std::time::Duration;

use downlink_domain::limits::{DeviceOperation, HubOperation};
use downlink_domain::method::MethodError;
use downlink_domain::presence::Protocol;
use downlink_ports::PeerError;
use tokio::time::{Instant, sleep, sleep_until};

use super::running::{Done, Kind};
use super::session::{DeviceSession, Operation, OperationOutcome, SessionEvent};
use crate::limits::{DeviceMeter, Reserved, Throttled, Turn};

/// What a session knows of its pace; nothing while nothing was limited.
pub(super) struct Pace<T>(Option<Box<Held<T>>>);

struct Held<T> {
    meter: Option<Box<DeviceMeter>>,
    /// Turns of the hub's telemetry that have come and were not used.
    prepaid: u32,
    /// What was refused and not yet told. Bounded by what a door hands over before it polls again.
    refused: VecDeque<SessionEvent<T>>,
}

/// When an operation has its turn; `None` for at once.
pub(super) type Due = Option<Box<OperationTurn>>;

/// The turns of one operation, of the device and of the hub.
pub(super) struct OperationTurn {
    of_device: Instant,
    of_hub: Option<Reserved>,
}

impl OperationTurn {
    /// Waits for both.
    pub(super) async fn come(self) {
        sleep_until(self.of_device).await;
        if let Some(reserved) = self.of_hub {
            reserved.come().await;
        }
    }
}

impl<T> Default for Pace<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Pace<T> {
    fn held(&mut self) -> &mut Held<T> {
        self.0.get_or_insert_with(|| {
            Box::new(Held {
                meter: None,
                prepaid: 0,
                refused: VecDeque::new(),
            })
        })
    }

    /// What was refused and not yet told.
    pub(super) fn next_refused(&mut self) -> Option<SessionEvent<T>> {
        self.0.as_mut()?.refused.pop_front()
    }

    fn meter(&mut self) -> Option<&mut DeviceMeter> {
        self.0.as_mut()?.meter.as_deref_mut()
    }
}

impl<T> DeviceSession<T> {
    /// Brings the pace up to what is stated; returns whether anything is limited.
    fn is_paced(&mut self) -> bool {
        let limits = &self.shared.limits;
        if limits.is_quiet() {
            if let Some(held) = &mut self.pace.0 {
                held.meter = None;
            }
            return false;
        }
        let held = self.pace.held();
        limits.refresh(&mut held.meter, &self.device);
        true
    }

    /// Leaves what the device has used with the gateway, for when it comes back.
    pub(super) fn park_pace(&mut self) {
        let meter = self.pace.0.as_mut().and_then(|held| held.meter.take());
        if let Some(meter) = meter {
            self.shared.limits.park(self.device.key, &meter);
        }
    }
}

impl<T: Send + 'static> DeviceSession<T> {
    /// How many of `waiting` messages may be stored now. If none, the session is polled when some may.
    pub(super) fn telemetry_turns(&mut self, waiting: usize) -> usize {
        if !self.is_paced() {
            return waiting;
        }
        if self.running.has(Kind::Pacing) {
            return 0;
        }
        let (operation, hub) = (DeviceOperation::Telemetry, HubOperation::Telemetry);
        let limits = &self.shared.limits;
        let held = self.pace.held();
        let most = u32::try_from(waiting).unwrap_or(u32::MAX);
        let allowed = match held.meter.as_deref_mut() {
            None => most,
            Some(meter) => match meter.take_up_to(operation, most) {
                Turn::Now(allowed) => allowed,
                Turn::After(wait) => {
                    limits.note_device(operation, &Ok(wait));
                    self.pause(Kind::Pacing, wait);
                    return 0;
                }
            },
        };
        let prepaid = std::mem::take(&mut held.prepaid).min(allowed);
        let taken = prepaid + limits.take_up_to(hub, allowed - prepaid);
        if let Some(meter) = held.meter.as_deref_mut() {
            meter.give_back(operation, allowed - taken);
        }
        if taken == 0 {
            // One turn at a time for each connection: so a busy one has no more of the hub's than any other.
            held.prepaid = 1;
            let reserved = limits.queue_up(hub);
            self.running.begin(Kind::Pacing, async move {
                reserved.come().await;
                Done::Paced
            });
        }
        usize::try_from(taken).unwrap_or(usize::MAX)
    }

    /// Whether one more message must be refused, because its turn is too far away and its sender can be told.
    pub(super) fn refuses_telemetry(&mut self) -> Option<Throttled> {
        let is_told = matches!(self.connection.protocol, Protocol::Amqp | Protocol::AmqpWs);
        if !is_told || !self.is_paced() {
            return None;
        }
        let limits = &self.shared.limits;
        let most = limits.options().max_delay;
        let ahead = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        let operation = DeviceOperation::Telemetry;
        let needed = ahead.saturating_add(1);
        let of_device = self.pace.meter();
        let wait = of_device.map_or(Duration::ZERO, |meter| meter.delay(operation, needed));
        if wait > most && ahead > 0 {
            limits.note_device(operation, &Err(wait));
            return Some(Throttled::device(operation, wait));
        }
        limits.refuse_late(HubOperation::Telemetry).err()
    }

    /// Takes the turns of an operation.
    ///
    /// # Errors
    /// [`Throttled`]: it has none in time.
    pub(super) fn operation_turn(&mut self, operation: &Operation) -> Result<Due, Throttled> {
        let (own, hub) = match operation {
            Operation::GetTwin => (DeviceOperation::TwinRead, HubOperation::TwinRead),
            Operation::Report(_) => (DeviceOperation::TwinUpdate, HubOperation::TwinUpdate),
            Operation::Subscribe { .. } => return Ok(None),
        };
        if !self.is_paced() {
            return Ok(None);
        }
        let limits = &self.shared.limits;
        let most = limits.options().max_delay;
        let taken = self
            .pace
            .meter()
            .map_or(Ok(Duration::ZERO), |meter| meter.take_within(own, most));
        limits.note_device(own, &taken);
        let wait = taken.map_err(|wait| Throttled::device(own, wait))?;
        let reserved = limits.reserve(hub, 1).inspect_err(|_| {
            if let Some(meter) = self.pace.meter() {
                meter.give_back(own, 1);
            }
        })?;
        if wait.is_zero() && reserved.is_none() {
            return Ok(None);
        }
        Ok(Some(Box::new(OperationTurn {
            of_device: Instant::now() + wait,
            of_hub: reserved,
        })))
    }

    /// Tells later that an operation was not begun.
    pub(super) fn refuse_operation(&mut self, tag: T, operation: &Operation, throttled: Throttled) {
        let error = PeerError::from(throttled);
        let outcome = match operation {
            Operation::GetTwin => OperationOutcome::Twin(Box::new(Err(error))),
            Operation::Report(_) => OperationOutcome::Reported(Err(error)),
            // They have no rate.
            Operation::Subscribe { .. } => OperationOutcome::Subscribed(Err(error)),
        };
        let refused = SessionEvent::Ended(tag, outcome);
        self.pace.held().refused.push_back(refused);
    }

    /// How many messages may be asked for, of the `room` there is. If none, the session is polled when some may.
    pub(super) fn receive_turns(&mut self, room: u16) -> u16 {
        if !self.is_paced() {
            return room;
        }
        if self.running.has(Kind::AwaitingTurn) {
            return 0;
        }
        let operation = DeviceOperation::C2dReceive;
        let Some(meter) = self.pace.meter() else {
            return room;
        };
        match meter.take_up_to(operation, u32::from(room)) {
            Turn::Now(allowed) => {
                // What comes is charged, not what was asked for.
                meter.give_back(operation, allowed);
                u16::try_from(allowed).unwrap_or(room)
            }
            Turn::After(wait) => {
                self.shared.limits.note_device(operation, &Ok(wait));
                self.pause(Kind::AwaitingTurn, wait);
                0
            }
        }
    }

    /// Notes that so many messages came.
    pub(super) fn note_received(&mut self, count: usize) {
        if let Some(meter) = self.pace.meter() {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            meter.charge(DeviceOperation::C2dReceive, count);
        }
    }

    /// Whether the device may be called now.
    ///
    /// # Errors
    /// What the caller is told.
    pub(super) fn method_turn(&mut self) -> Result<(), MethodError> {
        if !self.is_paced() {
            return Ok(());
        }
        let operation = DeviceOperation::MethodCall;
        let taken = self.pace.meter().map_or(Ok(Duration::ZERO), |meter| {
            meter.take_within(operation, Duration::ZERO)
        });
        self.shared.limits.note_device(operation, &taken);
        taken.map(drop).map_err(|_| MethodError::Throttled)
    }

    fn pause(&mut self, kind: Kind, wait: Duration) {
        self.running.begin(kind, async move {
            sleep(wait).await;
            match kind {
                Kind::AwaitingTurn => Done::TurnCame,
                _ => Done::Paced,
            }
        });
    }
}
