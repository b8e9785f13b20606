//! From a view back into the database: what became of its rows.

use parlor_core::id::{ConversationId, GroupId, Place, Seq, SessionId, UserId};
use parlor_core::name::Key;
use parlor_core::store::{Change, GroupRow, SessionRow, UserRow, View};
use parlor_core::time::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, Value};

use crate::convert::{
    MESSAGE_COLUMNS, PLAIN_ROW, PLAIN_VALUES, message_columns, message_values, plain_columns,
    plain_values, sql,
};
use crate::dialect::Dialect;
use crate::sql::{CHUNK, Sql, Update, insert, places};

/// Up to how many messages are given to SQLite together with the ends of their logs. It is one way to
/// its thread and back less, which matters where few share a commit; of more, there would be too many
/// pairs of lengths for the cache of prepared statements.
const TOGETHER: usize = 16;

/// Writes every change of a view.
pub(crate) async fn write(
    transaction: &DatabaseTransaction,
    dialect: Dialect,
    view: &View,
) -> Result<(), DbErr> {
    let writer = Writer {
        transaction,
        dialect,
    };
    writer.users(view).await?;
    let heads = writer.conversations(view).await?;
    writer.groups(view).await?;
    writer.members(view).await?;
    writer.messages(view, heads).await?;
    for user in &view.blanked {
        writer.blank(*user).await?;
    }
    writer.sessions(view).await?;
    writer.friendships(view).await?;
    writer.invitations(view).await?;
    writer.join_requests(view).await
}

struct Writer<'a> {
    transaction: &'a DatabaseTransaction,
    dialect: Dialect,
}

