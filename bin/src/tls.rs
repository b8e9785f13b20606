//! The certificate of `parlor serve`: read at the start, and again at each SIGHUP.

use std::time::{Duration, SystemTime};

use async_signal::{Signal, Signals};
use async_std::task;
use futures::StreamExt as _;
use jiff::Timestamp;
use parlor_transport_tcp::{Identity, TlsAcceptor, TlsError};
use tracing::{error, info, warn};

use crate::config::Tls;

/// How long before its end a certificate is warned of.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);

/// Reads the certificate, and again whenever a SIGHUP comes.
///
/// # Errors
/// The certificate cannot be used now.
pub(crate) async fn start(tls: Tls, handshake: Duration) -> Result<TlsAcceptor, TlsError> {
    // Before anything that takes time: without a handler, the signal would end the program.
    let signals = Signals::new([Signal::Hup]);
    let identity = load(tls.clone()).await?;
    report(&identity);
    let acceptor = TlsAcceptor::new(identity, handshake);
    match signals {
        Ok(signals) => {
            task::spawn(renew(signals, tls, acceptor.clone()));
        }
        Err(error) => warn!(%error, "cannot watch for SIGHUP: certificates need a restart"),
    }
    Ok(acceptor)
}

/// Reads the certificate anew at each signal. What is wrong with a new one leaves the old one.
async fn renew(mut signals: Signals, tls: Tls, acceptor: TlsAcceptor) {
    while let Some(_hangup) = signals.next().await {
        match load(tls.clone()).await {
            Ok(identity) => {
                report(&identity);
                acceptor.renew(identity);
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
