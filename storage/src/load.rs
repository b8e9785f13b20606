//! From the database into a view: what a read set names, locked in the order that it asks for.

use std::collections::{BTreeMap, BTreeSet};

use parlor_core::id::{ConversationId, GroupId, Pair, Place, Seq, SessionId, UserId};
use parlor_core::identity::Identity;
use parlor_core::log::FriendState;
use parlor_core::store::{Count, InvitationRow, MemberRow, ReadSet, StoredKey, View};
use parlor_core::time::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, FromQueryResult as _, QueryResult, Value};

use crate::convert::{
    self, column, conversation, digest, friend_state, member, message, message_columns, number,
    optional, sql,
};
use crate::dialect::Dialect;
use crate::entity::{group, session, user};
use crate::sql::{CHUNK, Sql};

/// Loads rows into a view, which is empty but for its numbers.
pub(crate) async fn load(
    transaction: &DatabaseTransaction,
    dialect: Dialect,
    set: &ReadSet,
    view: &mut View,
) -> Result<(), DbErr> {
    let mut loader = Loader {
        transaction,
        dialect,
        view,
        found: BTreeMap::new(),
    };
    loader.users(set).await?;
    loader.names(set).await?;
    loader.identities(set).await?;
    loader.places(set).await?;
    loader.groups(set).await?;
    loader.sessions(set).await?;
    loader.friendships(set).await?;
    loader.members(set).await?;
    loader.invitations(set).await?;
    loader.join_requests(set).await?;
    loader.keys(set).await?;
    loader.messages(set).await?;
    loader.counts(set).await?;
    loader.view.loaded = set.clone();
    Ok(())
}

struct Loader<'a> {
    transaction: &'a DatabaseTransaction,
    dialect: Dialect,
    view: &'a mut View,
    /// The conversations of places that exist.
    found: BTreeMap<Place, ConversationId>,
}

