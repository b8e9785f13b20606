//! Entries of logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use parlor_core::id::{ConversationId, Place, Seq, UserId};
use parlor_core::log::Entry;
use parlor_core::protocol::ErrorCode;
use parlor_core::protocol::request::Anchor;
use parlor_core::rules::read as rights;
use parlor_core::store::{Kind, MessageRow, Page, ReadDone};
use sea_orm::{DbErr, Value};

use crate::context::Context;
use crate::convert::{MESSAGES, conversation, message, short, short_columns, sql, unsql};
use crate::reads::{ReadError, lists};
use crate::sql::{CHUNK, Sql};

/// How many rows are read first: the texts of a page's limit may exceed its bytes by far.
const ROWS: usize = 64;

/// Reads the first entries above a number.
pub(super) async fn fetch(
    context: &Context,
    id: ConversationId,
    after: Seq,
    limit: u32,
    bytes: u32,
) -> Result<ReadDone, ReadError> {
    let text = "SELECT id, low_id, high_id, last_seq FROM conversation WHERE id = ?";
    let head = Sql::new(context.dialect, text)
        .bind(sql(id.0))
        .rows(&context.reader)
        .await?
        .pop();
    let mut page = Page {
        conversation: id,
        after,
        entries: Vec::new(),
        last: Seq(0),
    };
    if let Some(head) = head {
        let (_, place, last) = conversation(head)?;
        page.last = last;
        let range = Range {
            conversation: id,
            place,
            low: after.next(),
            // Not above what was read as the end, though more may have been committed since.
            high: last,
            backward: false,
        };
        page.entries = range.read(context, limit, bytes).await?.0;
    }
    Ok(ReadDone::Page(page))
}

/// Reads part of a log, as far as the reader may see it.
pub(super) async fn history(
    context: &Context,
    reader: UserId,
    place: Place,
    anchor: Anchor,
    limit: u32,
    bytes: u32,
) -> Result<ReadDone, ReadError> {
    let (conversation, joined) = readable(context, reader, place).await?;
    let end = Seq(unsql(i64::MAX));
    let (low, high) = match anchor {
        Anchor::Newest => (joined, end),
        Anchor::After(seq) => (joined.max(seq.next()), end),
        Anchor::Before(Seq(0)) => (Seq(1), Seq(0)),
        Anchor::Before(seq) => (joined, seq.previous()),
    };
    let range = Range {
        conversation,
        place,
        low,
        high,
        backward: !matches!(anchor, Anchor::After(_)),
    };
    let (mut entries, more) = range.read(context, limit, bytes).await?;
    if range.backward {
        entries.reverse();
    }
    Ok(ReadDone::History { entries, more })
}

/// Returns the conversation of a place and the first entry that a reader may see.
async fn readable(
    context: &Context,
    reader: UserId,
    place: Place,
) -> Result<(ConversationId, Seq), ReadError> {
    match place {
        Place::Direct(pair) => {
            let found = lists::direct(context, pair).await?;
            let member = match found {
                Some(conversation) => lists::member(context, conversation, reader).await?,
                None => None,
            };
            let other = match pair.other(reader) {
                Some(other) => lists::account(context, other).await?,
                None => None,
            };
            let first = rights::direct_log(member.as_ref(), other.as_ref())?;
            let conversation = found.ok_or(ErrorCode::NotFriends)?;
            Ok((conversation, first))
        }
        Place::Group(group) => {
            let row = lists::group_row(context, group).await?;
            let member = lists::member(context, group.conversation(), reader).await?;
            let first = rights::group_log(row.as_ref(), member.as_ref())?;
            Ok((group.conversation(), first))
        }
    }
}

/// Part of a log, and from which end to read it.
struct Range {
    conversation: ConversationId,
    place: Place,
    low: Seq,
    high: Seq,
    backward: bool,
}

