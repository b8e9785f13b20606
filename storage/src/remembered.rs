//! What earlier transactions read or wrote and what still holds, so that it need not be read again.
//!
//! Whoever sends is mostly one who has sent before. Where nobody else can have written meanwhile, what
//! the rules need to know of a conversation, of its two friends or of a group's member is at hand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parlor_core::id::{ConversationId, GroupId, Place, Seq, UserId};
use parlor_core::log::FriendState;
use parlor_core::store::{GroupRow, MemberRow, ReadSet, View};

/// How much is remembered at most, in rows of which the small ones have some 50 bytes.
const MOST: usize = 32_768;

/// How many rows a group counts as: its description is long.
const GROUP: usize = 32;

/// Counts the connections that a pool has made to write with. What one of them says of its data's
/// version means nothing to the next.
#[derive(Debug, Default)]
pub(crate) struct Connections(AtomicU64);

impl Connections {
    /// Counts one more.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the number of the newest one.
    pub(crate) fn newest(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A state of the data: between two transactions that see the same one, nobody else has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Which connection says so.
    pub(crate) connection: u64,
    /// SQLite's `data_version` (<https://www.sqlite.org/pragma.html#pragma_data_version>).
    pub(crate) data: u64,
}

/// Rows that were there when the last transaction was committed.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    version: Option<Version>,
    /// Those of the latest transactions.
    recent: Rows,
    /// Those of transactions before, until these are too many.
    older: Rows,
}

#[derive(Debug, Default)]
struct Rows {
    conversations: HashMap<Place, (ConversationId, Seq)>,
    friendships: HashMap<(UserId, UserId), FriendState>,
    groups: HashMap<GroupId, GroupRow>,
    members: HashMap<(ConversationId, UserId), MemberRow>,
}

impl Remembered {
    /// Begins a transaction: forgets all unless the data has the same version as before.
    pub(crate) fn begin(&mut self, version: Option<Version>) {
        if version.is_none() || self.version != version {
            *self = Self {
                version,
                ..Self::default()
            };
        }
    }

    /// Moves what is known of a read set from there into a view.
    pub(crate) fn fill(&self, set: &mut ReadSet, view: &mut View) {
        set.places.retain(|place| !self.fill_place(*place, view));
        set.friendships
            .retain(|pair| match self.get(|rows| rows.friendships.get(pair)) {
                Some(state) => {
                    view.friendships.load(*pair, Some(*state));
                    false
                }
                None => true,
            });
        set.members
            .retain(|(place, user)| !self.fill_member(*place, *user, view));
    }

    fn fill_place(&self, place: Place, view: &mut View) -> bool {
        let Some((id, last)) = self.get(|rows| rows.conversations.get(&place)).copied() else {
            return false;
        };
        match place {
            Place::Direct(pair) => view.pairs.load(pair, Some(id)),
            Place::Group(group) => match self.get(|rows| rows.groups.get(&group)) {
                Some(row) => view.groups.load(group, Some(row.clone())),
                None => return false,
            },
        }
        view.conversations.load(id, Some((place, last)));
        true
    }

    fn fill_member(&self, place: Place, user: UserId, view: &mut View) -> bool {
        let Place::Group(group) = place else {
            return false;
        };
        let key = (group.conversation(), user);
        let Some(row) = self.get(|rows| rows.members.get(&key)).copied() else {
            return false;
        };
        view.members.load(key, Some(row));
        true
    }

    fn get<'a, T>(&'a self, find: impl Fn(&'a Rows) -> Option<&'a T>) -> Option<&'a T> {
        find(&self.recent).or_else(|| find(&self.older))
    }

    /// Takes in what a transaction that is committed saw and did.
    pub(crate) fn learn(&mut self, view: &View) {
        if self.version.is_none() {
            return;
        }
        let recent = &mut self.recent;
        for (id, (place, last)) in view.conversations.iter() {
            recent.conversations.insert(*place, (*id, *last));
        }
        let friendships = view.friendships.iter().map(|(pair, state)| (*pair, *state));
        recent.friendships.extend(friendships);
        let groups = view.groups.iter().map(|(id, row)| (*id, row.clone()));
        recent.groups.extend(groups);
        let members = view.members.iter();
        // Nobody looks for the members of a direct conversation: there are always two.
        let members = members.filter(|((id, _), _)| !is_direct(view, *id));
        recent
            .members
            .extend(members.map(|(key, row)| (*key, *row)));
        for rows in [&mut self.recent, &mut self.older] {
            for pair in view.friendships.absent() {
                rows.friendships.remove(pair);
            }
            for key in view.members.absent() {
                rows.members.remove(key);
            }
        }
        if self.recent.weight() > MOST / 2 {
            self.older = std::mem::take(&mut self.recent);
        }
    }
}

