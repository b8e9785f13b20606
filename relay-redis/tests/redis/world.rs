//! A node, as far as a relay sees it: it records what is reported.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_std::task::{block_on, sleep};
use futures::future::BoxFuture;
use parlor_core::id::{
    ConversationId, GroupId, Pair, Place, Seq, SessionId, StoreToken, SubscriptionToken, UserId,
};
use parlor_core::log::{Body, Entry, Role, Text};
use parlor_core::name::{Key, Name};
use parlor_core::relay::{Channel, Relay, RelayMessage};
use parlor_core::secret::Secret;
use parlor_core::time::Timestamp;
use parlor_relay_redis::{Counts, OpenError, Options, RedisRelay, Reports};
use parlor_servers::Redis;
use tempfile::TempDir;

/// What the cluster is called.
pub(crate) const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that a relay reported.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Subscribed(u64),
    Presence(u64, Option<Vec<UserId>>),
    Up,
    Lost,
    Relayed(RelayMessage),
}

/// Records reports.
#[derive(Default)]
pub(crate) struct Log {
    events: Mutex<Vec<Event>>,
    /// Whether the engine takes no messages.
    busy: AtomicBool,
}

impl Log {
    fn add(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

impl Reports for Log {
    fn subscribed(&self, token: SubscriptionToken) {
        self.add(Event::Subscribed(token.0));
    }

    fn presence(&self, token: StoreToken, online: Option<Vec<UserId>>) {
        self.add(Event::Presence(token.0, online));
    }

    fn relay_up(&self) {
        self.add(Event::Up);
    }

    fn relay_lost(&self) {
        self.add(Event::Lost);
    }

    fn relayed(&self, message: RelayMessage) -> BoxFuture<'_, ()> {
        Box::pin(async {
            while self.busy.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(1)).await;
            }
            self.add(Event::Relayed(message));
        })
    }
}

/// A relay and what it reported.
pub(crate) struct Node {
    pub(crate) relay: RedisRelay,
    log: Arc<Log>,
}

impl Node {
    /// Opens a relay and waits until it is up.
    pub(crate) fn open(url: &str) -> Self {
        let node = Self::try_open(url, Options::default()).unwrap();
        node.until("up", |events| events.contains(&Event::Up));
        node
    }

    /// Opens a relay.
    pub(crate) fn try_open(url: &str, options: Options) -> Result<Self, OpenError> {
        let log = Arc::new(Log::default());
        let reports: Arc<dyn Reports> = Arc::clone(&log) as _;
        let secret = secret();
        let opened = RedisRelay::open(url, CLUSTER, &secret, options, reports);
        let relay = block_on(opened)?;
        Ok(Self { relay, log })
    }

    /// Returns what was reported so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.log.events.lock().unwrap().clone()
    }

    /// Forgets what was reported so far.
    pub(crate) fn clear(&self) {
        self.log.events.lock().unwrap().clear();
    }

    /// Returns the messages among what was reported.
    pub(crate) fn relayed(&self) -> Vec<RelayMessage> {
        let events = self.events().into_iter();
        let messages = events.filter_map(|event| match event {
            Event::Relayed(message) => Some(message),
            _ => None,
        });
        messages.collect()
    }

    /// Has the engine take messages, or not.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.log.busy.store(busy, Ordering::Relaxed);
    }

    /// Waits until what was reported is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&[Event]) -> bool) {
        let so = wait(|| is_so(&self.events()));
        assert!(so, "never {what}: {:?}", self.events());
    }

    /// Waits until an event was reported.
    pub(crate) fn until_event(&self, event: &Event) {
        self.until(&format!("{event:?}"), |events| events.contains(event));
    }

    /// Waits until the counters are so.
    pub(crate) fn until_counts(&self, what: &str, is_so: impl Fn(Counts) -> bool) {
        let so = wait(|| is_so(self.counts()));
        assert!(so, "never {what}: {:?}", self.counts());
    }

    pub(crate) fn counts(&self) -> Counts {
        self.relay.counters().counts()
    }

    /// Subscribes and waits for the confirmation.
    pub(crate) fn subscribe(&self, token: u64, channels: &[Channel]) {
        let subscription = SubscriptionToken(token);
        self.relay.subscribe(subscription, channels.to_vec());
        self.until_event(&Event::Subscribed(token));
    }

    /// Publishes.
    pub(crate) fn publish(&self, channel: Channel, message: RelayMessage) {
        self.relay.publish(vec![(channel, message)]);
    }

    /// Asks who is online, and waits for the answer.
    pub(crate) fn online(&self, token: u64, users: &[UserId]) -> Option<Vec<UserId>> {
        self.relay.ask_presence(StoreToken(token), users.to_vec());
        let mut answer = None;
        let answered = wait(|| {
            let events = self.log.events.lock().unwrap();
            answer = events.iter().find_map(|event| match event {
                Event::Presence(of, online) if *of == token => Some(online.clone()),
                _ => None,
            });
            answer.is_some()
        });
        assert!(answered, "no answer: {:?}", self.events());
        let mut online = answer.flatten()?;
        online.sort();
        Some(online)
    }
}

