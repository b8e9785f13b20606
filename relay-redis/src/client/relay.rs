//! The relay.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_channel::Sender;
use async_std::task::{JoinHandle, sleep, spawn};
use futures::future::{BoxFuture, FutureExt as _, select};
use parlor_core::id::{StoreToken, SubscriptionToken, UserId};
use parlor_core::relay::{Channel, Relay, RelayMessage};
use parlor_core::secret::Secret;

use crate::client::channel::Names;
use crate::client::counters::Counters;
use crate::client::endpoint::Endpoint;
use crate::client::error::{OpenError, Trouble};
use crate::client::options::Options;
use crate::client::report::Reports;
use crate::client::shared::{Parts, Shared};
use crate::client::{publisher, subscriber};
use crate::payload::Codec;

/// How often closing looks whether everything is published.
const CLOSING: std::time::Duration = std::time::Duration::from_millis(5);

/// A relay over Redis. Clones are handles to the same one; it ends with the last of them, or by
/// [`RedisRelay::close`].
///
/// Its tasks run on async-std's executor, on which the caller need not be.
#[derive(Clone)]
pub struct RedisRelay {
    running: Arc<Running>,
}

struct Running {
    shared: Arc<Shared>,
    /// Closed, by dropping it too, for the tasks to end.
    stop: Sender<()>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl RedisRelay {
    /// Opens a relay and tries once to connect.
    ///
    /// `url` is `redis://[user:password@]host[:port]`, `rediss://..` with TLS,
    /// `redis+sentinel://[user:password@]host[:port],../master` with sentinels, or
    /// `redis+cluster://[user:password@]host[:port],..` with a Redis Cluster; `rediss+..` is either
    /// with TLS. `cluster` is part of the channels' names: the same on every node, without braces
    /// or white space. `secret` is the cluster's, the same on every node.
    ///
    /// Where Redis does not answer, the relay opens all the same, says
    /// [`relay_lost`](Reports::relay_lost), and goes on trying: the store is the truth. Otherwise it
    /// says [`relay_up`](Reports::relay_up) soon.
    ///
    /// # Errors
    /// Where waiting would not help: the URL, the user, the password or the rights are wrong, TLS
    /// fails, or what answers is not the Redis that the URL says.
    pub async fn open(
        url: &str,
        cluster: &str,
        secret: &Secret,
        options: Options,
        reports: Arc<dyn Reports>,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::from(Parts {
            endpoint: Endpoint::parse(url, options.roots.as_deref())?,
            options,
            codec: Codec::new(secret),
            names: Names::new(cluster),
            reports,
        }));
        let publishes = attempt(publisher::connect(&shared).await)?;
        let subscribes = match &publishes {
            Ok(_) => attempt(subscriber::connect(&shared).await)?,
            Err(trouble) => Err(trouble.clone()),
        };
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let until_stopped = |task: BoxFuture<'static, ()>| {
            let (stopped, shared) = (stopped.clone(), Arc::clone(&shared));
            spawn(async move {
                select(task, Box::pin(stopped.recv())).await;
                shared.stop();
            })
        };
        let tasks = vec![
            until_stopped(publisher::run(Arc::clone(&shared), publishes).boxed()),
            until_stopped(subscriber::run(Arc::clone(&shared), subscribes).boxed()),
            until_stopped(subscriber::hand_over(Arc::clone(&shared)).boxed()),
        ];
        Ok(Self {
            running: Arc::new(Running {
                shared,
                stop,
                tasks: Mutex::new(tasks),
            }),
        })
    }

    /// Returns the counters, which live on when the relay has ended.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.running.shared.counters)
    }

    /// Waits until what was taken over is published, at most as long as Redis may take to answer,
    /// and ends: subscriptions end, so that other nodes see it at once.
    pub async fn close(&self) {
        let Shared {
            outgoing, options, ..
        } = &*self.running.shared;
        let end = Instant::now() + options.reply_timeout;
        while !outgoing.is_idle() && Instant::now() < end {
            sleep(CLOSING).await;
        }
        self.running.stop.close();
        let tasks = &self.running.tasks;
        let tasks = std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.await;
        }
    }
}

impl Relay for RedisRelay {
    fn publish(&self, messages: Vec<(Channel, RelayMessage)>) {
        self.running.shared.publish(messages);
    }

    fn subscribe(&self, token: SubscriptionToken, channels: Vec<Channel>) {
        self.running.shared.subscribe(token, channels);
    }

    fn unsubscribe(&self, channels: Vec<Channel>) {
        self.running.shared.unsubscribe(channels);
    }

    fn ask_presence(&self, token: StoreToken, users: Vec<UserId>) {
        self.running.shared.ask(token, users);
    }
}

impl fmt::Debug for RedisRelay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisRelay")
            .field("endpoint", &self.running.shared.endpoint)
            .finish_non_exhaustive()
    }
}

/// Keeps an absence for later, and fails with a refusal.
fn attempt<T>(connected: Result<T, Trouble>) -> Result<Result<T, Trouble>, OpenError> {
    match connected {
        Err(Trouble::Refused(error)) => Err(error),
        connected => Ok(connected),
    }
}