fn is_direct(view: &View, id: ConversationId) -> bool {
    let conversation = view.conversations.get(&id).flatten();
    matches!(conversation, Some((Place::Direct(_), _)))
}

impl Rows {
    fn weight(&self) -> usize {
        self.conversations.len()
            + self.friendships.len()
            + self.members.len()
            + GROUP * self.groups.len()
    }
}

#[cfg(test)]
mod tests {
    use parlor_core::id::Pair;
    use parlor_core::store::Limits;
    use parlor_core::time::Timestamp;

    use super::*;

    const NOW: Option<Version> = Some(Version {
        connection: 1,
        data: 2,
    });

    fn view() -> View {
        View::new(Timestamp(1), Limits::default())
    }

    fn place(pair: u64) -> Place {
        Place::Direct(Pair::new(UserId(pair), UserId(u64::MAX)).unwrap())
    }

    /// Has a conversation and its friendship remembered.
    fn learn(remembered: &mut Remembered, pair: u64) {
        let mut view = view();
        view.conversations
            .put(ConversationId(pair), (place(pair), Seq(3)));
        let friends = (UserId(pair), UserId(u64::MAX));
        view.friendships.put(friends, FriendState::Friends);
        remembered.learn(&view);
    }

    /// Returns how much of the same has to be read.
    fn unknown(remembered: &Remembered, pair: u64) -> (usize, usize) {
        let mut set = ReadSet::default();
        set.places.insert(place(pair));
        set.friendships.insert((UserId(pair), UserId(u64::MAX)));
        let mut view = view();
        remembered.fill(&mut set, &mut view);
        let found = view.conversations.iter().count() + view.friendships.iter().count();
        let unknown = (set.places.len(), set.friendships.len());
        assert_eq!(found, 2 - unknown.0 - unknown.1);
        unknown
    }

    #[test]
    fn what_was_written_need_not_be_read_until_others_write() {
        let mut remembered = Remembered::default();
        remembered.begin(NOW);
        learn(&mut remembered, 1);
        remembered.begin(NOW);
        assert_eq!(unknown(&remembered, 1), (0, 0));
        assert_eq!(unknown(&remembered, 2), (1, 1));
        for other in [
            None,
            Some(Version {
                connection: 2,
                data: 2,
            }),
            Some(Version {
                connection: 1,
                data: 3,
            }),
        ] {
            let mut remembered = Remembered::default();
            remembered.begin(NOW);
            learn(&mut remembered, 1);
            remembered.begin(other);
            assert_eq!(unknown(&remembered, 1), (1, 1), "{other:?}");
        }
    }

    #[test]
    fn where_versions_are_unknown_nothing_is_remembered() {
        let mut remembered = Remembered::default();
        remembered.begin(None);
        learn(&mut remembered, 1);
        assert_eq!(unknown(&remembered, 1), (1, 1));
    }

    #[test]
    fn what_is_deleted_is_forgotten() {
        let mut remembered = Remembered::default();
        remembered.begin(NOW);
        learn(&mut remembered, 1);
        let mut view = view();
        let friends = (UserId(1), UserId(u64::MAX));
        view.friendships.load(friends, Some(FriendState::Friends));
        view.friendships.remove(&friends);
        remembered.learn(&view);
        assert_eq!(unknown(&remembered, 1), (0, 1));
    }

    #[test]
    fn what_was_not_needed_for_long_is_forgotten() {
        let mut remembered = Remembered::default();
        remembered.begin(NOW);
        for pair in 0..=20_000 {
            learn(&mut remembered, pair);
        }
        let held = remembered.recent.weight() + remembered.older.weight();
        assert!(held <= MOST + 2, "{held}");
        assert_eq!(unknown(&remembered, 0), (1, 1));
        assert_eq!(unknown(&remembered, 20_000), (0, 0));
    }
}