impl Writer<'_> {
    fn sql(&self, text: &'static str) -> Sql {
        Sql::new(self.dialect, text)
    }

    async fn insert<const N: usize>(
        &self,
        into: &'static str,
        rows: Vec<[Value; N]>,
    ) -> Result<(), DbErr> {
        insert(self.transaction, self.dialect, into, &places(N), rows).await
    }

    /// Deletes rows by a pair of numbers: `text` ends with `IN `.
    async fn delete(&self, text: &'static str, keys: &[(u64, u64)]) -> Result<(), DbErr> {
        for chunk in keys.chunks(CHUNK) {
            let tuples: Vec<[Value; 2]> = chunk
                .iter()
                .map(|(one, other)| [sql(*one).into(), sql(*other).into()])
                .collect();
            self.sql(text).tuples(&tuples).run(self.transaction).await?;
        }
        Ok(())
    }

    /// Writes accounts: changed ones first, so that a name which becomes free may be taken.
    async fn users(&self, view: &View) -> Result<(), DbErr> {
        let mut inserts = Vec::new();
        for change in view.users.changes() {
            match change {
                Change::Insert(user, row) => inserts.push(user_values(*user, row, view.now)),
                Change::Update(user, row) => {
                    let [
                        id,
                        name,
                        name_key,
                        hash,
                        identity,
                        version,
                        locked,
                        updated_at,
                    ] = user_values(*user, row, view.now);
                    self.sql(
                        "UPDATE `user` SET name = ?, name_key = ?, hash = ?, identity = ?, version = ?, \
                         locked = ?, updated_at = ? WHERE id = ?",
                    )
                    .bind(name)
                    .bind(name_key)
                    .bind(hash)
                    .bind(identity)
                    .bind(version)
                    .bind(locked)
                    .bind(updated_at)
                    .bind(id)
                    .run(self.transaction)
                    .await?;
                }
                Change::Delete(user) => return Err(never("user", user)),
            }
        }
        self.insert(
            "`user` (id, name, name_key, hash, identity, version, locked, updated_at)",
            inserts,
        )
        .await
    }

    /// Writes new conversations; returns the new ends of the logs of others, with their numbers.
    async fn conversations(&self, view: &View) -> Result<Vec<(i64, i64)>, DbErr> {
        let now = sql(view.now.0);
        let (mut inserts, mut updates) = (Vec::<[Value; 5]>::new(), Vec::new());
        for change in view.conversations.changes() {
            match change {
                Change::Insert(id, (place, last)) => {
                    let (low, high) = match place {
                        Place::Direct(pair) => (Some(pair.low()), Some(pair.high())),
                        Place::Group(_) => (None, None),
                    };
                    inserts.push([
                        sql(id.0).into(),
                        low.map(|user| sql(user.0)).into(),
                        high.map(|user| sql(user.0)).into(),
                        sql(last.0).into(),
                        now.into(),
                    ]);
                }
                Change::Update(id, (_, last)) => updates.push((sql(id.0), sql(last.0))),
                Change::Delete(id) => return Err(never("conversation", id)),
            }
        }
        self.insert(
            "conversation (id, low_id, high_id, last_seq, updated_at)",
            inserts,
        )
        .await?;
        Ok(updates)
    }

    /// Makes the statement that writes the new ends of some logs.
    fn raise_heads(&self, now: i64, heads: &[(i64, i64)]) -> Sql {
        let rows: Vec<[Value; 3]> = heads
            .iter()
            .map(|(id, last)| [(*id).into(), (*last).into(), now.into()])
            .collect();
        let update = Update {
            table: "conversation",
            on: "conversation.id = raised.id",
            set: "last_seq = raised.last, updated_at = raised.at",
            first: "SELECT ? AS id, ? AS last, ? AS at",
            next: " UNION ALL SELECT ?, ?, ?",
        };
        Sql::update(self.dialect, update, &rows)
    }

    async fn groups(&self, view: &View) -> Result<(), DbErr> {
        let mut inserts = Vec::new();
        for change in view.groups.changes() {
            match change {
                Change::Insert(id, row) => inserts.push(group_values(*id, row)),
                Change::Update(id, row) => {
                    self.sql(
                        "UPDATE `group` SET name = ?, description = ?, join_policy = ?, \
                         owner_id = ?, disbanded = ? WHERE id = ?",
                    )
                    .bind(row.name.as_str())
                    .bind(&*row.description)
                    .bind(row.join.as_str())
                    .bind(sql(row.owner.0))
                    .bind(row.disbanded)
                    .bind(sql(id.0))
                    .run(self.transaction)
                    .await?;
                }
                Change::Delete(id) => return Err(never("group", id)),
            }
        }
        self.insert(
            "`group` (id, name, description, join_policy, owner_id, disbanded, \
             creator_id, group_key, digest)",
            inserts,
        )
        .await
    }

    /// Writes members. An update leaves the cursors alone, but for what lies before the joining.
    async fn members(&self, view: &View) -> Result<(), DbErr> {
        let (mut inserts, mut deletes) = (Vec::<[Value; 6]>::new(), Vec::new());
        for change in view.members.changes() {
            match change {
                Change::Insert((conversation, user), row) => inserts.push([
                    sql(conversation.0).into(),
                    sql(user.0).into(),
                    row.role.as_str().into(),
                    sql(row.joined.0).into(),
                    sql(row.delivered.0).into(),
                    sql(row.read.0).into(),
                ]),
                Change::Update((conversation, user), row) => {
                    let start = sql(row.joined.previous().0);
                    self.sql("UPDATE member SET role = ?, joined_seq = ?, ")
                        .then(self.dialect.raise_cursors())
                        .then(" WHERE conversation_id = ? AND user_id = ?")
                        .bind(row.role.as_str())
                        .bind(sql(row.joined.0))
                        .bind(start)
                        .bind(start)
                        .bind(sql(conversation.0))
                        .bind(sql(user.0))
                        .run(self.transaction)
                        .await?;
                }
                Change::Delete((conversation, user)) => deletes.push((conversation.0, user.0)),
            }
        }
        self.delete(
            "DELETE FROM member WHERE (conversation_id, user_id) IN ",
            &deletes,
        )
        .await?;
        self.insert(
            "member \
             (conversation_id, user_id, role, joined_seq, delivered_seq, read_seq)",
            inserts,
        )
        .await
    }

    /// Writes messages and the new ends of their logs.
    async fn messages(&self, view: &View, heads: Vec<(i64, i64)>) -> Result<(), DbErr> {
        let mut inserts: Vec<[Value; MESSAGE_COLUMNS]> = Vec::new();
        let mut plain: Vec<[Value; PLAIN_VALUES]> = Vec::new();
        for change in view.messages.changes() {
            match change {
                Change::Insert((conversation, seq), row) => {
                    match plain_values(*conversation, *seq, row) {
                        Some(values) => plain.push(values),
                        None => inserts.push(message_values(*conversation, *seq, row)),
                    }
                }
                Change::Update(key, row) => self.update_message(*key, row).await?,
                Change::Delete(key) => return Err(never("message", key)),
            }
        }
        let into = concat!("message (", message_columns!(), ")");
        self.insert(into, inserts).await?;
        let (now, into) = (sql(view.now.0), concat!("message (", plain_columns!(), ")"));
        let few = 1..=TOGETHER;
        if self.dialect == Dialect::Sqlite
            && few.contains(&heads.len())
            && few.contains(&plain.len())
        {
            let inserted = Sql::insert_into(self.dialect, into, PLAIN_ROW, plain.into_iter());
            let both = self.raise_heads(now, &heads).and(inserted);
            both.run(self.transaction).await?;
            return Ok(());
        }
        for chunk in heads.chunks(CHUNK) {
            self.raise_heads(now, chunk).run(self.transaction).await?;
        }
        insert(self.transaction, self.dialect, into, PLAIN_ROW, plain).await
    }

    /// Writes what may change of a message: its text, and what became of it.
    async fn update_message(
        &self,
        (conversation, seq): (ConversationId, Seq),
        row: &parlor_core::store::MessageRow,
    ) -> Result<(), DbErr> {
        let [
            ..,
            body,
            meta,
            _,
            _,
            _,
            _,
            _,
            _,
            edited,
            recalled,
            change_seq,
            change_at,
            _,
        ] = message_values(conversation, seq, row);
        self.sql(
            "UPDATE message SET body = ?, meta = ?, edited = ?, recalled = ?, change_seq = ?, \
             change_at = ? WHERE conversation_id = ? AND seq = ?",
        )
        .bind(body)
        .bind(meta)
        .bind(edited)
        .bind(recalled)
        .bind(change_seq)
        .bind(change_at)
        .bind(sql(conversation.0))
        .bind(sql(seq.0))
        .run(self.transaction)
        .await?;
        Ok(())
    }

    /// Erases every text of a user: the entries that have a key are the texts.
    async fn blank(&self, user: UserId) -> Result<(), DbErr> {
        self.sql(
            "UPDATE message SET body = '', meta = NULL, recalled = ? \
             WHERE sender_id = ? AND message_key IS NOT NULL",
        )
        .bind(true)
        .bind(sql(user.0))
        .run(self.transaction)
        .await?;
        Ok(())
    }

    async fn sessions(&self, view: &View) -> Result<(), DbErr> {
        let (mut inserts, mut deletes) = (Vec::new(), Vec::new());
        for change in view.sessions.changes() {
            match change {
                Change::Insert(id, row) => inserts.push(session_values(*id, row)),
                Change::Update(id, row) => {
                    self.sql("UPDATE session SET expires_at = ? WHERE id = ?")
                        .bind(sql(row.expires.0))
                        .bind(sql(id.0))
                        .run(self.transaction)
                        .await?;
                }
                Change::Delete(id) => deletes.push(sql(id.0)),
            }
        }
        for chunk in deletes.chunks(CHUNK) {
            self.sql("DELETE FROM session WHERE id IN ")
                .list(chunk)
                .run(self.transaction)
                .await?;
        }
        self.insert(
            "session (id, user_id, device, created_at, expires_at)",
            inserts,
        )
        .await
    }

    async fn friendships(&self, view: &View) -> Result<(), DbErr> {
        let (mut inserts, mut deletes) = (Vec::<[Value; 3]>::new(), Vec::new());
        for change in view.friendships.changes() {
            match change {
                Change::Insert((of, to), state) => {
                    inserts.push([sql(of.0).into(), sql(to.0).into(), state.as_str().into()]);
                }
                Change::Update((of, to), state) => {
                    self.sql("UPDATE friendship SET state = ? WHERE user_id = ? AND other_id = ?")
                        .bind(state.as_str())
                        .bind(sql(of.0))
                        .bind(sql(to.0))
                        .run(self.transaction)
                        .await?;
                }
                Change::Delete((of, to)) => deletes.push((of.0, to.0)),
            }
        }
        self.delete(
            "DELETE FROM friendship WHERE (user_id, other_id) IN ",
            &deletes,
        )
        .await?;
        self.insert("friendship (user_id, other_id, state)", inserts)
            .await
    }

    async fn invitations(&self, view: &View) -> Result<(), DbErr> {
        let (mut inserts, mut deletes) = (Vec::<[Value; 3]>::new(), Vec::new());
        for change in view.invitations.changes() {
            match change {
                Change::Insert((group, user), row) => inserts.push([
                    sql(group.0).into(),
                    sql(user.0).into(),
                    sql(row.by.0).into(),
                ]),
                Change::Update((group, user), row) => {
                    self.sql("UPDATE invitation SET by_id = ? WHERE group_id = ? AND user_id = ?")
                        .bind(sql(row.by.0))
                        .bind(sql(group.0))
                        .bind(sql(user.0))
                        .run(self.transaction)
                        .await?;
                }
                Change::Delete((group, user)) => deletes.push((group.0, user.0)),
            }
        }
        self.delete(
            "DELETE FROM invitation WHERE (group_id, user_id) IN ",
            &deletes,
        )
        .await?;
        self.insert("invitation (group_id, user_id, by_id)", inserts)
            .await
    }

    async fn join_requests(&self, view: &View) -> Result<(), DbErr> {
        let (mut inserts, mut deletes) = (Vec::<[Value; 2]>::new(), Vec::new());
        for change in view.join_requests.changes() {
            match change {
                Change::Insert((group, user), ()) => {
                    inserts.push([sql(group.0).into(), sql(user.0).into()]);
                }
                // The row is all key: there is nothing to update.
                Change::Update(..) => {}
                Change::Delete((group, user)) => deletes.push((group.0, user.0)),
            }
        }
        self.delete(
            "DELETE FROM join_request WHERE (group_id, user_id) IN ",
            &deletes,
        )
        .await?;
        self.insert("join_request (group_id, user_id)", inserts)
            .await
    }
}

