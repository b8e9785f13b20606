//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) under the frames, by `rustls`.
//!
//! `rustls` does no I/O of its own, so a connection with TLS waits on its socket as a plain one does,
//! and both are read and written by the same two halves.

mod identity;
mod stream;

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig,
    ServerConnection,
};

pub use identity::{Identity, TlsError};
pub(crate) use stream::Tls;

/// What a server speaks TLS with: its present identity, which can be renewed while it serves.
/// Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {
    config: Arc<RwLock<Arc<ServerConfig>>>,
    handshake: Duration,
}

/// What a client speaks TLS with: the authorities that it believes.
#[derive(Clone, Debug)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
}

impl TlsAcceptor {
    /// Makes one with an identity, and the time that a client has for its handshake.
    #[must_use]
    pub fn new(identity: Identity, handshake: Duration) -> Self {
        Self {
            config: Arc::new(RwLock::new(identity.config)),
            handshake,
        }
    }

    /// Shows new connections another identity from now on. Those that there are go on as they
    /// began; none can be resumed by a ticket from before.
    pub fn renew(&self, identity: Identity) {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        *config = identity.config;
    }

    /// Begins a connection, of which nothing has come yet.
    pub(crate) fn accept(&self) -> io::Result<Tls> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        let server = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        Ok(Tls::new(server.into(), Instant::now() + self.handshake))
    }
}

impl TlsConnector {
    /// Believes the public authorities, those of Mozilla's programme.
    #[must_use]
    pub fn public() -> Self {
        Self::trusting(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        })
    }

    /// Believes the certificates in a file, in PEM, and nobody else: private authorities, or a
    /// server's own certificate.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn private(path: &Path) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in identity::certificates(path)? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::invalid(path, &error))?;
        }
        Ok(Self::trusting(roots))
    }

    fn trusting(roots: RootCertStore) -> Self {
        #[expect(clippy::expect_used, reason = "ring has what both versions need")]
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        Self { config }
    }

    /// Begins a connection to the server that an address (`host:port`) names.
    pub(crate) fn connect(&self, address: &str, deadline: Instant) -> io::Result<Tls> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let name = ServerName::try_from(bare.unwrap_or(host).to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let client =
            ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        Ok(Tls::new(client.into(), deadline))
    }
}

/// Says why a client's handshake failed, for those who do not know TLS from the inside.
pub(crate) fn explain(error: io::Error) -> io::Error {
    let source = error.get_ref().and_then(|it| it.downcast_ref());
    let sentence = match source {
        // The second is what one who has an authority's name, and not its key, comes to.
        Some(Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => "the server's certificate is from no authority that is believed here".to_owned(),
        Some(Error::InvalidCertificate(reason)) => {
            format!("the server's certificate is not good: {reason}")
        }
        Some(Error::InvalidMessage(_)) => "the server does not speak TLS there".to_owned(),
        _ => return error,
    };
    io::Error::new(error.kind(), sentence)
}

/// The cryptography that is used, whatever else in the process has made the default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
