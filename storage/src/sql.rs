//! Statements as text, for the paths on which a query builder costs more than it helps.
//!
//! Lists are padded to a few lengths, so that the connections' caches of prepared statements hold few
//! shapes.
//!
//! What fails fails with its whole transaction, so SQLite is told so (`OR FAIL`), and need not keep a
//! copy of each page to undo a statement by itself.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, TryGetableMany, Value};
use serde::de::DeserializeOwned;

use crate::dialect::Dialect;

/// The most elements of one list; longer ones are split.
pub(crate) const CHUNK: usize = 256;

/// How many bytes of values a statement for MySQL should have at most. Above 16 KiB, sqlx's
/// connections with TLS, which lack `TCP_NODELAY`, write more than one record, and the second waits
/// some 40 ms for the acknowledgement of the first.
const STATEMENT_BYTES: usize = 15_000;

/// A statement in the making. Its text is made of constants alone; all else is bound.
#[derive(Debug)]
pub(crate) struct Sql {
    dialect: Dialect,
    text: String,
    values: Vec<Value>,
}

/// What [`Sql::lookup`] looks up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<const N: usize> {
    /// Which columns.
    pub(crate) columns: &'static str,
    /// Of which table.
    pub(crate) table: &'static str,
    /// By which of its columns, the first of a key.
    pub(crate) by: [&'static str; N],
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

    /// Adds how many rows are wanted at most.
    pub(crate) fn limit(self, rows: i64) -> Self {
        let text = match self.dialect {
            // A bare `?` would have SQLite prepare the statement again for each number
            // (`sqlite3_bind_*` and `sqlite3_clear_bindings` expire it).
            Dialect::Sqlite => " LIMIT ? + 0",
            Dialect::MySql => " LIMIT ?",
        };
        self.then(text).bind(rows)
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
        self.text.push_str(match self.dialect {
            Dialect::Sqlite => "(VALUES ",
            Dialect::MySql => "(",
        });
        self.rows_of(&places(N), padded(tuples).cloned());
        self.text.push(')');
        self
    }

    /// Begins a query for rows that are named by tuples, at most [`CHUNK`].
    pub(crate) fn lookup<const N: usize>(
        dialect: Dialect,
        Lookup { columns, table, by }: Lookup<N>,
        tuples: impl ExactSizeIterator<Item = [Value; N]>,
    ) -> Self {
        let begun = Self::new(dialect, "SELECT ").then(columns).then(" FROM ");
        match dialect {
            // Tuple by tuple: after `IN`, SQLite would first make a table of them.
            Dialect::Sqlite => {
                let begun = begun.given(&places(N), tuples);
                let mut sql = begun.then(" CROSS JOIN ").then(table);
                for (index, column) in by.into_iter().enumerate() {
                    sql.text.push_str(if index == 0 { " ON " } else { " AND " });
                    sql.text.push_str(column);
                    sql.text.push_str(&format!(" = column{}", index + 1));
                }
                sql
            }
            Dialect::MySql => {
                let mut sql = begun.then(table).then(" WHERE (");
                sql.text.push_str(&by.join(", "));
                let tuples: Vec<[Value; N]> = tuples.collect();
                sql.then(") IN ").tuples(&tuples)
            }
        }
    }

    /// Adds rows, at most [`CHUNK`], as one of SQLite's tables whose columns are called `column1` and
    /// so on, each with this text; more rows follow whose values are null, which is what SQLite takes
    /// for values that are not bound, so nothing can be bound after these.
    fn given<const N: usize>(
        mut self,
        text: &str,
        rows: impl ExactSizeIterator<Item = [Value; N]>,
    ) -> Self {
        let missing = missing(rows.len());
        self.text.push_str("(VALUES ");
        self.rows_of(text, rows);
        for _ in 0..missing {
            self.text.push(',');
            self.text.push_str(text);
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
            Dialect::Sqlite => Self::new(dialect, "UPDATE OR FAIL ")
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

    /// Makes a statement that inserts rows, at most [`CHUNK`], and on MySQL a power of two of them.
    pub(crate) fn insert_into<const N: usize>(
        dialect: Dialect,
        into: &'static str,
        text: &str,
        rows: impl ExactSizeIterator<Item = [Value; N]>,
    ) -> Self {
        let verb = match dialect {
            Dialect::Sqlite => "INSERT OR FAIL INTO ",
            Dialect::MySql => "INSERT INTO ",
        };
        let mut begun = Self::new(dialect, verb).then(into);
        if dialect == Dialect::Sqlite && missing(rows.len()) > 0 {
            let begun = begun.then(" SELECT * FROM ");
            return begun.given(text, rows).then(" WHERE column1 IS NOT NULL");
        }
        begun.text.push_str(" VALUES ");
        begun.rows_of(text, rows);
        begun
    }

    /// Has another statement executed after this one, with it: SQLite alone takes several.
    pub(crate) fn and(mut self, next: Self) -> Self {
        self.text.push_str("; ");
        self.text.push_str(&next.text);
        self.values.extend(next.values);
        self
    }

    /// Adds rows, each with this text, between commas.
    fn rows_of<const N: usize>(&mut self, text: &str, rows: impl Iterator<Item = [Value; N]>) {
        let (count, _) = rows.size_hint();
        self.text.reserve(count * (text.len() + 1));
        self.values.reserve(count * N);
        for (index, row) in rows.enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.text.push_str(text);
            self.values.extend(row);
        }
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

    /// Reads all rows of a few columns, numbers and texts.
    ///
    /// SQLite's thread hands them over as one, which holds them as JSON: each row by itself would
    /// cost a copy of every column, and mostly to wake who waits.
    pub(crate) async fn rows<R: Row, C: ConnectionTrait>(
        mut self,
        connection: &C,
    ) -> Result<Vec<R>, DbErr> {
        match self.dialect {
            Dialect::Sqlite => {
                self.text = in_json(R::NAMES, &self.text);
                let Some(row) = self.one(connection).await? else {
                    return Ok(Vec::new());
                };
                let text: String = row.try_get_by_index(0)?;
                serde_json::from_str(&text).map_err(|error| DbErr::Json(error.to_string()))
            }
            Dialect::MySql => {
                let found = self.all(connection).await?;
                let rows = found.iter().map(R::try_get_many_by_index);
                Ok(rows.collect::<Result<_, _>>()?)
            }
        }
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

/// A row of few columns, as a tuple.
pub(crate) trait Row: DeserializeOwned + TryGetableMany {
    /// Names for the columns, of which only their number matters.
    const NAMES: &str;
}

macro_rules! row {
    ($names:literal $($column:ident)*) => {
        impl<$($column),*> Row for ($($column,)*)
        where
            Self: DeserializeOwned + TryGetableMany,
        {
            const NAMES: &str = $names;
        }
    };
}

row!("a,b" A B);
row!("a,b,c" A B C);
row!("a,b,c,d" A B C D);
row!("a,b,c,d,e" A B C D E);
row!("a,b,c,d,e,f" A B C D E F);
row!("a,b,c,d,e,f,g" A B C D E F G);
row!("a,b,c,d,e,f,g,h,i" A B C D E F G H I);
row!("a,b,c,d,e,f,g,h,i,j,k,l" A B C D E F G H I J K L);

/// Reads rows of few columns by numbers: `text` ends with `IN `, `end` follows the list.
pub(crate) async fn rows_by_ids<R: Row, C: ConnectionTrait>(
    connection: &C,
    dialect: Dialect,
    text: &'static str,
    ids: &[i64],
    end: &'static str,
) -> Result<Vec<R>, DbErr> {
    let mut rows = Vec::new();
    for chunk in ids.chunks(CHUNK) {
        let sql = Sql::new(dialect, text).list(chunk).then(end);
        rows.extend(sql.rows(connection).await?);
    }
    Ok(rows)
}

/// Looks rows of few columns up.
pub(crate) async fn look_up<const N: usize, R: Row, C: ConnectionTrait>(
    connection: &C,
    dialect: Dialect,
    what: Lookup<N>,
    tuples: Vec<[Value; N]>,
) -> Result<Vec<R>, DbErr> {
    let mut rows = Vec::new();
    let mut tuples = tuples.into_iter();
    while tuples.len() > 0 {
        let sql = Sql::lookup(dialect, what, tuples.by_ref().take(CHUNK));
        rows.extend(sql.rows(connection).await?);
    }
    Ok(rows)
}

/// Turns a query into one whose only row holds all of its rows, in their order, as JSON.
fn in_json(names: &str, query: &str) -> String {
    format!(
        "WITH found({names}) AS ({query}) SELECT json_group_array(json_array({names})) FROM found"
    )
}

/// Inserts rows, of whose columns the first is never null, with few statements: on MySQL each of a
/// power of two of rows and, but for a single one, of no more bytes than it takes well. `into` names
/// the table and the columns; `text` is a row, with a `?` for each value.
pub(crate) async fn insert<const N: usize, C: ConnectionTrait>(
    connection: &C,
    dialect: Dialect,
    into: &'static str,
    text: &str,
    rows: Vec<[Value; N]>,
) -> Result<(), DbErr> {
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let size = match dialect {
            Dialect::Sqlite => CHUNK,
            // The largest power of two that is not above what is left.
            Dialect::MySql => {
                let fit = fitting(rows.as_slice(), STATEMENT_BYTES).min(CHUNK);
                1 << fit.ilog2()
            }
        };
        let rows = rows.by_ref().take(size);
        let sql = Sql::insert_into(dialect, into, text, rows);
        sql.run(connection).await?;
    }
    Ok(())
}

/// Returns the text of a row with a `?` for each of so many values.
pub(crate) fn places(values: usize) -> String {
    format!("({})", vec!["?"; values].join(","))
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

/// Repeats the last element up to one of the lengths that lists have.
fn padded<T>(elements: &[T]) -> impl Iterator<Item = &T> {
    let last = elements.last().into_iter();
    elements
        .iter()
        .chain(last.cycle().take(missing(elements.len())))
}

/// Returns how many elements a list lacks to the next power of two, or three quarters of one.
const fn missing(length: usize) -> usize {
    let power = length.next_power_of_two();
    let between = power / 4 * 3;
    if length <= between {
        between - length
    } else {
        power - length
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use sea_orm::Database;

    use super::*;

    #[test]
    fn lists_are_padded_to_few_lengths() {
        let lengths: Vec<usize> = (0..=33).map(|length| length + missing(length)).collect();
        let mut shapes = lengths.clone();
        shapes.dedup();
        assert_eq!(shapes, [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]);
        assert!(lengths.iter().enumerate().all(|(length, to)| *to >= length));
    }

    #[test]
    fn lists_are_padded_by_their_last_element() {
        let sql = Sql::new(Dialect::Sqlite, "a IN ").list(&[7, 8, 9, 5, 1]);
        assert_eq!(sql.text, "a IN (?,?,?,?,?,?)");
        assert_eq!(sql.values, [7_i64, 8, 9, 5, 1, 1].map(Value::from));
    }

    #[test]
    fn any_text_comes_back_from_a_row_in_json() {
        let all: String = ('\0'..='\u{3ff}')
            .chain("\u{2028}\u{d7ff}\u{e000}\u{fffd}🍵".chars())
            .collect();
        let texts = ["", "null", "\"]", "\\u0041", &all];
        let found: Vec<(String, Option<String>, i64)> = block_on(async {
            let database = Database::connect("sqlite::memory:").await.unwrap();
            let tuples =
                texts.map(|text| [Value::from(text), Value::String(None), i64::MAX.into()]);
            let sql =
                Sql::new(Dialect::Sqlite, "SELECT * FROM ").given("(?,?,?)", tuples.into_iter());
            let sql = sql.then(" WHERE column1 IS NOT NULL");
            sql.rows(&database).await.unwrap()
        });
        assert_eq!(found, texts.map(|text| (text.to_owned(), None, i64::MAX)));
    }

    #[test]
    fn no_rows_are_an_empty_list() {
        let found: Vec<(i64, i64)> = block_on(async {
            let database = Database::connect("sqlite::memory:").await.unwrap();
            let sql = Sql::new(Dialect::Sqlite, "SELECT 1, 2 WHERE FALSE");
            sql.rows(&database).await.unwrap()
        });
        assert_eq!(found, []);
    }

    #[test]
    fn rows_are_looked_up_as_the_engine_does_it_best() {
        let users = Lookup {
            columns: "id",
            table: "user",
            by: ["a", "b"],
        };
        let tuples = || {
            [[1_i64, 2], [3, 4]]
                .map(|tuple| tuple.map(Value::from))
                .into_iter()
        };
        let text = |dialect| Sql::lookup(dialect, users, tuples()).text;
        assert_eq!(
            text(Dialect::Sqlite),
            "SELECT id FROM (VALUES (?,?),(?,?)) CROSS JOIN user ON a = column1 AND b = column2"
        );
        assert_eq!(
            text(Dialect::MySql),
            "SELECT id FROM user WHERE (a, b) IN ((?,?),(?,?))"
        );
    }

    #[test]
    fn sqlite_need_not_prepare_a_limit_anew_for_each_number() {
        let text = |dialect| Sql::new(dialect, "SELECT 1").limit(7).text;
        assert_eq!(text(Dialect::Sqlite), "SELECT 1 LIMIT ? + 0");
        assert_eq!(text(Dialect::MySql), "SELECT 1 LIMIT ?");
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
