//! Whom a server shows itself as: its certificate and key.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::ring::Ticketer;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, ServerConfig};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode as _};

use super::provider;

/// A certificate, with those that lead to its authority, and the key that fits it.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) config: Arc<ServerConfig>,
    /// Until when the certificate is good.
    pub expires: SystemTime,
}

/// What is wrong with a certificate or a key. Each message names the file.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file holds no certificate.
    #[error(
        "{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)",
        path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no key.
    #[error(
        "{} holds no private key in PEM (-----BEGIN PRIVATE KEY-----), or one that is encrypted",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// What the file holds is damaged, or of a kind that cannot be used.
    #[error("{} cannot be used: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key is another certificate's.
    #[error("the key in {} does not fit the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate's time has passed.
    #[error("the certificate in {} expired on {since}; renew it", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        since: String,
    },
    /// The certificate's time has not come.
    #[error(
        "the certificate in {} is not valid before {from}; is the clock right?",
        path.display()
    )]
    TooEarly {
        /// The file.
        path: PathBuf,
        /// When it will be.
        from: String,
    },
}

impl Identity {
    /// Reads a certificate, followed by those that lead to its authority, and its key, both in PEM;
    /// the certificate must be good at `now`.
    ///
    /// # Errors
    /// Says what is wrong with which file.
    pub fn load(certificate: &Path, key: &Path, now: SystemTime) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
            PemError::NoItemsFound => TlsError::NoKey { path: key.into() },
            error => unreadable(key, error),
        })?;
        let expires = expiry(certificate, &chain, now)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::invalid(certificate, &error))?
            .with_no_client_auth()
            .with_single_cert(chain, secret);
        let mut config = config.map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsError::Mismatch {
                certificate: certificate.into(),
                key: key.into(),
            },
            // Of the certificate it was seen above that it can be read.
            error => TlsError::invalid(key, &error),
        })?;
        // Tickets hold what a server would have to keep otherwise.
        config.ticketer = Ticketer::new().map_err(|error| TlsError::invalid(key, &error))?;
        let config = Arc::new(config);
        Ok(Self { config, expires })
    }
}

impl TlsError {
    pub(super) fn invalid(path: &Path, error: &dyn std::fmt::Display) -> Self {
        Self::Invalid {
            path: path.into(),
            reason: error.to_string(),
        }
    }
}

/// Reads the certificates in a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, error))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.into() });
    }
    Ok(certificates)
}

/// Returns until when the first certificate is good, if it is good now.
fn expiry(
    path: &Path,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<SystemTime, TlsError> {
    let der = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let certificate =
        Certificate::from_der(der).map_err(|error| TlsError::invalid(path, &error))?;
    let validity = certificate.tbs_certificate().validity();
    let (from, until) = (validity.not_before, validity.not_after);
    if now < from.to_system_time() {
        return Err(TlsError::TooEarly {
            path: path.into(),
            from: date(from.to_date_time()),
        });
    }
    if now > until.to_system_time() {
        return Err(TlsError::Expired {
            path: path.into(),
            since: date(until.to_date_time()),
        });
    }
    Ok(until.to_system_time())
}

fn date(time: DateTime) -> String {
    let (year, month, day) = (time.year(), time.month(), time.day());
    format!("{year}-{month:02}-{day:02}")
}

fn unreadable(path: &Path, error: PemError) -> TlsError {
    match error {
        PemError::Io(error) => TlsError::Unreadable {
            path: path.into(),
            error,
        },
        error => TlsError::invalid(path, &error),
    }
}
