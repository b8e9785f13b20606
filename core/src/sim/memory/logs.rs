//! The entries of the conversations.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::id::{ConversationId, Seq};
use crate::store::MessageRow;

/// The entries of every conversation: each log is a list, since its numbers have no gaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs {
    rows: BTreeMap<ConversationId, Vec<MessageRow>>,
}

impl Logs {
    /// Returns an entry.
    pub(super) fn get(&self, conversation: ConversationId, seq: Seq) -> Option<&MessageRow> {
        self.rows.get(&conversation)?.get(index(seq)?)
    }

    /// Returns the place of an entry that is to be replaced.
    pub(super) fn get_mut(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Option<&mut MessageRow> {
        self.rows.get_mut(&conversation)?.get_mut(index(seq)?)
    }

    /// Adds an entry to the end of a log; false where its number is not the next one.
    pub(super) fn append(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        row: MessageRow,
    ) -> bool {
        let log = self.rows.entry(conversation).or_default();
        let is_next = index(seq) == Some(log.len());
        if is_next {
            log.push(row);
        }
        is_next
    }

    /// Returns the entries with some numbers, ascending.
    pub(super) fn range(
        &self,
        conversation: ConversationId,
        numbers: RangeInclusive<Seq>,
    ) -> impl DoubleEndedIterator<Item = (Seq, &MessageRow)> {
        let log = self.rows.get(&conversation).map_or(&[][..], Vec::as_slice);
        let first = index(*numbers.start()).unwrap_or_default();
        let end = usize::try_from(numbers.end().0).unwrap_or(usize::MAX);
        let found = log.get(first..end.min(log.len())).unwrap_or_default();
        let number = |index: usize| Seq(u64::try_from(index).unwrap_or(u64::MAX)).next();
        found
            .iter()
            .enumerate()
            .map(move |(at, row)| (number(first + at), row))
    }

    /// Returns every entry of every log.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut MessageRow> {
        self.rows.values_mut().flatten()
    }

    /// Counts the entries of all logs.
    pub(super) fn len(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }
}

/// Where in its list an entry stands; nowhere, if it has the number 0.
fn index(seq: Seq) -> Option<usize> {
    usize::try_from(seq.0).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::Logs;
    use crate::id::{ConversationId, Seq, UserId};
    use crate::store::{Kind, MessageRow};
    use crate::time::Timestamp;

    const LOG: ConversationId = ConversationId(7);

    /// The entry by which a user of that number joins.
    fn row(user: u64) -> MessageRow {
        let user = UserId(user);
        MessageRow {
            from: user,
            at: Timestamp(1),
            kind: Kind::Joined { user },
            change: None,
        }
    }

    fn three() -> Logs {
        let mut logs = Logs::default();
        for seq in 1..=3 {
            assert!(logs.append(LOG, Seq(seq), row(seq)));
        }
        logs
    }

    #[test]
    fn only_the_next_number_is_appended() {
        let mut logs = three();
        for seq in [0, 1, 3, 5, u64::MAX] {
            assert!(!logs.append(LOG, Seq(seq), row(9)), "{seq}");
        }
        assert!(logs.append(ConversationId(8), Seq(1), row(9)));
        assert_eq!(logs.len(), 4);
        assert_eq!(logs.get(LOG, Seq(3)), Some(&row(3)));
        assert_eq!(logs.get(LOG, Seq(4)), None);
        assert_eq!(logs.get(LOG, Seq(0)), None);
        assert_eq!(logs.get(ConversationId(9), Seq(1)), None);
    }

    #[test]
    fn ranges_end_where_the_log_does() {
        let logs = three();
        let found = |log, low, high| -> Vec<(u64, u64)> {
            let rows = logs.range(log, Seq(low)..=Seq(high));
            rows.map(|(seq, row)| (seq.0, row.from.0)).collect()
        };
        assert_eq!(found(LOG, 2, u64::MAX), [(2, 2), (3, 3)]);
        assert_eq!(found(LOG, 0, 1), [(1, 1)]);
        assert_eq!(found(LOG, 2, 2), [(2, 2)]);
        assert_eq!(found(LOG, 4, u64::MAX), []);
        assert_eq!(found(LOG, 1, 0), []);
        assert_eq!(found(ConversationId(8), 1, 3), []);
    }
}
