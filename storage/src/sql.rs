//! Statements as text, for the paths on which a query builder costs more than it helps.
//!
//! Lists are padded to powers of two by repeating their last element, so that the connections'
//! caches of prepared statements hold few shapes.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};

use crate::dialect::Dialect;

/// The most elements of one list; longer ones are split.
pub(crate) const CHUNK: usize = 256;

/// A statement in the making. Its text is made of constants alone; all else is bound.
#[derive(Debug)]
pub(crate) struct Sql {
    dialect: Dialect,
    text: String,
    values: Vec<Value>,
}

/// The texts of [`Sql::update`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    /// Which table.
    pub(crate) table: &'static str,
    /// Which of its rows a given row changes.
    pub(crate) on: &'static str,
    /// What becomes of it.
    pub(crate) set: &'static str,
    /// `SELECT ? AS` each column.
    pub(crate) first: &'static str,
    /// ` UNION ALL SELECT` as many `?`.
    pub(crate) next: &'static str,
}

impl Sql {
    /// Begins a statement.
    pub(crate) fn new(dialect: Dialect, text: &'static str) -> Self {
        Self {
            dialect,
            text: text.to_owned(),
            values: Vec::new(),
        }
    }

    /// Adds text.
    pub(crate) fn then(mut self, text: &'static str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds the value of one `?` of the text.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds a list of numbers, at most [`CHUNK`], in parentheses.
    pub(crate) fn list(mut self, numbers: &[i64]) -> Self {
        self.text.push('(');
        for (index, number) in padded(numbers).enumerate() {
            self.text.push_str(if index == 0 { "?" } else { ",?" });
            self.values.push((*number).into());
        }
        self.text.push(')');
        self
    }

    /// Adds a list of tuples, at most [`CHUNK`], in parentheses, to compare a tuple with.
    pub(crate) fn tuples<const N: usize>(mut self, tuples: &[[Value; N]]) -> Self {
        self.text.push_str(self.dialect.tuples());
        for (index, tuple) in padded(tuples).enumerate() {
            self.row(index == 0, tuple.clone());
        }
        self.text.push(')');
        self
    }

    /// Makes a statement that changes many rows of a table, each by a row of its own of at most
    /// [`CHUNK`] given ones, whose columns are named `raised.` and as `first` says; `next` is the
    /// text for each row but the first.
    pub(crate) fn update<const N: usize>(
        dialect: Dialect,
        Update {
            table,
            on,
            set,
            first,
            next,
        }: Update,
        rows: &[[Value; N]],
    ) -> Self {
        match dialect {
            Dialect::Sqlite => Self::new(dialect, "UPDATE ")
                .then(table)
                .then(" SET ")
                .then(set)
                .then(" FROM (")
                .table(first, next, rows)
                .then(") raised WHERE ")
                .then(on),
            // The given rows first: the others are locked in their order.
            Dialect::MySql => Self::new(dialect, "UPDATE (")
                .table(first, next, rows)
                .then(") raised STRAIGHT_JOIN ")
                .then(table)
                .then(" ON ")
                .then(on)
                .then(" SET ")
                .then(set),
        }
    }

    /// Adds rows as a table: `first` and `next` are the text for one row each.
    fn table<const N: usize>(
        mut self,
        first: &'static str,
        next: &'static str,
        rows: &[[Value; N]],
    ) -> Self {
        for (index, row) in padded(rows).enumerate() {
            self.text.push_str(if index == 0 { first } else { next });
            self.values.extend(row.iter().cloned());
        }
        self
    }

    /// Adds rows to insert, not padded.
    fn rows<const N: usize>(mut self, rows: impl Iterator<Item = [Value; N]>) -> Self {
        for (index, row) in rows.enumerate() {
            self.row(index == 0, row);
        }
        self
    }

    fn row<const N: usize>(&mut self, first: bool, row: [Value; N]) {
        self.text.push_str(if first { "(" } else { ",(" });
        for (column, value) in row.into_iter().enumerate() {
            self.text.push_str(if column == 0 { "?" } else { ",?" });
            self.values.push(value);
        }
        self.text.push(')');
    }

    fn statement(self) -> Statement {
        Statement::from_sql_and_values(self.dialect.backend(), self.text, self.values)
    }

    /// Reads all rows.
    pub(crate) async fn all<C: ConnectionTrait>(
        self,
        connection: &C,
    ) -> Result<Vec<QueryResult>, DbErr> {
        connection.query_all_raw(self.statement()).await
    }

    /// Reads the first row.
    pub(crate) async fn one<C: ConnectionTrait>(
        self,
        connection: &C,
    ) -> Result<Option<QueryResult>, DbErr> {
        connection.query_one_raw(self.statement()).await
    }

    /// Executes the statement; returns how many rows it changed.
    pub(crate) async fn run<C: ConnectionTrait>(self, connection: &C) -> Result<u64, DbErr> {
        let done = connection.execute_raw(self.statement()).await?;
        Ok(done.rows_affected())
    }
}

/// Inserts rows with few statements, each of a power of two of rows and, but for a single one, of no
/// more bytes than the engine takes well. `into` ends with `VALUES `.
pub(crate) async fn insert<const N: usize, C: ConnectionTrait>(
    connection: &C,
    dialect: Dialect,
    into: &'static str,
    mut rows: Vec<[Value; N]>,
) -> Result<(), DbErr> {
    while !rows.is_empty() {
        let fit = fitting(&rows, dialect.statement_bytes());
        // The largest power of two that is not above what is left.
        let size = 1 << fit.min(CHUNK).ilog2();
        let now = rows.drain(..size);
        Sql::new(dialect, into).rows(now).run(connection).await?;
    }
    Ok(())
}

/// Returns how many rows, one at least, hold so many bytes.
fn fitting<const N: usize>(rows: &[[Value; N]], bytes: usize) -> usize {
    let mut left = bytes;
    let fit = rows.iter().take_while(|row| {
        let weight: usize = row.iter().map(weight).sum();
        let fits = weight <= left;
        left = left.saturating_sub(weight);
        fits
    });
    fit.count().max(1)
}

/// About how many bytes a value takes in a statement.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(Some(text)) => 3 + text.len(),
        Value::Bytes(Some(bytes)) => 3 + bytes.len(),
        _ => 8,
    }
}

