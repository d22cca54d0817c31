//! The certificates TLS is served with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use downlink_config::Config;
use downlink_runtime::{
    CertificateFiles, ClientCertificates, HandshakeLimit, ServerCertificates, TlsAcceptor,
    dev_certificate,
};

use crate::ground::Ground;

mod reload;
#[cfg(test)]
mod tests;

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
    /// Takes the certificate that `config` names for all names without one of their own, else
    /// makes sure of a development one in `folder` for the host names of every hub.
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
        let names: Vec<String> = config.hub.all_host_names().map(str::to_owned).collect();
        let made = dev_certificate::ensure(folder, &names, now_seconds)?;
        // Clients are started elsewhere: they need the whole path.
        let ca = std::path::absolute(&made.ca_file)?;
        Ok(Self {
            ca,
            chain: made.certificate_file,
            key: made.key_file,
        })
    }
}

/// The certificates of every hub, in use. Clones share them.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// What clients of the first hub must trust.
    pub ca: PathBuf,
    held: Arc<ServerCertificates>,
}

impl Certificates {
    /// Loads the certificate of every hub that has one of its own, and that of all others; see
    /// [`Certificate::find`].
    ///
    /// # Errors
    /// When files cannot be read or do not fit each other; it names the settings.
    pub fn load(config: &Config, folder: &Path, now_seconds: i64) -> anyhow::Result<Self> {
        let first = Certificate::find(config, folder, now_seconds)?;
        let files = |host_names: Vec<String>, certificate: &Path, key: &Path| CertificateFiles {
            host_names,
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        let mut settings = vec!["tls".to_owned()];
        let mut further = Vec::new();
        for (label, hub) in &config.hub.further {
            let (Some(certificate), Some(key)) = (&hub.certificate_file, &hub.key_file) else {
                continue;
            };
            settings.push(format!("hub.further.{label}"));
            let host_names = hub.host_names().map(str::to_owned).collect();
            further.push(files(host_names, certificate, key));
        }
        let first_files = files(Vec::new(), &first.chain, &first.key);
        let held = ServerCertificates::load(&first_files, &further).map_err(|(index, error)| {
            let setting = &settings[index];
            let settings = format!("{setting}.certificate_file and {setting}.key_file");
            anyhow::Error::from(error).context(settings)
        })?;
        Ok(Self {
            ca: first.ca,
            held: Arc::new(held),
        })
    }

    /// TLS with these certificates that negotiates one of `protocols` and asks `clients` for
    /// theirs or not; handshakes are bounded as `limit` says.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn acceptor(
        &self,
        protocols: &[&[u8]],
        clients: ClientCertificates,
        limit: &HandshakeLimit,
    ) -> anyhow::Result<TlsAcceptor> {
        TlsAcceptor::over(&self.held, protocols, clients, limit.clone())
            .context("cannot set up tls")
    }

    /// Looks at the files again from now on, every `tls.reload_interval`.
    pub fn keep_current(&self, ground: &Ground) {
        let interval = ground.config.tls.reload_interval.get();
        let meter = ground.metrics.meter("downlink.node");
        reload::start(&self.held, interval, &meter, &ground.lifecycle);
    }
}

/// The bound on handshakes that `config` sets.
pub fn handshake_limit(config: &Config) -> HandshakeLimit {
    let most = usize::try_from(config.tls.max_handshakes.get()).unwrap_or(usize::MAX);
    HandshakeLimit::new(most, config.tls.answer_timeout.get())
}
