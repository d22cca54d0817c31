//! How fast a hub and its devices are served (errors-limits.md §5).
//!
//! Of each class of operations a hub has one rate, of which this gateway has a share ([`keeper`]); each device has rates
//! of its own, kept in its connection ([`DeviceMeter`]) or, for what has none, in a table. What comes faster waits for
//! its turn, a few seconds at most, then it is refused. Telemetry over MQTT, which cannot be refused, waits as long as
//! it takes, and its connection is read no further meanwhile.
//!
//! Where nothing is limited, an operation costs one look at a flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use downlink_domain::device::Device;
use downlink_domain::id::DeviceKey;
use downlink_domain::limits::{
    DeviceOperation, DeviceRates, HubOperation, LimitsSnapshot, METHOD_METER_BYTES, RatePlan,
};
use parking_lot::{Mutex, RwLock};
use tokio::time::{Instant, sleep};

pub use self::class::class_of;
pub use self::lane::Reserved;
pub use self::meter::{DeviceMeter, Turn};
pub use self::metrics::LimitsMetrics;
pub use self::throttled::{Reason, Throttled};

mod bucket;
mod class;
pub mod keeper;
mod lane;
mod meter;
mod metrics;
mod table;
#[cfg(test)]
mod tests;
mod throttled;

use self::lane::Lane;
use self::table::DeviceTable;

/// What the operator decides on limits.
#[derive(Clone, Debug)]
pub struct LimitsOptions {
    /// The rates while administrators state nothing else.
    pub plan: RatePlan,
    /// Longest wait for a turn; what would wait longer is refused.
    pub max_delay: Duration,
    /// Operations of one class that may wait at this gateway; a further one is refused.
    pub max_backlog: u32,
    /// How long a rate may be exceeded without a break until refusals say so.
    pub long_violation: Duration,
    /// Time between two looks at what administrators state.
    pub refresh_interval: Duration,
    /// Time between two exchanges of wants with the other gateways.
    pub exchange_interval: Duration,
    /// How long the last known wants count when none can be exchanged; after it, gateways have even shares.
    pub share_timeout: Duration,
}

impl Default for LimitsOptions {
    fn default() -> Self {
        Self {
            plan: RatePlan::default(),
            max_delay: Duration::from_secs(5),
            max_backlog: 1_000,
            long_violation: Duration::from_mins(1),
            refresh_interval: Duration::from_secs(1),
            exchange_interval: Duration::from_millis(200),
            share_timeout: Duration::from_secs(10),
        }
    }
}

/// The limits of one hub at this gateway.
pub struct Limits {
    options: LimitsOptions,
    lanes: [Lane; HubOperation::COUNT],
    /// Whether any class of the hub is limited.
    has_lanes: AtomicBool,
    /// Whether any device may be limited.
    has_meters: AtomicBool,
    stated: RwLock<Arc<Stated>>,
    table: Mutex<DeviceTable>,
    metrics: LimitsMetrics,
}

/// What administrators have stated, and what it makes of what is configured.
#[derive(Debug, Default)]
struct Stated {
    snapshot: Option<LimitsSnapshot>,
    plan: RatePlan,
}

impl Limits {
    /// Makes the limits as configured; this gateway has all of each rate until it hears of others.
    pub fn new(options: LimitsOptions, metrics: LimitsMetrics) -> Self {
        let limits = Self {
            lanes: std::array::from_fn(|_| Lane::default()),
            has_lanes: AtomicBool::new(false),
            has_meters: AtomicBool::new(false),
            stated: RwLock::default(),
            table: Mutex::default(),
            metrics,
            options,
        };
        limits.take(None);
        limits
    }

