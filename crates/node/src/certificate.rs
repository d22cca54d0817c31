//! The files TLS is served with.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use downlink_config::Config;
use downlink_runtime::{
    ClientCertificates, HandshakeLimit, TlsAcceptor, TlsIdentity, dev_certificate,
};

/// A certificate chain, its key, and what clients must trust.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// What clients must trust.
    pub ca: PathBuf,
    /// The chain, leaf first.
    pub chain: PathBuf,
    /// The private key of the leaf.
    pub key: PathBuf,
}

impl Certificate {
    /// Takes the certificate that `config` names, else makes sure of a development one in
    /// `folder` for the host names of the hub.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn find(config: &Config, folder: &Path, now_seconds: i64) -> anyhow::Result<Self> {
        let tls = &config.tls;
        if let (Some(chain), Some(key)) = (&tls.certificate_file, &tls.key_file) {
            return Ok(Self {
                ca: chain.clone(),
                chain: chain.clone(),
                key: key.clone(),
            });
        }
        let names: Vec<String> = config.hub.host_names().map(str::to_owned).collect();
        let made = dev_certificate::ensure(folder, &names, now_seconds)?;
        // Clients are started elsewhere: they need the whole path.
        let ca = std::path::absolute(&made.ca_file)?;
        Ok(Self {
            ca,
            chain: made.certificate_file,
            key: made.key_file,
        })
    }

    /// TLS with this certificate that negotiates one of `protocols` and asks `clients` for theirs
    /// or not; handshakes are bounded as `limit` says.
    ///
    /// # Errors
    /// When the files cannot be read or do not fit each other; it names the settings.
    pub fn acceptor(
        &self,
        protocols: &[&[u8]],
        clients: ClientCertificates,
        limit: &HandshakeLimit,
    ) -> anyhow::Result<TlsAcceptor> {
        let identity = TlsIdentity::from_pem_files(&self.chain, &self.key)
            .context("tls.certificate_file and tls.key_file")?;
        Ok(TlsAcceptor::new(
            &identity,
            protocols,
            clients,
            limit.clone(),
        )?)
    }
}

/// The bound on handshakes that `config` sets.
pub fn handshake_limit(config: &Config) -> HandshakeLimit {
    let most = usize::try_from(config.tls.max_handshakes.get()).unwrap_or(usize::MAX);
    HandshakeLimit::new(most, config.tls.answer_timeout.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_read_is_told_with_its_settings() {
        let mut config = Config::default();
        config.tls.certificate_file = Some("/nowhere/chain.pem".into());
        config.tls.key_file = Some("/nowhere/key.pem".into());
        let certificate = Certificate::find(&config, Path::new("/nowhere"), 0).unwrap();
        let refused = certificate.acceptor(
            &[],
            ClientCertificates::Requested,
            &handshake_limit(&config),
        );
        let told = format!("{:#}", refused.err().unwrap());
        assert!(told.starts_with("tls.certificate_file"), "{told}");
        assert!(
            told.contains("/nowhere/chain.pem") && told.lines().count() == 1,
            "{told}"
        );
    }
}
