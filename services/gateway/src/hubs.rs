//! The hubs of a gateway, by the names that clients give in their TLS handshakes.

use std::collections::HashMap;
use std::sync::Arc;

use downlink_domain::id::HubName;
use downlink_oidc::Issuers;
use downlink_runtime::TlsStream;
use downlink_runtime::tls::fold_host_name;

use crate::options::GatewayOptions;
use crate::peers::Peers;
use crate::shared::Shared;

/// A hub that a gateway serves beside the one of its options.
#[derive(Clone)]
pub struct FurtherHub {
    /// The tenant.
    pub hub: HubName,
    /// Host names that clients may use for it, the one of connection strings first; no other hub has them.
    pub host_names: Vec<HubName>,
    /// The issuers of its bearer tokens.
    pub issuers: Arc<Issuers>,
}

impl FurtherHub {
    /// The options of a gateway, for this hub.
    pub(crate) fn options(&self, gateway: &GatewayOptions) -> GatewayOptions {
        GatewayOptions {
            hub: self.hub.clone(),
            host_names: self.host_names.clone(),
            ..gateway.clone()
        }
    }

    /// What a gateway calls, for this hub.
    pub(crate) fn peers(&self, gateway: &Peers) -> Peers {
        Peers {
            issuers: Arc::clone(&self.issuers),
            ..gateway.clone()
        }
    }
}

/// Something of each hub, such as what its connections share. Clones share it.
#[derive(Debug)]
pub(crate) struct Hubs<T> {
    each: Arc<[T]>,
    /// Places in `each`; a name that is not here has the first.
    by_name: Arc<HashMap<String, usize>>,
}

impl<T> Clone for Hubs<T> {
    fn clone(&self) -> Self {
        Self {
            each: Arc::clone(&self.each),
            by_name: Arc::clone(&self.by_name),
        }
    }
}

impl Hubs<Arc<Shared>> {
    /// What the connections of each hub share, the first hub's first. A name that several have is the first's.
    pub(crate) fn new(first: Arc<Shared>, further: impl IntoIterator<Item = Arc<Shared>>) -> Self {
        let each: Arc<[_]> = std::iter::once(first).chain(further).collect();
        let mut by_name = HashMap::new();
        for (place, shared) in each.iter().enumerate() {
            for name in &shared.options.host_names {
                let name = fold_host_name(name.as_str()).into_owned();
                by_name.entry(name).or_insert(place);
            }
        }
        Self {
            each,
            by_name: Arc::new(by_name),
        }
    }
}

impl<T> Hubs<T> {
    /// What is made for each hub.
    pub(crate) fn map<U>(&self, make: impl FnMut(&T) -> U) -> Hubs<U> {
        Hubs {
            each: self.each.iter().map(make).collect(),
            by_name: Arc::clone(&self.by_name),
        }
    }

    /// Of every hub, the first hub's first.
    pub(crate) fn each(&self) -> &[T] {
        &self.each
    }

    /// Of the first hub.
    pub(crate) fn first(&self) -> &T {
        &self.each[0]
    }

    /// Of the hub whose name the client gave in its handshake; of the first if it gave none, or one that is not known:
    /// whatever it says later must then name that hub.
    pub(crate) fn of<S>(&self, io: &TlsStream<S>) -> &T {
        self.called(io.get_ref().1.server_name())
    }

    fn called(&self, name: Option<&str>) -> &T {
        let place = name.and_then(|name| self.by_name.get(fold_host_name(name).as_ref()));
        place.map_or(self.first(), |place| &self.each[*place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::TestHub;

    async fn shared(host_names: &[&str]) -> Arc<Shared> {
        let names = host_names.iter().map(|name| name.parse().unwrap());
        let names: Vec<HubName> = names.collect();
        let hub = TestHub::with(|options| options.host_names = names).await;
        Arc::clone(&hub.shared)
    }

    #[tokio::test]
    async fn a_name_leads_to_its_hub_and_any_other_to_the_first() {
        let hubs = Hubs::new(
            shared(&["a.example", "both.example"]).await,
            [shared(&["b.example", "Bb.example", "both.example"]).await],
        );
        let called = hubs.map(|shared| shared.options.host_names[0].as_str().to_owned());
        for (name, expected) in [
            (Some("a.example"), "a.example"),
            (Some("b.example"), "b.example"),
            (Some("B.EXAMPLE."), "b.example"),
            (Some("bb.example"), "b.example"),
            (Some("both.example"), "a.example"),
            (Some("c.example"), "a.example"),
            (Some(""), "a.example"),
            (None, "a.example"),
        ] {
            assert_eq!(called.called(name), expected, "{name:?}");
        }
    }
}