fn user_values(id: UserId, row: &UserRow, now: Timestamp) -> [Value; 8] {
    let name = row.name.as_ref();
    [
        sql(id.0).into(),
        name.map(|name| name.as_str().to_owned()).into(),
        name.map(|name| name.key().as_str().as_bytes().to_vec())
            .into(),
        row.hash.expose().into(),
        row.identity
            .map(|identity| identity.as_bytes().to_vec())
            .into(),
        sql(row.version).into(),
        row.locked.into(),
        sql(now.0).into(),
    ]
}

fn group_values(id: GroupId, row: &GroupRow) -> [Value; 9] {
    let key = row.key.as_ref().map(Key::as_str);
    [
        sql(id.0).into(),
        row.name.as_str().into(),
        (&*row.description).into(),
        row.join.as_str().into(),
        sql(row.owner.0).into(),
        row.disbanded.into(),
        sql(row.creator.0).into(),
        key.map(|key| key.as_bytes().to_vec()).into(),
        row.digest.0.to_vec().into(),
    ]
}

fn session_values(id: SessionId, row: &SessionRow) -> [Value; 5] {
    [
        sql(id.0).into(),
        sql(row.user.0).into(),
        row.device.as_deref().map(str::to_owned).into(),
        sql(row.created.0).into(),
        sql(row.expires.0).into(),
    ]
}

/// Says that the rules asked for what they never do.
fn never(table: &str, key: &impl std::fmt::Debug) -> DbErr {
    DbErr::Custom(format!("a row of {table} is to be deleted: {key:?}"))
}