/// Repeats the last element up to a power of two.
fn padded<T>(elements: &[T]) -> impl Iterator<Item = &T> {
    let missing = elements.len().next_power_of_two() - elements.len();
    let last = elements.last().into_iter();
    elements.iter().chain(last.cycle().take(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_padded_to_powers_of_two() {
        let sql = Sql::new(Dialect::Sqlite, "a IN ").list(&[7, 8, 9]);
        assert_eq!(sql.text, "a IN (?,?,?,?)");
        assert_eq!(sql.values, [7_i64, 8, 9, 9].map(Value::from));
    }

    #[test]
    fn tuples_are_spelled_as_the_engine_wants_them() {
        let tuples = [[1_i64, 2], [3, 4]].map(|tuple| tuple.map(Value::from));
        let text = |dialect| Sql::new(dialect, "(a, b) IN ").tuples(&tuples).text;
        assert_eq!(text(Dialect::Sqlite), "(a, b) IN (VALUES (?,?),(?,?))");
        assert_eq!(text(Dialect::MySql), "(a, b) IN ((?,?),(?,?))");
    }

    #[test]
    fn rows_fill_a_statement_up_to_its_bytes() {
        let rows = [10, 20, 500].map(|length| [Value::from("x".repeat(length)), 1_i64.into()]);
        assert_eq!(fitting(&rows, 1000), 3);
        assert_eq!(fitting(&rows, 60), 2);
        assert_eq!(fitting(&rows, 1), 1, "one at least");
    }

    #[test]
    fn an_empty_list_is_empty() {
        let sql = Sql::new(Dialect::Sqlite, "a IN ").list(&[]);
        assert_eq!(sql.text, "a IN ()");
    }
}