impl Loader<'_> {
    /// Reads rows by numbers: `text` ends with `IN `, `end` follows the list.
    async fn by_ids(
        &self,
        text: &'static str,
        ids: &[i64],
        end: &'static str,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let mut rows = Vec::new();
        for chunk in ids.chunks(CHUNK) {
            let sql = Sql::new(self.dialect, text).list(chunk).then(end);
            rows.extend(sql.all(self.transaction).await?);
        }
        Ok(rows)
    }

    /// Reads rows by tuples: `text` ends with `IN `.
    async fn by_tuples<const N: usize>(
        &self,
        text: &'static str,
        tuples: &[[Value; N]],
    ) -> Result<Vec<QueryResult>, DbErr> {
        let mut rows = Vec::new();
        for chunk in tuples.chunks(CHUNK) {
            let sql = Sql::new(self.dialect, text).tuples(chunk);
            rows.extend(sql.all(self.transaction).await?);
        }
        Ok(rows)
    }

    async fn users(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let ids: Vec<i64> = set.users.iter().map(|user| sql(user.0)).collect();
        let end = self.dialect.lock_by_id();
        let text = "SELECT * FROM `user` WHERE id IN ";
        for row in self.by_ids(text, &ids, end).await? {
            let model = user::Model::from_query_result(&row, "")?;
            let id = UserId(convert::unsql(model.id));
            self.view.users.load(id, Some(convert::user(model)?));
        }
        for user in &set.users {
            self.view.users.load(*user, None);
        }
        Ok(())
    }

    async fn names(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let keys: BTreeMap<&[u8], _> = set
            .names
            .iter()
            .map(|name| (name.as_str().as_bytes(), name))
            .collect();
        let tuples: Vec<[Value; 1]> = keys.keys().map(|key| [key.to_vec().into()]).collect();
        let text = "SELECT name_key, id FROM `user` WHERE name_key IN ";
        for row in self.by_tuples(text, &tuples).await? {
            let key: Vec<u8> = column(&row, 0)?;
            if let Some(name) = keys.get(key.as_slice()) {
                let owner = UserId(number(&row, 1)?);
                self.view.names.load((*name).clone(), Some(owner));
            }
        }
        for name in &set.names {
            self.view.names.load(name.clone(), None);
        }
        Ok(())
    }

    async fn identities(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let identities = set.identities.iter();
        let tuples: Vec<[Value; 1]> = identities
            .map(|identity| [identity.as_bytes().to_vec().into()])
            .collect();
        let text = "SELECT identity, id FROM `user` WHERE identity IN ";
        for row in self.by_tuples(text, &tuples).await? {
            let bytes: Vec<u8> = column(&row, 0)?;
            if let Some(identity) = Identity::from_bytes(&bytes) {
                let owner = UserId(number(&row, 1)?);
                self.view.identities.load(identity, Some(owner));
            }
        }
        for identity in &set.identities {
            self.view.identities.load(*identity, None);
        }
        Ok(())
    }

    /// Finds and locks conversations. Those that only single rows are wanted of are found only.
    async fn places(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let mut all = set.places.clone();
        all.extend(set.members.iter().map(|(place, _)| *place));
        all.extend(&set.members_of);
        all.extend(set.messages.iter().map(|(place, _)| *place));
        let pairs = self.pairs(&all).await?;
        let (mut locked, mut looked_at) = (BTreeSet::new(), BTreeSet::new());
        for place in all {
            let (id, last) = match place {
                Place::Direct(pair) => pairs.get(&pair).copied().unzip(),
                Place::Group(group) => (Some(group.conversation()), None),
            };
            let wanted = set.places.contains(&place);
            if let (Place::Direct(pair), true) = (place, wanted) {
                self.view.pairs.load(pair, id);
            }
            if let (Some(id), Some(last), Dialect::Sqlite) = (id, last, self.dialect) {
                // Nobody else can write: what was found is locked.
                self.found.insert(place, id);
                if wanted {
                    self.view.conversations.load(id, Some((place, last)));
                }
                continue;
            }
            if let Some(id) = id {
                if wanted { &mut locked } else { &mut looked_at }.insert(sql(id.0));
            }
        }
        looked_at.retain(|id| !locked.contains(id));
        self.conversations(&locked, true).await?;
        self.conversations(&looked_at, false).await
    }

    async fn pairs(
        &self,
        places: &BTreeSet<Place>,
    ) -> Result<BTreeMap<Pair, (ConversationId, Seq)>, DbErr> {
        let tuples: Vec<[Value; 2]> = places
            .iter()
            .filter_map(|place| match place {
                Place::Direct(pair) => Some([sql(pair.low().0), sql(pair.high().0)]),
                Place::Group(_) => None,
            })
            .map(|tuple| tuple.map(Value::from))
            .collect();
        let text = "SELECT id, low_id, high_id, last_seq FROM conversation \
             WHERE (low_id, high_id) IN ";
        let mut pairs = BTreeMap::new();
        for row in self.by_tuples(text, &tuples).await? {
            if let (id, Place::Direct(pair), last) = conversation(&row, 0)? {
                pairs.insert(pair, (id, last));
            }
        }
        Ok(pairs)
    }

    /// Loads conversations. A number that was named as a group's may be that of a direct
    /// conversation: it is loaded as what it is.
    async fn conversations(&mut self, ids: &BTreeSet<i64>, locked: bool) -> Result<(), DbErr> {
        let list: Vec<i64> = ids.iter().copied().collect();
        let end = if locked {
            self.dialect.lock_by_id()
        } else {
            ""
        };
        let text = "SELECT id, low_id, high_id, last_seq FROM conversation WHERE id IN ";
        for row in self.by_ids(text, &list, end).await? {
            let (id, place, last) = conversation(&row, 0)?;
            self.found.insert(place, id);
            if locked {
                self.view.conversations.load(id, Some((place, last)));
            }
        }
        if locked {
            for id in ids {
                let id = ConversationId(convert::unsql(*id));
                self.view.conversations.load(id, None);
            }
        }
        Ok(())
    }

    async fn groups(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let groups: Vec<GroupId> = set
            .places
            .iter()
            .filter_map(|place| match place {
                Place::Group(group) => Some(*group),
                Place::Direct(_) => None,
            })
            .collect();
        let ids: Vec<i64> = groups.iter().map(|group| sql(group.0)).collect();
        for row in self
            .by_ids("SELECT * FROM `group` WHERE id IN ", &ids, "")
            .await?
        {
            let model = group::Model::from_query_result(&row, "")?;
            let id = GroupId(convert::unsql(model.id));
            self.view.groups.load(id, Some(convert::group(model)?));
        }
        for group in groups {
            self.view.groups.load(group, None);
        }
        Ok(())
    }

    async fn sessions(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let ids: Vec<i64> = set.sessions_of.iter().map(|user| sql(user.0)).collect();
        let text = "SELECT * FROM session WHERE user_id IN ";
        for row in self.by_ids(text, &ids, "").await? {
            let model = session::Model::from_query_result(&row, "")?;
            let id = SessionId(convert::unsql(model.id));
            self.view.sessions.load(id, Some(convert::session(model)));
        }
        Ok(())
    }

    async fn friendships(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let tuples: Vec<[Value; 2]> = set
            .friendships
            .iter()
            .map(|(of, to)| [sql(of.0).into(), sql(to.0).into()])
            .collect();
        let one = "SELECT user_id, other_id, state FROM friendship WHERE (user_id, other_id) IN ";
        let mut rows = self.by_tuples(one, &tuples).await?;
        let ids: Vec<i64> = set.friendships_of.iter().map(|user| sql(user.0)).collect();
        let of = "SELECT user_id, other_id, state FROM friendship WHERE user_id IN ";
        rows.extend(self.by_ids(of, &ids, "").await?);
        let to = "SELECT user_id, other_id, state FROM friendship WHERE other_id IN ";
        rows.extend(self.by_ids(to, &ids, "").await?);
        for row in rows {
            let key = (UserId(number(&row, 0)?), UserId(number(&row, 1)?));
            let state: FriendState = friend_state(&column::<String>(&row, 2)?)?;
            self.view.friendships.load(key, Some(state));
        }
        for key in &set.friendships {
            self.view.friendships.load(*key, None);
        }
        Ok(())
    }

    async fn members(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let single: Vec<(ConversationId, UserId)> = set
            .members
            .iter()
            .filter_map(|(place, user)| Some((*self.found.get(place)?, *user)))
            .collect();
        let tuples: Vec<[Value; 2]> = single
            .iter()
            .map(|(id, user)| [sql(id.0).into(), sql(user.0).into()])
            .collect();
        let text = "SELECT conversation_id, user_id, role, joined_seq, delivered_seq, read_seq \
             FROM member WHERE (conversation_id, user_id) IN ";
        let mut rows = self.by_tuples(text, &tuples).await?;
        let ids: Vec<i64> = set
            .members_of
            .iter()
            .filter_map(|place| Some(sql(self.found.get(place)?.0)))
            .collect();
        let text = "SELECT conversation_id, user_id, role, joined_seq, delivered_seq, read_seq \
             FROM member WHERE conversation_id IN ";
        rows.extend(self.by_ids(text, &ids, "").await?);
        for row in rows {
            let key = (ConversationId(number(&row, 0)?), UserId(number(&row, 1)?));
            self.view.members.load(key, Some(member(&row, 2)?));
        }
        for key in single {
            self.view.members.load(key, None::<MemberRow>);
        }
        self.memberships(set).await
    }

    async fn memberships(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let ids: Vec<i64> = set.memberships_of.iter().map(|user| sql(user.0)).collect();
        let text = "SELECT m.user_id, c.id, c.low_id, c.high_id, c.last_seq, \
             m.role, m.joined_seq, m.delivered_seq, m.read_seq \
             FROM member m JOIN conversation c ON c.id = m.conversation_id WHERE m.user_id IN ";
        for row in self.by_ids(text, &ids, "").await? {
            let user = UserId(number(&row, 0)?);
            let (id, place, last) = conversation(&row, 1)?;
            self.view.members.load((id, user), Some(member(&row, 5)?));
            self.view.conversations.load(id, Some((place, last)));
        }
        Ok(())
    }

    async fn invitations(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let tuples: Vec<[Value; 2]> = set
            .invitations
            .iter()
            .map(|(group, user)| [sql(group.0).into(), sql(user.0).into()])
            .collect();
        let one = "SELECT group_id, user_id, by_id FROM invitation WHERE (group_id, user_id) IN ";
        let mut rows = self.by_tuples(one, &tuples).await?;
        let ids: Vec<i64> = set.invitations_of.iter().map(|user| sql(user.0)).collect();
        let of = "SELECT group_id, user_id, by_id FROM invitation WHERE user_id IN ";
        rows.extend(self.by_ids(of, &ids, "").await?);
        let ids: Vec<i64> = set
            .invitations_to
            .iter()
            .map(|group| sql(group.0))
            .collect();
        let to = "SELECT group_id, user_id, by_id FROM invitation WHERE group_id IN ";
        rows.extend(self.by_ids(to, &ids, "").await?);
        for row in rows {
            let key = (GroupId(number(&row, 0)?), UserId(number(&row, 1)?));
            let by = UserId(number(&row, 2)?);
            self.view.invitations.load(key, Some(InvitationRow { by }));
        }
        for key in &set.invitations {
            self.view.invitations.load(*key, None);
        }
        Ok(())
    }

    async fn join_requests(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let tuples: Vec<[Value; 2]> = set
            .join_requests
            .iter()
            .map(|(group, user)| [sql(group.0).into(), sql(user.0).into()])
            .collect();
        let one = "SELECT group_id, user_id FROM join_request WHERE (group_id, user_id) IN ";
        let mut rows = self.by_tuples(one, &tuples).await?;
        let ids: Vec<i64> = set
            .join_requests_of
            .iter()
            .map(|user| sql(user.0))
            .collect();
        let of = "SELECT group_id, user_id FROM join_request WHERE user_id IN ";
        rows.extend(self.by_ids(of, &ids, "").await?);
        let ids: Vec<i64> = set
            .join_requests_to
            .iter()
            .map(|group| sql(group.0))
            .collect();
        let to = "SELECT group_id, user_id FROM join_request WHERE group_id IN ";
        rows.extend(self.by_ids(to, &ids, "").await?);
        for row in rows {
            let key = (GroupId(number(&row, 0)?), UserId(number(&row, 1)?));
            self.view.join_requests.load(key, Some(()));
        }
        for key in &set.join_requests {
            self.view.join_requests.load(*key, None);
        }
        Ok(())
    }

    async fn keys(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let tuple = |(user, key): &(UserId, parlor_core::name::Key)| -> [Value; 2] {
            [sql(user.0).into(), key.as_str().as_bytes().to_vec().into()]
        };
        let tuples: Vec<[Value; 2]> = set.keys.iter().map(tuple).collect();
        let text = "SELECT sender_id, message_key, conversation_id, seq, created_at, digest \
             FROM message WHERE (sender_id, message_key) IN ";
        for row in self.by_tuples(text, &tuples).await? {
            let key = convert::key(&column::<Vec<u8>>(&row, 1)?)?;
            let stored = StoredKey {
                conversation: ConversationId(number(&row, 2)?),
                seq: Seq(number(&row, 3)?),
                at: Timestamp(number(&row, 4)?),
                digest: digest(&column::<Vec<u8>>(&row, 5)?)?,
            };
            let sender = UserId(number(&row, 0)?);
            self.view.keys.load((sender, key), Some(stored));
        }
        for key in &set.keys {
            self.view.keys.load(key.clone(), None);
        }
        let tuples: Vec<[Value; 2]> = set.group_keys.iter().map(tuple).collect();
        let text = "SELECT creator_id, group_key, id FROM `group` \
             WHERE (creator_id, group_key) IN ";
        for row in self.by_tuples(text, &tuples).await? {
            let key = convert::key(&column::<Vec<u8>>(&row, 1)?)?;
            let group = GroupId(number(&row, 2)?);
            let creator = UserId(number(&row, 0)?);
            self.view.group_keys.load((creator, key), Some(group));
        }
        for key in &set.group_keys {
            self.view.group_keys.load(key.clone(), None);
        }
        Ok(())
    }

    async fn messages(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let keys: Vec<(ConversationId, Seq)> = set
            .messages
            .iter()
            .filter_map(|(place, seq)| Some((*self.found.get(place)?, *seq)))
            .collect();
        let tuples: Vec<[Value; 2]> = keys
            .iter()
            .map(|(id, seq)| [sql(id.0).into(), sql(seq.0).into()])
            .collect();
        let text = concat!(
            "SELECT ",
            message_columns!(),
            " FROM message WHERE (conversation_id, seq) IN "
        );
        for row in self.by_tuples(text, &tuples).await? {
            let (key, row) = message(&row)?;
            self.view.messages.load(key, Some(row));
        }
        for key in keys {
            self.view.messages.load(key, None);
        }
        Ok(())
    }

    async fn counts(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        for kind in COUNTS {
            let ids: Vec<i64> = set
                .counts
                .iter()
                .filter_map(|count| (kind.id)(*count))
                .map(sql)
                .collect();
            for row in self.by_ids(kind.text, &ids, kind.end).await? {
                let count = (kind.count)(number(&row, 0)?);
                let rows = optional(&row, 1)?.unwrap_or_default();
                self.view.counts.insert(count, rows);
            }
        }
        for count in &set.counts {
            self.view.counts.entry(*count).or_insert(0);
        }
        Ok(())
    }
}