    /// Waits until an operation has its turn; `cost` is what it takes of the rate, 1 for most.
    ///
    /// # Errors
    /// [`Throttled`], at once.
    ///
    /// # Cancellation
    /// Safe; the turn is lost.
    pub async fn admit(&self, operation: HubOperation, cost: u32) -> Result<(), Throttled> {
        let Some(reserved) = self.reserve(operation, cost)? else {
            return Ok(());
        };
        reserved.come().await;
        Ok(())
    }

    /// Takes a turn without waiting for it; `None` when it is now.
    ///
    /// # Errors
    /// [`Throttled`].
    pub fn reserve(
        &self,
        operation: HubOperation,
        cost: u32,
    ) -> Result<Option<Reserved>, Throttled> {
        let lane = &self.lanes[operation.place()];
        if !lane.is_limited() {
            return Ok(None);
        }
        let reserved = lane.reserve(cost, Instant::now(), &self.options);
        match reserved {
            Ok(None) => Ok(None),
            Ok(Some(reserved)) => {
                self.metrics.hub_delayed(operation);
                Ok(Some(reserved))
            }
            Err((reason, wait)) => {
                self.metrics.hub_refused(operation);
                Err(Throttled::hub(operation, reason, wait))
            }
        }
    }

    /// What a method call takes of the rate of its hub.
    pub fn cost_of_call(payload_bytes: usize) -> u32 {
        let units = payload_bytes.div_ceil(METHOD_METER_BYTES).max(1);
        u32::try_from(units).unwrap_or(u32::MAX)
    }

    /// Waits until a device may connect.
    ///
    /// # Errors
    /// [`Throttled`], at once.
    pub async fn connect(&self, device: &Device) -> Result<(), Throttled> {
        let of_device = self.reserve_for(device, DeviceOperation::Connect, 1)?;
        self.admit(HubOperation::Connect, 1).await?;
        pause(of_device).await;
        Ok(())
    }

    /// Waits until a device without a connection may do something, `cost` times.
    ///
    /// # Errors
    /// [`Throttled`], at once.
    pub async fn admit_device(
        &self,
        device: &Device,
        operation: DeviceOperation,
        cost: u32,
    ) -> Result<(), Throttled> {
        pause(self.reserve_for(device, operation, cost)?).await;
        Ok(())
    }

    fn reserve_for(
        &self,
        device: &Device,
        operation: DeviceOperation,
        cost: u32,
    ) -> Result<Duration, Throttled> {
        if !self.has_meters.load(Ordering::Relaxed) {
            return Ok(Duration::ZERO);
        }
        let Some(rate) = self.rates_of(device).of(operation) else {
            return Ok(Duration::ZERO);
        };
        let (key, now): (DeviceKey, _) = (device.key, Instant::now());
        let most = self.options.max_delay;
        let mut table = self.table.lock();
        let reserved = table.reserve((key, operation), rate, cost, now, most);
        drop(table);
        self.note_device(operation, &reserved);
        reserved.map_err(|wait| Throttled::device(operation, wait))
    }

    /// The meter of a device that connects; `None` when nothing it does is limited.
    pub fn meter(&self, device: &Device) -> Option<Box<DeviceMeter>> {
        if !self.has_meters.load(Ordering::Relaxed) {
            return None;
        }
        let rates = self.rates_of(device);
        if !rates.is_any_limited() {
            return None;
        }
        let mut meter = DeviceMeter::new(&rates, self.version(), Instant::now());
        self.table.lock().unpark(device.key, &mut meter);
        Some(Box::new(meter))
    }

    /// Brings the meter of a connected device up to what is stated now. Cheap while that is as it was.
    pub fn refresh(&self, meter: &mut Option<Box<DeviceMeter>>, device: &Device) {
        let is_limited = self.has_meters.load(Ordering::Relaxed);
        match meter {
            None if !is_limited => {}
            None => *meter = self.meter(device),
            Some(held) => {
                let version = self.version();
                if held.version() == version && is_limited {
                    return;
                }
                let rates = self.rates_of(device);
                if rates.is_any_limited() {
                    held.set(&rates, version, Instant::now());
                } else {
                    *meter = None;
                }
            }
        }
    }

