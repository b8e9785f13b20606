//! The certificate of `parlor serve`: read at the start, and again at each SIGHUP.

use std::time::{Duration, SystemTime};

use async_std::task;
use jiff::Timestamp;
use parlor_transport_tcp::{Identity, TlsAcceptor, TlsError};
use tracing::{error, info, warn};

use crate::config::Tls;

/// How long before its end a certificate is warned of.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);

/// The certificate that new connections are shown.
pub(crate) struct Certificate {
    tls: Tls,
    acceptor: TlsAcceptor,
}

impl Certificate {
    /// Reads the certificate.
    ///
    /// # Errors
    /// It cannot be used now.
    pub(crate) async fn read(tls: Tls, handshake: Duration) -> Result<Self, TlsError> {
        let identity = load(tls.clone()).await?;
        report(&identity);
        let acceptor = TlsAcceptor::new(identity, handshake);
        Ok(Self { tls, acceptor })
    }

    /// Returns what shows it.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Reads it anew. What is wrong with a new one leaves the old one.
    pub(crate) async fn renew(&self) {
        match load(self.tls.clone()).await {
            Ok(identity) => {
                report(&identity);
                self.acceptor.renew(identity);
                info!("new connections are shown the certificate that was read anew");
            }
            Err(error) => error!(%error, "the certificate stays the one that it was"),
        }
    }
}

async fn load(tls: Tls) -> Result<Identity, TlsError> {
    task::spawn_blocking(move || Identity::load(&tls.certificate, &tls.key, SystemTime::now()))
        .await
}

/// Says how long the certificate is good.
fn report(identity: &Identity) {
    // The rest of a number of seconds tells nobody anything, and what is no date is far away.
    let expires = Timestamp::try_from(identity.expires).unwrap_or(Timestamp::MAX);
    let left = identity.expires.duration_since(SystemTime::now());
    if left.is_ok_and(|left| left > WARN_BEFORE) {
        info!(%expires, "certificate read");
    } else {
        warn!(%expires, "certificate read; it expires soon");
    }
}
