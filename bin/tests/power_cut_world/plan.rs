//! Who writes what to whom: all of it is drawn from a seed.

use std::sync::OnceLock;

use parlor_core::id::{GroupId, Pair, Place, UserId};
use serde_json::{Value, json};

use super::Random;

/// How many people there are. Users have the numbers from 1 on; each odd one and the next are friends.
pub(crate) const PEOPLE: u64 = 6;

/// Who is in which group; the first made it. The direct conversations have the numbers before.
pub(crate) const GROUPS: [(u64, &[u64]); 2] = [(4, &[1, 2, 3, 4, 5, 6]), (5, &[2, 4, 6])];

/// How many messages each of them may write: far more than it takes until SQLite's log is full.
const MESSAGES: u64 = 2_000;

/// The number of the first message. Requests with smaller numbers are no messages.
const FIRST: u64 = 100_000;

/// How the key of each message begins; six digits follow.
pub(crate) const KEY: &str = "cut-";

pub(crate) struct Plan {
    messages: Vec<Message>,
}

pub(crate) struct Message {
    /// The number of its request, unlike that of all others.
    pub(crate) id: u64,
    pub(crate) from: u64,
    pub(crate) place: Place,
    pub(crate) key: String,
    seed: u64,
    text: OnceLock<String>,
}

impl Message {
    pub(crate) fn text(&self) -> &str {
        self.text.get_or_init(|| text(&mut Random(self.seed)))
    }
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut messages = Vec::new();
        for id in FIRST..FIRST + MESSAGES * PEOPLE {
            let from = id % PEOPLE + 1;
            let groups = GROUPS.iter().filter(|(_, members)| members.contains(&from));
            let mut places: Vec<Place> = groups
                .map(|(group, _)| Place::Group(GroupId(*group)))
                .collect();
            places.push(friends(from));
            messages.push(Message {
                id,
                from,
                place: *random.one_of(&places),
                key: format!("{KEY}{id}"),
                seed: random.below(u64::MAX),
                text: OnceLock::new(),
            });
        }
        Self { messages }
    }

    /// Returns the message of a request.
    pub(crate) fn message(&self, id: u64) -> Option<&Message> {
        let index = id.checked_sub(FIRST)?;
        self.messages.get(usize::try_from(index).unwrap())
    }

    /// Returns the message that has a key.
    pub(crate) fn with_key(&self, key: &str) -> Option<&Message> {
        let id = key.strip_prefix(KEY)?.parse().ok()?;
        self.message(id).filter(|message| message.key == key)
    }

    /// Iterates over what someone writes, in its order.
    pub(crate) fn of(&self, user: u64) -> impl Iterator<Item = &Message> {
        self.messages
            .iter()
            .filter(move |message| message.from == user)
    }

    /// Returns every conversation, with someone who reads all of it.
    pub(crate) fn places() -> Vec<(Place, u64)> {
        let direct = (1..=PEOPLE).step_by(2).map(|user| (friends(user), user));
        let groups = GROUPS
            .iter()
            .map(|(group, members)| (Place::Group(GroupId(*group)), members[0]));
        direct.chain(groups).collect()
    }
}

/// Returns the conversation of someone with their friend.
fn friends(user: u64) -> Place {
    Place::Direct(Pair::new(UserId(user), UserId(friend(user))).unwrap())
}

/// Returns who is someone's friend.
pub(crate) fn friend(user: u64) -> u64 {
    if user % 2 == 1 { user + 1 } else { user - 1 }
}

/// Returns the name of someone.
pub(crate) fn name(user: u64) -> String {
    format!("person {user}")
}

/// Returns how a conversation is named by someone who is in it.
pub(crate) fn named(place: Place, reader: u64) -> Value {
    match place {
        Place::Group(group) => json!({"group": group.0}),
        Place::Direct(_) => json!({"user": friend(reader)}),
    }
}

/// Makes a text: most are short, and some take several pages of the database.
fn text(random: &mut Random) -> String {
    let length = match random.below(20) {
        0 => 8_000 + random.below(6_000),
        1..5 => 1_000 + random.below(3_000),
        _ => 10 + random.below(200),
    };
    let letters = random.bytes(usize::try_from(length).unwrap());
    letters
        .iter()
        .map(|byte| char::from(b'a' + byte % 26))
        .collect()
}