impl Range {
    /// Reads entries up to a limit in number and in bytes, but at least one, and whether more
    /// follow.
    async fn read(
        &self,
        context: &Context,
        limit: u32,
        bytes: u32,
    ) -> Result<(Vec<Arc<Entry>>, bool), DbErr> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut left = bytes;
        let (mut low, mut high) = (self.low, self.high);
        let mut page: Vec<Arc<Entry>> = Vec::new();
        let mut rows = ROWS;
        while low <= high {
            // One more than is wanted says whether more follow.
            let wanted = limit.saturating_sub(page.len()).saturating_add(1).min(rows);
            let entries = self.entries(context, low, high, wanted).await?;
            let exhausted = entries.len() < wanted;
            for entry in entries {
                if self.backward {
                    high = entry.seq.previous();
                } else {
                    low = entry.seq.next();
                }
                let weight = rights::text_bytes(&entry);
                if page.len() == limit || (weight > left && !page.is_empty()) {
                    return Ok((page, true));
                }
                left = left.saturating_sub(weight);
                page.push(Arc::new(entry));
            }
            if exhausted {
                break;
            }
            // As many as fill the page if they are like those before.
            let mean = (bytes - left) / page.len().max(1);
            rows = (left / mean.max(1)).clamp(ROWS, CHUNK);
        }
        Ok((page, false))
    }

    /// Reads entries from one end on. Most are plain texts, and of those no column is read that
    /// says nothing: with all of them a row takes twice as long.
    async fn entries(
        &self,
        context: &Context,
        low: Seq,
        high: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, DbErr> {
        let text = if self.backward {
            concat!(
                "SELECT ",
                short_columns!(),
                " FROM message WHERE conversation_id = ? AND seq BETWEEN ? AND ? \
                 ORDER BY seq DESC"
            )
        } else {
            concat!(
                "SELECT ",
                short_columns!(),
                " FROM message WHERE conversation_id = ? AND seq BETWEEN ? AND ? \
                 ORDER BY seq"
            )
        };
        let found = Sql::new(context.dialect, text)
            .bind(sql(self.conversation.0))
            .bind(sql(low.0))
            .bind(sql(high.0))
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .rows(&context.reader)
            .await?;
        let mut entries = Vec::with_capacity(found.len());
        let mut others = Vec::new();
        for row in found {
            let (seq, entry) = short(row, self.conversation, self.place)?;
            if entry.is_none() {
                others.push(seq);
            }
            entries.push((seq, entry));
        }
        let mut others = self.others(context, &others).await?;
        let whole = entries.into_iter().map(|(seq, entry)| {
            let entry = entry.or_else(|| others.remove(&seq));
            entry.ok_or_else(|| DbErr::RecordNotFound(format!("entry {seq:?} is gone")))
        });
        whole.collect()
    }

    /// Reads the entries that are more than a plain text.
    async fn others(&self, context: &Context, seqs: &[Seq]) -> Result<BTreeMap<Seq, Entry>, DbErr> {
        let rows = self.rows(context, seqs).await?;
        let edited = rows.values().filter_map(|row| match &row.kind {
            Kind::Edit { target } => Some(*target),
            _ => None,
        });
        let targets = self.rows(context, &edited.collect::<Vec<Seq>>()).await?;
        let entry = |(seq, row): (Seq, MessageRow)| {
            // What an edit shows is the present text.
            let target = match &row.kind {
                Kind::Edit { target } => targets.get(target).and_then(rights::present_text),
                _ => None,
            };
            let entry = rights::entry(self.conversation, self.place, seq, &row, target);
            (seq, entry)
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Reads entries by their numbers, of which there are no more than one list may hold.
    async fn rows(
        &self,
        context: &Context,
        seqs: &[Seq],
    ) -> Result<BTreeMap<Seq, MessageRow>, DbErr> {
        if seqs.is_empty() {
            return Ok(BTreeMap::new());
        }
        let tuple =
            |seq: &Seq| -> [Value; 2] { [sql(self.conversation.0).into(), sql(seq.0).into()] };
        let tuples = seqs.iter().map(tuple);
        let found = Sql::lookup(context.dialect, MESSAGES, tuples)
            .all(&context.reader)
            .await?;
        let row = |row| message(row).map(|((_, seq), row)| (seq, row));
        found.iter().map(row).collect()
    }
}
