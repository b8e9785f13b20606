//! How long a message takes through Redis, with the relay and bare, and how many go through.
//!
//! ```sh
//! cargo run --release -p parlor-relay-redis --example latency
//! ```

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_std::task::{sleep, spawn};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use parlor_core::id::{ConversationId, Pair, Place, Seq, StoreToken, SubscriptionToken, UserId};
use parlor_core::log::{Body, Entry, Text};
use parlor_core::name::Key;
use parlor_core::relay::{Channel, Relay as _, RelayMessage};
use parlor_core::secret::Secret;
use parlor_core::time::Timestamp;
use parlor_relay_redis::{Options, RedisRelay, Reports};

/// How many messages are timed, one after the other.
const TIMED: usize = 5_000;

/// How many messages are published at full speed, by how many tasks.
const MANY: u64 = 200_000;
const TASKS: u64 = 64;

type Failure = Box<dyn Error + Send + Sync>;

#[async_std::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let redis = parlor_servers::Redis::start(folder.path(), None, &[])?;
    let text = "x".repeat(100);
    for _ in 0..3 {
        report(
            "bare redis",
            &mut bare(&redis.url(), text.as_bytes()).await?,
        );
        report("the relay", &mut relayed(&redis.url(), &text).await?);
    }
    many(&redis.url(), &text).await
}

/// Prints percentiles.
fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| {
        times
            .get(times.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    println!("{what}: p50 {:?}, p99 {:?}", at(50), at(99));
}

/// Publishes and receives with nothing but the client library, on two connections.
async fn bare(url: &str, payload: &[u8]) -> Result<Vec<Duration>, Failure> {
    let client = redis::Client::open(url)?;
    let (mut sink, mut stream) = client.get_async_pubsub().await?.split();
    sink.subscribe("bare").await?;
    let mut publisher = client.get_multiplexed_async_connection().await?;
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let start = Instant::now();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg("bare").arg(payload);
        let received = futures::join!(publish.exec_async(&mut publisher), stream.next());
        received.0?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Hands received messages on.
struct Heard {
    messages: Sender<RelayMessage>,
    up: Sender<()>,
    subscribed: Sender<()>,
}

impl Reports for Heard {
    fn subscribed(&self, _: SubscriptionToken) {
        let _ = self.subscribed.try_send(());
    }

    fn presence(&self, _: StoreToken, _: Option<Vec<UserId>>) {}

    fn relay_up(&self) {
        let _ = self.up.try_send(());
    }

    fn relay_lost(&self) {}

    fn relayed(&self, message: RelayMessage) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let _ = self.messages.send(message).await;
        })
    }
}

/// Opens a relay that is subscribed to a channel.
async fn open(
    url: &str,
    channel: Channel,
) -> Result<(RedisRelay, Receiver<RelayMessage>), Failure> {
    let (messages, heard) = async_channel::bounded(1024);
    let (up, is_up) = async_channel::bounded(1);
    let (subscribed, is_subscribed) = async_channel::bounded(1);
    let reports = Arc::new(Heard {
        messages,
        up,
        subscribed,
    });
    let secret = Secret::new("a secret of at least 32 bytes ...");
    let relay = RedisRelay::open(url, "example", &secret, Options::default(), reports).await?;
    is_up.recv().await?;
    relay.subscribe(SubscriptionToken(1), vec![channel]);
    is_subscribed.recv().await?;
    Ok((relay, heard))
}

/// Publishes and receives with two relays.
async fn relayed(url: &str, text: &str) -> Result<Vec<Duration>, Failure> {
    let (here, _) = open(url, Channel::User(UserId(2))).await?;
    let (_there, heard) = open(url, Channel::User(UserId(1))).await?;
    let message = message(text)?;
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let start = Instant::now();
        here.publish(vec![(Channel::User(UserId(1)), message.clone())]);
        heard.recv().await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Publishes at full speed.
async fn many(url: &str, text: &str) -> Result<(), Failure> {
    let (relay, _) = open(url, Channel::User(UserId(2))).await?;
    let (there, heard) = open(url, Channel::User(UserId(1))).await?;
    let taken = spawn(async move { while heard.recv().await.is_ok() {} });
    let counters = relay.counters();
    let message = message(text)?;
    let start = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (relay, counters, message) = (relay.clone(), relay.counters(), message.clone());
            spawn(async move {
                for number in 0..MANY / TASKS {
                    while number * TASKS > counters.counts().published + 8_000 {
                        sleep(Duration::from_millis(1)).await;
                    }
                    relay.publish(vec![(Channel::User(UserId(1)), message.clone())]);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    let sent = MANY / TASKS * TASKS;
    while counters.counts().published + counters.counts().dropped < sent {
        sleep(Duration::from_millis(1)).await;
    }
    let published = start.elapsed();
    let received = there.counters();
    while received.counts().received + received.counts().overrun < counters.counts().published {
        sleep(Duration::from_millis(1)).await;
    }
    let per_second = u128::from(sent) * 1_000_000 / published.as_micros().max(1);
    println!(
        "{TASKS} tasks: {per_second} publishes/s; all received after {:?}",
        start.elapsed()
    );
    println!("publisher: {:?}", counters.counts());
    println!("receiver: {:?}", received.counts());
    there.close().await;
    drop(there);
    taken.await;
    Ok(())
}

fn message(text: &str) -> Result<RelayMessage, Failure> {
    let pair = Pair::new(UserId(1), UserId(2)).ok_or("two users")?;
    Ok(RelayMessage::Entry(Arc::new(Entry {
        conversation: ConversationId(1),
        place: Place::Direct(pair),
        seq: Seq(1),
        from: UserId(2),
        at: Timestamp(1_700_000_000_000),
        body: Body::Text(Text {
            key: Key::new("key").ok_or("a key")?,
            text: text.into(),
            reply_to: None,
            meta: None,
            edited: false,
            recalled: false,
        }),
    })))
}
