//! Hubs and their policies.

use std::time::Duration;

use downlink_domain::policy::{Permission, Permissions, Policy};

use super::Subject;
use super::given::{a_hub, a_policy, noon};

#[doc(hidden)]
pub async fn a_hub_is_created_once_with_its_policies(subject: Subject) {
    let policies = &subject.policies;
    let access = async || {
        let access = subject.access.access(a_hub(), None).await.unwrap();
        access.expect("nothing is known yet").policies
    };
    assert!(access().await.is_empty());
    let owner = Policy {
        keys: [vec![0, 255], vec![9; 64]],
        permissions: Permissions::of(&[Permission::RegistryWrite, Permission::DeviceConnect]),
        ..a_policy("z-owner")
    };
    let given = vec![owner, a_policy("a-service")];
    let ensured = policies.ensure_hub(a_hub(), given.clone(), noon());
    ensured.await.unwrap();
    let later = noon() + Duration::from_secs(1);
    let ensured = policies.ensure_hub(a_hub(), vec![a_policy("other")], later);
    ensured.await.unwrap();
    assert!(access().await == given);
    assert_eq!(policies.hubs().await.unwrap(), [a_hub()]);
}

#[doc(hidden)]
pub async fn hubs_are_named_oldest_first(subject: Subject) {
    let names = ["z.test", "a.test", "m.test"].map(|name| name.parse().unwrap());
    for hub in names.clone() {
        let ensured = subject.policies.ensure_hub(hub, Vec::new(), noon());
        ensured.await.unwrap();
    }
    assert_eq!(subject.policies.hubs().await.unwrap(), names);
}