    /// Takes up to `most` turns that are now, without a wait and without going into debt.
    pub fn take_up_to(&self, operation: HubOperation, most: u32) -> u32 {
        let lane = &self.lanes[operation.place()];
        if !lane.is_limited() {
            return most;
        }
        lane.take_up_to(most, Instant::now())
    }

    /// Takes one turn, however long it is until then: for what can only be made to wait.
    pub fn queue_up(&self, operation: HubOperation) -> Reserved {
        self.metrics.hub_delayed(operation);
        self.lanes[operation.place()].queue_up(Instant::now())
    }

    /// Refuses what can be told to come later, when its turn is too far away.
    ///
    /// # Errors
    /// [`Throttled`].
    pub fn refuse_late(&self, operation: HubOperation) -> Result<(), Throttled> {
        let lane = &self.lanes[operation.place()];
        if !lane.is_limited() {
            return Ok(());
        }
        let wait = lane.delay(Instant::now());
        if wait <= self.options.max_delay {
            return Ok(());
        }
        self.metrics.hub_refused(operation);
        Err(Throttled::hub(operation, Reason::Wait, wait))
    }

    /// Whether nothing at all is limited.
    pub fn is_quiet(&self) -> bool {
        !self.has_lanes.load(Ordering::Relaxed) && !self.has_meters.load(Ordering::Relaxed)
    }

    /// Keeps what a device has used that leaves, until it would have been given back.
    pub fn park(&self, device: DeviceKey, meter: &DeviceMeter) {
        self.table.lock().park(device, meter, Instant::now());
    }

    /// What the operator decided.
    pub fn options(&self) -> &LimitsOptions {
        &self.options
    }

    /// Counts what a device's own rate made of an operation.
    pub fn note_device(&self, operation: DeviceOperation, outcome: &Result<Duration, Duration>) {
        match outcome {
            Ok(delay) if delay.is_zero() => {}
            Ok(_) => self.metrics.device_delayed(operation),
            Err(_) => self.metrics.device_refused(operation),
        }
    }

    /// What is known to be stated, `None` before the first answer.
    pub fn stated(&self) -> Option<LimitsSnapshot> {
        self.stated.read().snapshot.clone()
    }

    /// Takes what administrators state; `None` for nothing.
    pub fn take(&self, snapshot: Option<LimitsSnapshot>) {
        let now = Instant::now();
        let mut held = self.stated.write();
        let version = |stated: &Option<LimitsSnapshot>| stated.as_ref().map(|known| known.version);
        if version(&held.snapshot) > version(&snapshot) {
            // Somebody else's answer was faster.
            return;
        }
        let plan = match &snapshot {
            Some(snapshot) => self.options.plan.under(&snapshot.overrides),
            None => self.options.plan,
        };
        for operation in HubOperation::ALL {
            self.lanes[operation.place()].set_rate(plan.hub.of(*operation), now);
        }
        let has_own = |snapshot: &LimitsSnapshot| !snapshot.overrides.is_empty();
        let has_meters = plan.device.is_any_limited() || snapshot.as_ref().is_some_and(has_own);
        *held = Arc::new(Stated { snapshot, plan });
        self.has_meters.store(has_meters, Ordering::Relaxed);
        let is_any_limited = plan.hub.is_any_limited();
        self.has_lanes.store(is_any_limited, Ordering::Relaxed);
    }

    fn rates_of(&self, device: &Device) -> DeviceRates {
        let stated = Arc::clone(&self.stated.read());
        match &stated.snapshot {
            Some(snapshot) => stated
                .plan
                .of_device(&snapshot.overrides, &device.name.device),
            None => stated.plan.device,
        }
    }

    fn version(&self) -> u64 {
        let stated = self.stated.read();
        stated.snapshot.as_ref().map_or(0, |known| known.version)
    }
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}
