//! Policies of a hub under test, as administrators change them.

use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::policy::{Permission, Permissions, Policy, PolicyScope};
use downlink_ports::{AccessStore, Clock as _, TwinApi};
use serde_json::Value;

use super::TestHub;

impl TestHub {
    /// Creates a policy with the keys of the others and waits until the gateway knows it.
    pub(crate) async fn limited_policy(&self, name: &str, rights: &[Permission], scope: &Value) {
        let keys = [vec![1; 32], vec![2; 32]];
        let mut policy = Policy::new(name, keys, Permissions::of(rights));
        policy.scope = Some(PolicyScope::parse(scope).expect("a scope in its form"));
        self.write_policy(policy, IfMatch::Absent).await;
    }

    /// Changes a policy and waits until the gateway knows.
    pub(crate) async fn change_policy(&self, name: &str, change: impl FnOnce(&mut Policy)) {
        let hub = self.shared.options.hub.clone();
        let known = self.store.access(hub, None).await.unwrap().unwrap();
        let mut policies = known.policies.into_iter();
        let mut policy = policies.find(|policy| policy.name == name).unwrap();
        change(&mut policy);
        self.write_policy(policy, IfMatch::Any).await;
    }

    /// Gives a policy another first key and waits until the gateway knows.
    pub(crate) async fn rotate(&self, name: &str) {
        self.change_policy(name, |policy| policy.keys[0] = vec![7; 32])
            .await;
    }

    /// Deletes a policy and waits until the gateway knows.
    pub(crate) async fn delete_policy(&self, name: &str) {
        let hub = self.shared.options.hub.clone();
        let (name, by) = (name.to_owned(), Actor::operator());
        let deleted = self.backend.delete_policy(hub, name, IfMatch::Any, by);
        deleted.await.unwrap();
        self.until_access_is_known().await;
    }

    async fn write_policy(&self, policy: Policy, if_match: IfMatch) {
        let hub = self.shared.options.hub.clone();
        let written = self
            .backend
            .put_policy(hub, policy, if_match, Actor::operator());
        written.await.unwrap();
        self.until_access_is_known().await;
    }

    /// Waits until the gateway knows what the store does.
    pub(crate) async fn until_access_is_known(&self) {
        let hub = self.shared.options.hub.clone();
        let newest = self.store.access(hub, None).await.unwrap().unwrap().version;
        let mut views = self.shared.access.subscribe();
        let is_known =
            views.wait_for(|view| view.as_ref().is_some_and(|view| view.version() >= newest));
        is_known.await.unwrap();
    }

    /// A token of a policy's second key for the whole hub, good for an hour.
    pub(crate) fn second_key_token(&self, policy: &str) -> String {
        let expiry = self.clock.now().as_seconds() + 3600;
        downlink_auth::sign("hub.test", &[2; 32], expiry, Some(policy))
    }
}
