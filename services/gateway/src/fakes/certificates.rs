//! Certificates of devices and authorities, and devices that prove themselves by them.

use std::time::Duration;

use downlink_auth::ClientChain;
use downlink_auth::x509::{AuthorityCertificate, Thumbprints};
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::authority::{CertificateAuthority, Possession};
use downlink_domain::device::{Authentication, Device, IfMatch};
use downlink_ports::{AccessStore, Clock};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::TestHub;
use crate::authenticate::CredentialId;

/// How long certificates live after the hub's noon.
const LIFE: Duration = Duration::from_hours(30 * 24);

fn at(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.as_seconds()).unwrap()
}

fn params(hub: &TestHub, common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = hub.clock.now();
    params.not_before = at(now) - Duration::from_hours(24);
    params.not_after = at(now + LIFE);
    params
}

/// A certificate that nobody vouches for, as a client presents it.
pub(crate) fn self_signed(hub: &TestHub, common_name: &str) -> ClientChain {
    let key = KeyPair::generate().unwrap();
    let certificate = params(hub, common_name).self_signed(&key).unwrap();
    ClientChain::new(&[certificate.der().clone()]).unwrap()
}

/// SHA-1 and SHA-256 of a client's own certificate.
pub(crate) fn thumbprints(chain: &ClientChain) -> [String; 2] {
    let thumbprints = Thumbprints::of(chain.leaf());
    [thumbprints.sha1_hex(), thumbprints.sha256_hex()]
}

/// An authority that signs devices.
pub(crate) struct Authority {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one whose certificate it signs itself.
    pub(crate) fn new(hub: &TestHub, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(hub, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self { der, issuer }
    }

    /// The chain of a device that it vouches for while the authority's own certificate lives.
    pub(crate) fn issue(&self, hub: &TestHub, common_name: &str) -> ClientChain {
        self.issue_until(hub, common_name, hub.clock.now() + LIFE)
    }

    /// The same with an end of its own.
    pub(crate) fn issue_until(
        &self,
        hub: &TestHub,
        common_name: &str,
        end: Timestamp,
    ) -> ClientChain {
        let mut params = params(hub, common_name);
        params.not_after = at(end);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ClientChain::new(&[certificate.der().clone()]).unwrap()
    }

    /// By what connections live that it has vouched for.
    pub(crate) fn credential(&self) -> CredentialId {
        CredentialId::of_authority(&"hub.test".parse().unwrap(), &self.der)
    }

    /// What is registered of it.
    pub(crate) fn record(&self, name: &str, possession: Possession) -> CertificateAuthority {
        let read = AuthorityCertificate::read(&self.der).unwrap();
        let seconds = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        CertificateAuthority {
            name: name.to_owned(),
            certificate: read.der.into(),
            subject: read.subject,
            thumbprint: read.thumbprint,
            not_before: seconds(read.not_before_seconds),
            not_after: seconds(read.not_after_seconds),
            possession,
            etag: 1,
            created_at: Timestamp::UNSET,
            updated_at: Timestamp::UNSET,
        }
    }
}

impl TestHub {
    /// Registers an authority whose key is proved to be held, and waits until the gateway knows.
    pub(crate) async fn trust(&self, name: &str, authority: &Authority) {
        let record = authority.record(name, Possession::Verified);
        self.register(record).await;
        let credential = authority.credential();
        let mut views = self.shared.access.subscribe();
        let is_known = views.wait_for(|view| {
            let view = view.as_ref();
            view.is_some_and(|view| view.is_alive(credential))
        });
        is_known.await.unwrap();
    }

    /// Registers an authority.
    pub(crate) async fn register(&self, record: CertificateAuthority) {
        let (hub, now) = (self.shared.options.hub.clone(), self.clock.now());
        let by = Actor::operator();
        let put = self
            .store
            .put_authority(hub, record, IfMatch::Absent, by, now);
        put.await.unwrap().unwrap();
    }

    /// Removes an authority; the gateway learns of it soon.
    pub(crate) async fn distrust(&self, name: &str) {
        let (hub, now) = (self.shared.options.hub.clone(), self.clock.now());
        let (name, by) = (name.to_owned(), Actor::operator());
        let deleted = self
            .store
            .delete_authority(hub, name, IfMatch::Any, by, now);
        deleted.await.unwrap().unwrap();
    }

    /// Registers a device that proves itself by the thumbprint of its certificate.
    pub(crate) async fn device_of_thumbprints(
        &self,
        id: &str,
        [primary, secondary]: [Option<String>; 2],
    ) -> Device {
        let authentication = Authentication::SelfSigned { primary, secondary };
        self.device_with(id, authentication).await
    }

    /// Registers a device that proves itself by the word of an authority.
    pub(crate) async fn device_of_authority(&self, id: &str) -> Device {
        self.device_with(id, Authentication::CertificateAuthority)
            .await
    }

    async fn device_with(&self, id: &str, authentication: Authentication) -> Device {
        let device = self.device(id).await;
        let change = |spec: &mut downlink_domain::device::DeviceSpec| {
            spec.authentication = authentication.clone();
        };
        self.change_unannounced(&device, change).await;
        Device {
            authentication,
            ..device
        }
    }
}
