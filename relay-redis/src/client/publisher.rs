//! The connection that publishes.
//!
//! What waits goes out as one pipeline for each server, and further ones follow without waiting for
//! the answers of those before, up to a bound. The answers are counted.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use async_std::task::sleep;
use futures::future::{FutureExt as _, join_all};
use futures::stream::{FuturesUnordered, StreamExt as _};
use parlor_core::relay::{Channel, RelayMessage};
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value};
use tracing::{info, warn};

use crate::client::backoff::Backoff;
use crate::client::counters::add;
use crate::client::error::Trouble;
use crate::client::shards::{Pushes, Shards};
use crate::client::shared::{Shared, bytes};

/// How many batches may be on their way at once.
const WINDOW: usize = 16;

/// The most bytes of text of one batch, but for a single message.
const BATCH_BYTES: usize = 1 << 20;

/// Publishes, and connects again whenever the connection is gone. Never ends by itself.
pub(crate) async fn run(shared: Arc<Shared>, first: Result<Shards, Trouble>) {
    let mut backoff = Backoff::new(&shared.options);
    let mut next = first;
    let mut known = None;
    loop {
        let trouble = match next {
            Ok(shards) => {
                backoff.reset();
                shared.status.set_publishing(true);
                info!(relay = %shared.endpoint.shown, "publishing");
                let trouble = serve(&shared, &shards).await;
                shared.status.set_publishing(false);
                shared.drop_waiting();
                trouble
            }
            Err(trouble) => {
                shared.status.set_publishing(false);
                trouble
            }
        };
        // Once, and not at every attempt.
        if known.as_ref() != Some(&trouble) {
            warn!(relay = %shared.endpoint.shown, %trouble, "not publishing");
        }
        known = Some(trouble);
        sleep(backoff.next()).await;
        next = connect(&shared).await;
        if next.is_ok() {
            known = None;
            add(&shared.counters.reconnects, 1);
        }
    }
}

/// Connects, and finds out whether one may do what must be done.
pub(crate) async fn connect(shared: &Shared) -> Result<Shards, Trouble> {
    // Nothing is said unasked here.
    let pushes: Pushes = Arc::new(|_| true);
    let shards = Shards::connect(&shared.endpoint, &shared.options, pushes).await?;
    shards.probe(&shared.names.probe()).await?;
    Ok(shards)
}

/// Publishes until something goes wrong, and says what.
async fn serve(shared: &Arc<Shared>, shards: &Shards) -> Trouble {
    let mut under_way = FuturesUnordered::new();
    let mut ping = pin!(sleep(shared.options.ping).fuse());
    loop {
        let ready = under_way.len() < WINDOW;
        let more = async {
            match ready {
                true => shared.outgoing.pop().await,
                false => std::future::pending().await,
            }
        };
        futures::select_biased! {
            trouble = pin!(shards.gone().fuse()) => return trouble,
            done = under_way.select_next_some() => if let Err(trouble) = done {
                return trouble;
            },
            first = pin!(more.fuse()) => if let Some(first) = first {
                let batch = Batch::collect(shared, first);
                let mut batch = Box::pin(batch.publish(shards.clone()));
                // Written in this order, whoever is asked first later on. The answer may be there
                // already.
                match (&mut batch).now_or_never() {
                    Some(Ok(())) => {}
                    Some(Err(trouble)) => return trouble,
                    None => under_way.push(batch),
                }
            },
            () = ping => {
                ping.set(sleep(shared.options.ping).fuse());
                if under_way.is_empty() && let Err(trouble) = shards.ping().await {
                    return trouble;
                }
            },
        }
    }
}

/// Messages that go out together.
struct Batch {
    payloads: Vec<(String, Vec<u8>)>,
    debt: Debt,
}

/// What is to be given back to the queue, and counted, when a batch is done with, however that
/// comes about.
struct Debt {
    shared: Arc<Shared>,
    messages: usize,
    bytes: usize,
    published: usize,
}

impl Batch {
    /// Takes what waits.
    fn collect(shared: &Arc<Shared>, first: (Channel, RelayMessage)) -> Self {
        let mut batch = Self {
            payloads: Vec::new(),
            debt: Debt {
                shared: Arc::clone(shared),
                messages: 0,
                bytes: 0,
                published: 0,
            },
        };
        let mut next = Some(first);
        while let Some((channel, message)) = next {
            batch.debt.messages += 1;
            batch.debt.bytes += bytes(&message);
            let channel = shared.names.name(channel);
            if let Some(payload) = shared.codec.encode(&channel, &message) {
                batch.payloads.push((channel, payload));
            }
            let full =
                batch.debt.messages >= shared.options.batch || batch.debt.bytes >= BATCH_BYTES;
            next = if full {
                None
            } else {
                shared.outgoing.try_pop()
            };
        }
        batch
    }

    /// Writes the batch and waits for the answers.
    async fn publish(mut self, shards: Shards) -> Result<(), Trouble> {
        let command = if shards.sharded() {
            "SPUBLISH"
        } else {
            "PUBLISH"
        };
        let payloads = std::mem::take(&mut self.payloads);
        let mut written = Vec::new();
        for (connection, payloads) in shards.sort(payloads) {
            written.push(write(connection, command, payloads));
        }
        let mut outcome = Ok(());
        let began = Instant::now();
        let answered = join_all(written).await;
        self.debt.shared.counters.took(began.elapsed());
        for answers in answered {
            let answers = answers.map_err(|error| shards.trouble(&error))?;
            for answer in answers {
                match answer {
                    Value::ServerError(error) => outcome = Err(shards.trouble(&error.into())),
                    _ => self.debt.published += 1,
                }
            }
        }
        outcome
    }
}

/// Writes what is for one server, and waits for its answers.
async fn write(
    mut connection: MultiplexedConnection,
    command: &str,
    payloads: Vec<(String, Vec<u8>)>,
) -> Result<Vec<Value>, RedisError> {
    let mut pipeline = Pipeline::with_capacity(payloads.len());
    for (channel, payload) in &payloads {
        pipeline.cmd(command).arg(channel).arg(payload.as_slice());
    }
    connection
        .send_packed_commands(&pipeline, 0, payloads.len())
        .await
}

impl Drop for Debt {
    fn drop(&mut self) {
        let counters = &self.shared.counters;
        add(&counters.published, self.published);
        add(&counters.dropped, self.messages - self.published);
        self.shared.outgoing.give_back(self.messages, self.bytes);
    }
}
