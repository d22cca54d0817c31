//! How connections are made.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, TlsCertificates,
};
use tokio::time::timeout;

use crate::address::Address;
use crate::error::LinkError;
use crate::options::{Credentials, RedisOptions};

/// Commands that wait in a connection to be written; further ones wait outside it.
const WRITE_QUEUE: usize = 256;

/// Makes connections of one kind.
#[derive(Clone)]
pub(crate) struct Dialer {
    credentials: Credentials,
    is_tls: bool,
    root_certificates: Option<Vec<u8>>,
    timeout: Duration,
}

impl Dialer {
    pub(crate) fn new(options: &RedisOptions, credentials: &Credentials, is_tls: bool) -> Self {
        Self {
            credentials: credentials.clone(),
            is_tls,
            root_certificates: options.root_certificates.clone(),
            timeout: options.connect_timeout,
        }
    }

    /// How long connecting may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Connects within the timeout. `on_push` is handed what the server says unasked, and that the
    /// connection has ended; it must not wait.
    pub(crate) async fn connect(
        &self,
        at: &Address,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, LinkError> {
        let refused = |error| LinkError::Refused {
            at: at.clone(),
            error,
        };
        let client = self.client(at).map_err(refused)?;
        // Every call has a deadline of its own, so the connection needs none.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WRITE_QUEUE)
            .set_push_sender(move |push| {
                on_push(push);
                Ok::<_, RedisError>(())
            });
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        match timeout(self.timeout, connecting).await {
            Ok(connected) => connected.map_err(refused),
            Err(_) => Err(LinkError::TimedOut { at: at.clone() }),
        }
    }

    fn client(&self, at: &Address) -> Result<Client, RedisError> {
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        if let Some(username) = &self.credentials.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.credentials.password {
            settings = settings.set_password(password.expose());
        }
        let info = self.address(at)?.set_redis_settings(settings);
        match &self.root_certificates {
            Some(authorities) if self.is_tls => Client::build_with_tls(
                info,
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(authorities.clone()),
                },
            ),
            _ => Client::open(info),
        }
    }

    fn address(&self, at: &Address) -> Result<ConnectionInfo, RedisError> {
        let host = at.host.to_string();
        let address = if self.is_tls {
            ConnectionAddr::TcpTls {
                host,
                port: at.port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, at.port)
        };
        if address.is_supported() {
            address.into_connection_info()
        } else {
            Err((ErrorKind::InvalidClientConfig, "TLS is not built in").into())
        }
    }
}
