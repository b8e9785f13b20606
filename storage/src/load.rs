//! From the database into a view: what a read set names, locked in the order that it asks for.

use std::collections::{BTreeMap, BTreeSet};

use parlor_core::id::{ConversationId, GroupId, Pair, Place, Seq, SessionId, UserId};
use parlor_core::identity::Identity;
use parlor_core::sorted::SortedSet;
use parlor_core::store::{Count, InvitationRow, MemberRow, ReadSet, StoredKey, View};
use parlor_core::time::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, FromQueryResult as _, QueryResult, Value};

use crate::convert::{
    self, FRIENDSHIPS, MESSAGES, conversation, friend_state, member, message, sql, unhex, unsql,
};
use crate::dialect::Dialect;
use crate::entity::{group, session, user};
use crate::sql::{CHUNK, Lookup, Row, Sql, look_up, rows_by_ids};

/// Loads rows into a view, beside those that it has.
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
    loader.counts(set).await
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

    /// As [`by_ids`](Self::by_ids), of few columns.
    async fn rows_by_ids<R: Row>(
        &self,
        text: &'static str,
        ids: &[i64],
        end: &'static str,
    ) -> Result<Vec<R>, DbErr> {
        rows_by_ids(self.transaction, self.dialect, text, ids, end).await
    }

    /// Reads rows of few columns by tuples.
    async fn lookup<const N: usize, R: Row>(
        &self,
        what: Lookup<N>,
        tuples: Vec<[Value; N]>,
    ) -> Result<Vec<R>, DbErr> {
        look_up(self.transaction, self.dialect, what, tuples).await
    }

    async fn users(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let ids: Vec<i64> = set.users.iter().map(|user| sql(user.0)).collect();
        let end = self.dialect.lock_by_id();
        let text = "SELECT * FROM `user` WHERE id IN ";
        for row in self.by_ids(text, &ids, end).await? {
            let model = user::Model::from_query_result(&row, "")?;
            let id = UserId(unsql(model.id));
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
        let users = Lookup {
            columns: "HEX(name_key), id",
            table: "`user`",
            by: ["name_key"],
        };
        let rows: Vec<(String, i64)> = self.lookup(users, tuples).await?;
        for (key, owner) in rows {
            if let Some(name) = keys.get(unhex(&key)?.as_slice()) {
                let owner = UserId(unsql(owner));
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
        let users = Lookup {
            columns: "HEX(identity), id",
            table: "`user`",
            by: ["identity"],
        };
        let rows: Vec<(String, i64)> = self.lookup(users, tuples).await?;
        for (bytes, owner) in rows {
            if let Some(identity) = Identity::from_bytes(&unhex(&bytes)?) {
                let owner = UserId(unsql(owner));
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
        all.extend(set.members_of.iter().copied());
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
        places: &SortedSet<Place>,
    ) -> Result<BTreeMap<Pair, (ConversationId, Seq)>, DbErr> {
        let tuples: Vec<[Value; 2]> = places
            .iter()
            .filter_map(|place| match place {
                Place::Direct(pair) => Some([sql(pair.low().0), sql(pair.high().0)]),
                Place::Group(_) => None,
            })
            .map(|tuple| tuple.map(Value::from))
            .collect();
        let conversations = Lookup {
            columns: "id, low_id, high_id, last_seq",
            table: "conversation",
            by: ["low_id", "high_id"],
        };
        let mut pairs = BTreeMap::new();
        for row in self.lookup(conversations, tuples).await? {
            if let (id, Place::Direct(pair), last) = conversation(row)? {
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
        for row in self.rows_by_ids(text, &list, end).await? {
            let (id, place, last) = conversation(row)?;
            self.found.insert(place, id);
            if locked {
                self.view.conversations.load(id, Some((place, last)));
            }
        }
        if locked {
            for id in ids {
                let id = ConversationId(unsql(*id));
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
            let id = GroupId(unsql(model.id));
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
            let id = SessionId(unsql(model.id));
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
        let mut rows: Vec<(i64, i64, String)> = self.lookup(FRIENDSHIPS, tuples).await?;
        let ids: Vec<i64> = set.friendships_of.iter().map(|user| sql(user.0)).collect();
        let of = "SELECT user_id, other_id, state FROM friendship WHERE user_id IN ";
        rows.extend(self.rows_by_ids(of, &ids, "").await?);
        let to = "SELECT user_id, other_id, state FROM friendship WHERE other_id IN ";
        rows.extend(self.rows_by_ids(to, &ids, "").await?);
        for (of, to, state) in rows {
            let key = (UserId(unsql(of)), UserId(unsql(to)));
            let state = friend_state(&state)?;
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
        let members = Lookup {
            columns: "conversation_id, user_id, role, joined_seq, delivered_seq, read_seq",
            table: "member",
            by: ["conversation_id", "user_id"],
        };
        let mut rows: Vec<(_, _, _, _, _, _)> = self.lookup(members, tuples).await?;
        let ids: Vec<i64> = set
            .members_of
            .iter()
            .filter_map(|place| Some(sql(self.found.get(place)?.0)))
            .collect();
        let text = "SELECT conversation_id, user_id, role, joined_seq, delivered_seq, read_seq \
             FROM member WHERE conversation_id IN ";
        rows.extend(self.rows_by_ids(text, &ids, "").await?);
        for (conversation, user, role, joined, delivered, read) in rows {
            let key = (ConversationId(unsql(conversation)), UserId(unsql(user)));
            let row = member((role, joined, delivered, read))?;
            self.view.members.load(key, Some(row));
        }
        for key in single {
            self.view.members.load(key, None::<MemberRow>);
        }
        self.memberships(set).await
    }

    async fn memberships(&mut self, set: &ReadSet) -> Result<(), DbErr> {
        let ids: Vec<i64> = set.memberships_of.iter().map(|user| sql(user.0)).collect();
        let text = "SELECT c.id, c.low_id, c.high_id, c.last_seq, \
             m.user_id, m.role, m.joined_seq, m.delivered_seq, m.read_seq \
             FROM member m JOIN conversation c ON c.id = m.conversation_id WHERE m.user_id IN ";
        for row in self.rows_by_ids(text, &ids, "").await? {
            let (id, low, high, last, user, role, joined, delivered, read) = row;
            let user = UserId(unsql(user));
            let (id, place, last) = conversation((id, low, high, last))?;
            let row = member((role, joined, delivered, read))?;
            self.view.members.load((id, user), Some(row));
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
        let invitations = Lookup {
            columns: "group_id, user_id, by_id",
            table: "invitation",
            by: ["group_id", "user_id"],
        };
        let mut rows: Vec<(i64, i64, i64)> = self.lookup(invitations, tuples).await?;
        let ids: Vec<i64> = set.invitations_of.iter().map(|user| sql(user.0)).collect();
        let of = "SELECT group_id, user_id, by_id FROM invitation WHERE user_id IN ";
        rows.extend(self.rows_by_ids::<(i64, i64, i64)>(of, &ids, "").await?);
        let ids: Vec<i64> = set
            .invitations_to
            .iter()
            .map(|group| sql(group.0))
            .collect();
        let to = "SELECT group_id, user_id, by_id FROM invitation WHERE group_id IN ";
        rows.extend(self.rows_by_ids::<(i64, i64, i64)>(to, &ids, "").await?);
        for (group, user, by) in rows {
            let key = (GroupId(unsql(group)), UserId(unsql(user)));
            let by = UserId(unsql(by));
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
        let requests = Lookup {
            columns: "group_id, user_id",
            table: "join_request",
            by: ["group_id", "user_id"],
        };
        let mut rows: Vec<(i64, i64)> = self.lookup(requests, tuples).await?;
        let ids: Vec<i64> = set
            .join_requests_of
            .iter()
            .map(|user| sql(user.0))
            .collect();
        let of = "SELECT group_id, user_id FROM join_request WHERE user_id IN ";
        rows.extend(self.rows_by_ids::<(i64, i64)>(of, &ids, "").await?);
        let ids: Vec<i64> = set
            .join_requests_to
            .iter()
            .map(|group| sql(group.0))
            .collect();
        let to = "SELECT group_id, user_id FROM join_request WHERE group_id IN ";
        rows.extend(self.rows_by_ids::<(i64, i64)>(to, &ids, "").await?);
        for (group, user) in rows {
            let key = (GroupId(unsql(group)), UserId(unsql(user)));
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
        let messages = Lookup {
            columns: "sender_id, HEX(message_key), conversation_id, seq, created_at, HEX(digest)",
            table: "message",
            by: ["sender_id", "message_key"],
        };
        let rows: Vec<(i64, String, i64, i64, i64, String)> = self.lookup(messages, tuples).await?;
        for (sender, key, conversation, seq, at, digest) in rows {
            let key = convert::key(&unhex(&key)?)?;
            let stored = StoredKey {
                conversation: ConversationId(unsql(conversation)),
                seq: Seq(unsql(seq)),
                at: Timestamp(unsql(at)),
                digest: convert::digest(&unhex(&digest)?)?,
            };
            let sender = UserId(unsql(sender));
            self.view.keys.load((sender, key), Some(stored));
        }
        for key in &set.keys {
            self.view.keys.load(key.clone(), None);
        }
        let tuples: Vec<[Value; 2]> = set.group_keys.iter().map(tuple).collect();
        let groups = Lookup {
            columns: "creator_id, HEX(group_key), id",
            table: "`group`",
            by: ["creator_id", "group_key"],
        };
        let rows: Vec<(i64, String, i64)> = self.lookup(groups, tuples).await?;
        for (creator, key, group) in rows {
            let key = convert::key(&unhex(&key)?)?;
            let (creator, group) = (UserId(unsql(creator)), GroupId(unsql(group)));
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
        let mut tuples = tuples.into_iter();
        while tuples.len() > 0 {
            let sql = Sql::lookup(self.dialect, MESSAGES, tuples.by_ref().take(CHUNK));
            for row in sql.all(self.transaction).await? {
                let (key, row) = message(&row)?;
                self.view.messages.load(key, Some(row));
            }
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
            let counted: Vec<(i64, i64)> = self.rows_by_ids(kind.text, &ids, kind.end).await?;
            for (id, rows) in counted {
                let count = (kind.count)(unsql(id));
                self.view.counts.insert(count, unsql(rows));
            }
        }
        for count in &set.counts {
            self.view.counts.get_or_insert_with(*count, || 0);
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
