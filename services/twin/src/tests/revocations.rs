//! Connections end with the right to them, also when whoever took it away has hung up.

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::DeviceStatus;
use downlink_domain::id::{DeviceId, HubName, IdentityName};
use downlink_domain::presence::DisconnectReason;
use downlink_ports::{
    DeviceRegistry, RegistryChange, RegistryCounts, RegistryError, RegistryRules, RegistryWrite,
    RegistryWritten, StoreError,
};

use super::*;

/// A registry whose replacements and deletions are on disk some time before they are answered.
struct SlowToAnswer {
    inner: Arc<dyn DeviceRegistry>,
    answers: Arc<Semaphore>,
    written: mpsc::Sender<()>,
}

impl SlowToAnswer {
    async fn answered<T>(&self, answer: T) -> T {
        self.written.send(()).await.expect("the test listens");
        let permit = self.answers.acquire().await.expect("it is never closed");
        permit.forget();
        answer
    }
}

#[async_trait]
impl DeviceRegistry for SlowToAnswer {
    async fn write(
        &self,
        hub: HubName,
        writes: Vec<RegistryWrite>,
        rules: RegistryRules,
        by: Actor,
        now: Timestamp,
    ) -> Result<Vec<Result<RegistryWritten, RegistryError>>, StoreError> {
        let is_creation =
            |write: &RegistryWrite| matches!(write.change, RegistryChange::Create { .. });
        let is_fast = writes.iter().all(is_creation);
        let written = self.inner.write(hub, writes, rules, by, now).await;
        if is_fast {
            return written;
        }
        self.answered(written).await
    }

    async fn find(
        &self,
        hub: HubName,
        names: Vec<IdentityName>,
    ) -> Result<Vec<Option<Device>>, StoreError> {
        self.inner.find(hub, names).await
    }

    async fn list(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, StoreError> {
        self.inner.list(hub, limit).await
    }

    async fn counts(&self, hub: HubName) -> Result<RegistryCounts, StoreError> {
        self.inner.counts(hub).await
    }

    async fn list_modules(
        &self,
        hub: HubName,
        devices: Vec<DeviceId>,
    ) -> Result<Vec<Device>, StoreError> {
        self.inner.list_modules(hub, devices).await
    }
}

#[tokio::test]
async fn a_connection_ends_although_the_caller_hung_up_before_the_answer() {
    let answers = Arc::new(Semaphore::new(0));
    let (written, mut is_written) = mpsc::channel(1);
    let mut world = World::with_deps(&TwinOptions::default(), |deps| {
        deps.registry = Arc::new(SlowToAnswer {
            inner: Arc::clone(&deps.registry),
            answers: Arc::clone(&answers),
            written,
        });
    });
    for (name, reason) in [
        ("dev-1", DisconnectReason::Disabled),
        ("dev-2", DisconnectReason::Deleted),
    ] {
        let device = world.create(name).await;
        world.connect(&device, "gateway-1").await;
        let write = async {
            if reason == DisconnectReason::Deleted {
                let name = an_identity(name);
                drop(
                    world
                        .service
                        .delete_device(a_hub(), name, IfMatch::Any, somebody())
                        .await,
                );
            } else {
                let spec = DeviceSpec {
                    status: DeviceStatus::Disabled,
                    ..a_device_spec()
                };
                drop(world.put(name, spec, IfMatch::Any).await);
            }
        };
        tokio::select! {
            biased;
            () = write => panic!("it cannot be answered yet"),
            Some(()) = is_written.recv() => {}
        }
        answers.add_permits(1);
        let order = tokio::time::timeout(std::time::Duration::from_secs(10), world.orders.recv());
        let order = order
            .await
            .expect("an order within ten seconds")
            .expect("the gateway lives");
        assert_eq!((order.device, order.reason), (device.key, reason));
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_for_a_gateway_that_is_not_known_yet_reaches_it_once_it_is() {
    let mut world = World::new();
    let device = world.create("dev-1").await;
    let epoch = world.connect(&device, "gateway-1").await;
    *world.gateway.unknown_left.lock() = 6;
    let deleted =
        world
            .service
            .delete_device(a_hub(), an_identity("dev-1"), IfMatch::Any, somebody());
    deleted.await.unwrap();
    let order = world.orders.recv().await.unwrap();
    assert_eq!(
        (order.device, order.up_to, order.reason),
        (device.key, epoch, DisconnectReason::Deleted)
    );
}
