//! Failures of opening a relay, and of its connections.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use thiserror::Error as Explained;

/// Why a relay cannot be used, in one line that says what to do. Waiting would not help.
#[derive(Clone, Debug, PartialEq, Eq, Explained)]
pub enum OpenError {
    /// The URL is of no kind that this relay knows.
    #[error(
        "the relay {url} is not understood ({reason}): write redis://host:port, rediss://host:port, redis+sentinel://host,host/master or redis+cluster://host,host"
    )]
    Url {
        /// The URL without user and password.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The certificates of the authorities cannot be read.
    #[error("the certificates for the relay {relay} cannot be used: {reason}")]
    Roots {
        /// The relay, without user and password.
        relay: String,
        /// What is wrong.
        reason: String,
    },
    /// The user or the password is wrong.
    #[error("the relay {relay} refuses the user or the password: {reason}")]
    Password {
        /// The relay, without user and password.
        relay: String,
        /// What Redis says.
        reason: String,
    },
    /// The user may not do what a relay must.
    #[error(
        "the relay {relay} does not let this user publish or subscribe: {reason}; its rules must have &parlor:* +@pubsub +@connection (+role with sentinels, +cluster|slots in a cluster)"
    )]
    Permission {
        /// The relay, without user and password.
        relay: String,
        /// What Redis says.
        reason: String,
    },
    /// TLS failed.
    #[error("no TLS with the relay {relay}: {reason}")]
    Tls {
        /// The relay, without user and password.
        relay: String,
        /// What is wrong.
        reason: String,
    },
    /// Something else answers.
    #[error(
        "what answers at {relay} is not Redis, or speaks TLS where it is not expected: {reason}"
    )]
    NotRedis {
        /// The relay, without user and password.
        relay: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The server does not know the third version of the protocol, or sharded channels.
    #[error("the relay {relay} is too old: Redis 6 is needed, 7 for a cluster ({reason})")]
    Old {
        /// The relay, without user and password.
        relay: String,
        /// What Redis says.
        reason: String,
    },
    /// No sentinel knows a master of this name.
    #[error("the sentinels of {relay} know no master of that name")]
    Master {
        /// The relay, without user and password.
        relay: String,
    },
    /// What answers is no sentinel.
    #[error(
        "the relay {relay} is not watched by sentinels at these hosts: write redis://host:port"
    )]
    NoSentinel {
        /// The relay, without user and password.
        relay: String,
    },
    /// The server is not a member of a cluster.
    #[error("the relay {relay} is not a Redis Cluster: write redis://host:port")]
    NoCluster {
        /// The relay, without user and password.
        relay: String,
    },
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Explained)]
pub(crate) enum Trouble {
    /// Waiting would not help.
    #[error(transparent)]
    Refused(#[from] OpenError),
    /// It may be there later.
    #[error("{0}")]
    Away(String),
}

impl Trouble {
    /// Sorts what Redis or the way to it says.
    pub(crate) fn new(relay: &str, error: &RedisError) -> Self {
        let relay = relay.to_owned();
        let reason = error.to_string().trim().replace('\n', "; ");
        let refused = match error.kind() {
            ErrorKind::AuthenticationFailed => OpenError::Password { relay, reason },
            ErrorKind::Server(ServerErrorKind::NoPerm) => OpenError::Permission { relay, reason },
            ErrorKind::RESP3NotSupported => OpenError::Old { relay, reason },
            ErrorKind::Parse => OpenError::NotRedis { relay, reason },
            _ if matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) => {
                OpenError::Password { relay, reason }
            }
            _ if is_tls(error) => OpenError::Tls { relay, reason },
            _ if reason.contains("cluster support disabled") => OpenError::NoCluster { relay },
            _ if reason.contains("unknown command 'SENTINEL'") => OpenError::NoSentinel { relay },
            _ if reason.contains("unknown command") || reason.contains("Unknown subcommand") => {
                OpenError::Old { relay, reason }
            }
            _ => return Self::Away(reason),
        };
        Self::Refused(refused)
    }
}

fn is_tls(error: &RedisError) -> bool {
    type Shared = Arc<dyn Error + Send + Sync>;
    let source = error.source();
    let source = source.and_then(|source| source.downcast_ref::<Shared>());
    source.is_some_and(|source| {
        let within = source.downcast_ref::<io::Error>();
        let within = within.and_then(io::Error::get_ref);
        source.is::<rustls::Error>()
            || within.is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>)
    })
}