/// Waits until something is so.
pub(crate) fn wait(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

pub(crate) fn secret() -> Secret {
    Secret::new("a secret of at least 32 bytes ...")
}

/// Starts a private Redis server.
pub(crate) fn redis(options: &[(&str, &str)]) -> (TempDir, Redis) {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(folder.path(), None, options).unwrap();
    (folder, redis)
}

/// Names a user's channel.
pub(crate) fn user(user: u64) -> Channel {
    Channel::User(UserId(user))
}

/// Makes a message that tells itself from others.
pub(crate) fn changed(version: u64) -> RelayMessage {
    RelayMessage::Changed {
        user: UserId(1),
        version,
    }
}

/// Makes an entry.
pub(crate) fn entry(place: Place, body: Body) -> RelayMessage {
    RelayMessage::Entry(Arc::new(Entry {
        conversation: ConversationId(12),
        place,
        seq: Seq(3),
        from: UserId(9),
        at: Timestamp(1_700_000_000_000),
        body,
    }))
}

/// Makes a message with a text.
pub(crate) fn text(text: &str) -> RelayMessage {
    let pair = Pair::new(UserId(1), UserId(2)).unwrap();
    let body = Body::Text(Text {
        key: Key::new("key").unwrap(),
        text: text.into(),
        reply_to: Some(Seq(2)),
        meta: Some(r#"{"a":1}"#.into()),
        edited: true,
        recalled: false,
    });
    entry(Place::Direct(pair), body)
}

/// Makes a message of each kind.
pub(crate) fn messages() -> Vec<RelayMessage> {
    let pair = Pair::new(UserId(1), UserId(2)).unwrap();
    let (user, group, origin) = (UserId(1), GroupId(12), u64::MAX - 5);
    let in_group = |body| entry(Place::Group(group), body);
    vec![
        text("hi"),
        text(&"\u{1f600}".repeat(4096)),
        in_group(Body::Edit {
            target: Seq(1),
            text: Some("better".into()),
        }),
        in_group(Body::Recall { target: Seq(1) }),
        in_group(Body::Role {
            user,
            role: Role::Admin,
        }),
        in_group(Body::Disbanded),
        changed(7),
        RelayMessage::Receipt {
            conversation: ConversationId(12),
            pair: Some(pair),
            to: UserId(2),
            user,
            delivered: Seq(2),
            read: Seq(1),
            origin,
        },
        RelayMessage::TypingDirect { pair, user, origin },
        RelayMessage::TypingGroup {
            group,
            user,
            origin,
        },
        RelayMessage::Requested {
            group,
            name: Name::new("Tea").unwrap(),
            user,
            origin,
        },
        RelayMessage::AskAbout { user },
        RelayMessage::Resumed {
            user,
            session: SessionId(5),
            at: Timestamp(1_700_000_000_000),
        },
        RelayMessage::Heartbeat { origin, line: 3 },
        RelayMessage::Leaving { origin },
    ]
}
