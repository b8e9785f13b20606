//! The relay between the nodes of a cluster.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_std::task::spawn_blocking;
use futures::future::BoxFuture;
use parlor::Sink;
use parlor_core::id::{StoreToken, SubscriptionToken, UserId};
use parlor_core::relay::RelayMessage;
use parlor_core::secret::Secret;
use parlor_relay_redis::{OpenError, Options, RedisRelay, Reports};
use thiserror::Error;

use crate::config::Settings;

/// Why there is no relay.
#[derive(Debug, Error)]
pub(crate) enum RelayFailure {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot read the relay's certificates {}: {error}", path.display())]
    Certificates { path: PathBuf, error: io::Error },
}

/// Opens the relay that the settings name, if any. One that does not answer is opened all the same.
///
/// # Errors
/// It cannot be used, however long one waits.
pub(crate) async fn open(
    settings: &Settings,
    cluster: &str,
    secret: &Secret,
    sink: Sink,
) -> Result<Option<RedisRelay>, RelayFailure> {
    let Some(url) = &settings.relay else {
        return Ok(None);
    };
    let options = Options {
        roots: match settings.relay_ca.clone() {
            Some(path) => Some(read(path).await?),
            None => None,
        },
        ..Options::default()
    };
    let reports = Arc::new(ToNode(sink));
    let relay = RedisRelay::open(url, cluster, secret, options, reports).await?;
    Ok(Some(relay))
}

async fn read(path: PathBuf) -> Result<Vec<u8>, RelayFailure> {
    let file = path.clone();
    let read = spawn_blocking(move || std::fs::read(file)).await;
    read.map_err(|error| RelayFailure::Certificates { path, error })
}

/// Gives the node what the relay reports.
struct ToNode(Sink);

impl Reports for ToNode {
    fn subscribed(&self, token: SubscriptionToken) {
        self.0.subscribed(token);
    }

    fn presence(&self, token: StoreToken, online: Option<Vec<UserId>>) {
        self.0.presence(token, online);
    }

    fn relay_up(&self) {
        self.0.relay_up();
    }

    fn relay_lost(&self) {
        self.0.relay_lost();
    }

    fn relayed(&self, message: RelayMessage) -> BoxFuture<'_, ()> {
        Box::pin(self.0.relayed(message))
    }
}