/// How one kind of count is read: by a query that groups by what is counted for.
struct CountQuery {
    id: fn(Count) -> Option<u64>,
    count: fn(u64) -> Count,
    text: &'static str,
    end: &'static str,
}

const COUNTS: &[CountQuery] = &[
    CountQuery {
        id: |count| match count {
            Count::Friendships(user) => Some(user.0),
            _ => None,
        },
        count: |id| Count::Friendships(UserId(id)),
        text: "SELECT user_id, COUNT(*) FROM friendship WHERE user_id IN ",
        end: " GROUP BY user_id",
    },
    CountQuery {
        id: |count| match count {
            Count::Conversations(user) => Some(user.0),
            _ => None,
        },
        count: |id| Count::Conversations(UserId(id)),
        text: "SELECT user_id, COUNT(*) FROM member WHERE user_id IN ",
        end: " GROUP BY user_id",
    },
    CountQuery {
        id: |count| match count {
            Count::Groups(user) => Some(user.0),
            _ => None,
        },
        count: |id| Count::Groups(UserId(id)),
        text: "SELECT m.user_id, COUNT(*) FROM member m \
             JOIN `group` g ON g.id = m.conversation_id WHERE m.user_id IN ",
        end: " GROUP BY m.user_id",
    },
    CountQuery {
        id: |count| match count {
            Count::Members(group) => Some(group.0),
            _ => None,
        },
        count: |id| Count::Members(GroupId(id)),
        text: "SELECT m.conversation_id, COUNT(*) FROM member m \
             JOIN `group` g ON g.id = m.conversation_id WHERE m.conversation_id IN ",
        end: " GROUP BY m.conversation_id",
    },
    CountQuery {
        id: |count| match count {
            Count::Invitations(user) => Some(user.0),
            _ => None,
        },
        count: |id| Count::Invitations(UserId(id)),
        text: "SELECT user_id, COUNT(*) FROM invitation WHERE user_id IN ",
        end: " GROUP BY user_id",
    },
    CountQuery {
        id: |count| match count {
            Count::JoinRequests(group) => Some(group.0),
            _ => None,
        },
        count: |id| Count::JoinRequests(GroupId(id)),
        text: "SELECT group_id, COUNT(*) FROM join_request WHERE group_id IN ",
        end: " GROUP BY group_id",
    },
];
