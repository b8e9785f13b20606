//! The connection that subscribes, receives, and asks who is online.
//!
//! Changes of subscriptions are written one behind the other without waiting for their
//! confirmations, up to a bound; these come back in the same order. A question goes the same way, so
//! that it counts what was changed before. What is received goes to a queue of its own, so that
//! confirmations never wait for the engine.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_std::task::sleep;
use futures::future::{BoxFuture, FutureExt as _, TryFutureExt as _, try_join_all};
use futures::stream::{FuturesOrdered, StreamExt as _};
use parlor_core::id::{SubscriptionToken, UserId};
use parlor_core::relay::Channel;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushInfo, PushKind, RedisError, Value};
use tracing::{info, warn};

use crate::client::backoff::Backoff;
use crate::client::counters::add;
use crate::client::error::Trouble;
use crate::client::shards::{Pushes, Shards};
use crate::client::shared::{Question, Shared, Step};
use crate::payload::{MAX_PAYLOAD, Rejected};

/// How many changes and questions may be on their way at once.
const WINDOW: usize = 64;

/// The most channels that one question to Redis names.
const ASKED: usize = 512;

/// A connection that receives.
pub(crate) struct Link {
    shards: Shards,
    /// Channels that we are about to leave, less what Redis says that we have left.
    leaving: Arc<AtomicI64>,
}

/// Subscribes, and connects again whenever the connection is gone. Never ends by itself.
pub(crate) async fn run(shared: Arc<Shared>, first: Result<Link, Trouble>) {
    let mut backoff = Backoff::new(&shared.options);
    let mut next = first;
    let mut known = None;
    loop {
        let trouble = match next {
            Ok(link) => {
                backoff.reset();
                shared.begin();
                let trouble = serve(&shared, &link).await;
                shared.end();
                trouble
            }
            Err(trouble) => trouble,
        };
        shared.status.set_subscribed(false);
        // Once, and not at every attempt.
        if known.as_ref() != Some(&trouble) {
            warn!(relay = %shared.endpoint.shown, %trouble, "not subscribed");
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

/// Connects.
pub(crate) async fn connect(shared: &Arc<Shared>) -> Result<Link, Trouble> {
    let leaving = Arc::new(AtomicI64::new(0));
    let pushes: Pushes = {
        let (shared, leaving) = (Arc::clone(shared), Arc::clone(&leaving));
        Arc::new(move |info| take(&shared, &leaving, info))
    };
    let shards = Shards::connect(&shared.endpoint, &shared.options, pushes).await?;
    Ok(Link { shards, leaving })
}

/// Takes what Redis says unasked; false when the connections are to begin anew.
fn take(shared: &Shared, leaving: &AtomicI64, info: PushInfo) -> bool {
    match info.kind {
        PushKind::Message | PushKind::SMessage => {
            let mut data = info.data.into_iter();
            if let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
                (data.next(), data.next())
            {
                receive(shared, channel, payload);
            }
            true
        }
        // A server that gives a slot away ends the subscriptions in it.
        PushKind::SUnsubscribe => leaving.fetch_sub(1, Ordering::AcqRel) > 0,
        _ => true,
    }
}

fn receive(shared: &Shared, channel: Vec<u8>, payload: Vec<u8>) {
    if payload.len() > MAX_PAYLOAD {
        return add(&shared.counters.forged, 1);
    }
    let bytes = channel.len() + payload.len();
    if !shared.incoming.push((channel, payload), bytes) {
        add(&shared.counters.overrun, 1);
    }
}

/// Reads what is received, and hands it over. Never ends by itself.
pub(crate) async fn hand_over(shared: Arc<Shared>) {
    while let Some((channel, payload)) = shared.incoming.pop().await {
        match shared.codec.decode(&channel, &payload) {
            Ok(message) => {
                shared.reports.relayed(message).await;
                add(&shared.counters.received, 1);
            }
            Err(Rejected::Forged) => add(&shared.counters.forged, 1),
            Err(Rejected::Unknown) => add(&shared.counters.unknown, 1),
        }
        shared.incoming.give_back(1, channel.len() + payload.len());
    }
}

/// What was carried out.
enum Done {
    Subscribed(Option<SubscriptionToken>),
    Unsubscribed,
    Answered(Question, Vec<UserId>),
    Complete,
    Pinged,
}

/// Carries out steps until something goes wrong, and says what.
async fn serve(shared: &Shared, link: &Link) -> Trouble {
    let mut under_way: FuturesOrdered<BoxFuture<'static, Result<Done, Trouble>>> =
        FuturesOrdered::new();
    let mut ping = pin!(sleep(shared.options.ping).fuse());
    loop {
        while under_way.len() < WINDOW {
            match shared.next_step() {
                Ok(Some(step)) => under_way.push_back(begin(carry_out(shared, link, step))),
                Ok(None) => break,
                Err(_) => return Trouble::Away("too many changes waited for it".to_owned()),
            }
        }
        futures::select_biased! {
            trouble = pin!(link.shards.gone().fuse()) => return trouble,
            done = under_way.select_next_some() => match done {
                Ok(done) => report(shared, done),
                Err(trouble) => return trouble,
            },
            _ = pin!(shared.bell.1.recv().fuse()) => {}
            () = ping => {
                ping.set(sleep(shared.options.ping).fuse());
                if under_way.is_empty() {
                    let shards = link.shards.clone();
                    let pinged = async move { shards.ping().await.map(|()| Done::Pinged) };
                    under_way.push_back(begin(pinged));
                }
            },
        }
    }
}

fn report(shared: &Shared, done: Done) {
    match done {
        Done::Subscribed(Some(token)) => shared.reports.subscribed(token),
        Done::Answered(question, online) => question.answer(online),
        Done::Complete => {
            info!(relay = %shared.endpoint.shown, "subscribed");
            shared.status.set_subscribed(true);
        }
        Done::Subscribed(None) | Done::Unsubscribed | Done::Pinged => {}
    }
}

/// Has a step written at once, so that steps are written in order.
fn begin(
    step: impl Future<Output = Result<Done, Trouble>> + Send + 'static,
) -> BoxFuture<'static, Result<Done, Trouble>> {
    let mut step: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(step);
    match (&mut step).now_or_never() {
        Some(done) => std::future::ready(done).boxed(),
        None => step,
    }
}

/// Returns what writes a step and waits for its confirmation.
fn carry_out(
    shared: &Shared,
    link: &Link,
    step: Step,
) -> BoxFuture<'static, Result<Done, Trouble>> {
    let shards = link.shards.clone();
    let named = |channels: Vec<Channel>| -> Vec<(String, ())> {
        let names = channels
            .into_iter()
            .map(|channel| shared.names.name(channel));
        names.map(|name| (name, ())).collect()
    };
    match step {
        Step::Subscribe(token, channels) => {
            let changed = change(shards, Change::Subscribe, named(channels));
            changed.map_ok(move |()| Done::Subscribed(token)).boxed()
        }
        Step::Unsubscribe(channels) => {
            let count = i64::try_from(channels.len()).unwrap_or(i64::MAX);
            link.leaving.fetch_add(count, Ordering::AcqRel);
            let changed = change(shards, Change::Unsubscribe, named(channels));
            changed.map_ok(|()| Done::Unsubscribed).boxed()
        }
        Step::Ask(question, users) => {
            let name = |user| (shared.names.name(Channel::User(user)), user);
            let users: Vec<(String, UserId)> = users.into_iter().map(name).collect();
            async move {
                let online = ask(&shards, users).await?;
                Ok(Done::Answered(question, online))
            }
            .boxed()
        }
        Step::Complete => std::future::ready(Ok(Done::Complete)).boxed(),
    }
}

/// Ends or begins subscriptions.
async fn change(shards: Shards, kind: Change, channels: Vec<(String, ())>) -> Result<(), Trouble> {
    let mut written = Vec::new();
    for (connection, channels) in shards.sort(channels) {
        written.push(write(connection, kind, shards.sharded(), channels));
    }
    let done = try_join_all(written).await;
    done.map(drop).map_err(|error| shards.trouble(&error))
}

#[derive(Clone, Copy)]
enum Change {
    Subscribe,
    Unsubscribe,
}

/// Writes what is for one server, and waits for its confirmations.
async fn write(
    mut connection: MultiplexedConnection,
    kind: Change,
    sharded: bool,
    channels: Vec<(String, ())>,
) -> Result<(), RedisError> {
    match (kind, sharded) {
        (Change::Subscribe, false) => connection.subscribe(names(&channels)).await,
        (Change::Unsubscribe, false) => connection.unsubscribe(names(&channels)).await,
        (Change::Subscribe, true) => each(&mut connection, "SSUBSCRIBE", &channels).await,
        (Change::Unsubscribe, true) => each(&mut connection, "SUNSUBSCRIBE", &channels).await,
    }
}

fn names(channels: &[(String, ())]) -> Vec<&str> {
    channels.iter().map(|(name, ())| name.as_str()).collect()
}

/// Names each channel in a command of its own: those of one command must be of one slot.
async fn each(
    connection: &mut MultiplexedConnection,
    command: &str,
    channels: &[(String, ())],
) -> Result<(), RedisError> {
    let mut pipeline = Pipeline::with_capacity(channels.len());
    for (channel, ()) in channels {
        pipeline.cmd(command).arg(channel);
    }
    let answers = connection
        .send_packed_commands(&pipeline, 0, channels.len())
        .await?;
    answers
        .into_iter()
        .try_for_each(|answer| answer.extract_error().map(drop))
}

/// Asks which of the users have a subscriber.
async fn ask(shards: &Shards, users: Vec<(String, UserId)>) -> Result<Vec<UserId>, Trouble> {
    let count = if shards.sharded() {
        "SHARDNUMSUB"
    } else {
        "NUMSUB"
    };
    let mut asked = Vec::new();
    for (connection, users) in shards.sort(users) {
        for users in users.chunks(ASKED) {
            asked.push(ask_server(connection.clone(), count, users.to_vec()));
        }
    }
    let online = try_join_all(asked).await;
    let online = online.map_err(|error| shards.trouble(&error))?;
    Ok(online.concat())
}

/// Asks one server which of the users have a subscriber there.
async fn ask_server(
    mut connection: MultiplexedConnection,
    count: &str,
    users: Vec<(String, UserId)>,
) -> Result<Vec<UserId>, RedisError> {
    let mut command = redis::cmd("PUBSUB");
    command.arg(count);
    for (channel, _) in &users {
        command.arg(channel);
    }
    let answer: Vec<(Vec<u8>, u64)> = command.query_async(&mut connection).await?;
    let online = users.into_iter().zip(answer);
    let online = online.filter(|((asked, _), (named, subscribers))| {
        asked.as_bytes() == named.as_slice() && *subscribers > 0
    });
    Ok(online.map(|((_, user), _)| user).collect())
}
