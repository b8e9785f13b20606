use std::sync::Mutex;

use async_channel::unbounded;
use async_std::task::block_on;
use parlor_core::id::{Pair, Place, Seq, UserId};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::ErrorCode;
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::secret::Secret;

use super::*;
use crate::context::Doubt;
use crate::counters::Counters;
use crate::open;
use crate::options::Options;

// What the example executes beside the store.
#[path = "../../examples/append_rate/statements.rs"]
mod statements;

type Seen = Arc<Mutex<Vec<String>>>;

/// The bare transactions that the store is measured beside are worth something only while they are
/// what the store executes for friends who have written before.
#[test]
fn the_bare_transactions_have_the_statements_of_the_store() {
    let (folder, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    block_on(async {
        let mut writer = recorded(&url(&folder), &seen).await;
        let mut pairs = Vec::new();
        for names in [["a", "b"], ["c", "d"], ["e", "f"]] {
            pairs.push(friends(&mut writer, names).await);
        }
        seen.lock().unwrap().clear();
        for keys in [0..23, 23..34] {
            let sends = pairs.iter().cycle().zip(keys).map(send).collect();
            carry_out(&mut writer, sends).await;
        }
        writer.context.writer.clone().close().await.unwrap();
    });
    let (ends, few) = (statements::ENDS.text(3), statements::messages(11).text(11));
    let wanted = [
        statements::VERSION.to_owned(),
        ends.clone(),
        statements::messages(23).text(23),
        statements::VERSION.to_owned(),
        format!("{ends}; {few}"),
    ];
    assert_eq!(*seen.lock().unwrap(), wanted);
}

#[test]
fn what_another_process_wrote_counts() {
    let (folder, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    block_on(async {
        let mut one = recorded(&url(&folder), &seen).await;
        let mut other = recorded(&url(&folder), &Seen::default()).await;
        let pair = friends(&mut one, ["a", "b"]).await;
        let at = |seq| Ok(Seq(seq));
        assert_eq!(sent(&mut one, &pair, &[0]).await, [at(1)]);
        assert_eq!(sent(&mut other, &pair, &[2, 4]).await, [at(2), at(3)]);
        assert_eq!(sent(&mut one, &pair, &[6, 4]).await, [at(4), at(3)]);
        let remove = Command::Friend {
            user: pair.high(),
            action: FriendAction::Remove,
            other: pair.low(),
        };
        carry_out(&mut other, vec![remove]).await;
        let refused = Err(ErrorCode::NotFriends);
        assert_eq!(sent(&mut one, &pair, &[8]).await, [refused]);
        assert_eq!(sent(&mut one, &pair, &[8, 6]).await, [refused, at(4)]);
    });
}

/// What one connection says of its data's version means nothing to the next.
#[test]
fn each_connection_that_writes_is_counted() {
    let (folder, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    block_on(async {
        let mut writer = recorded(&url(&folder), &seen).await;
        let pair = friends(&mut writer, ["a", "b"]).await;
        let context = Arc::clone(&writer.context);
        let pool = context.writer.get_sqlite_connection_pool();
        assert_eq!(context.connections.newest(), 1);
        pool.acquire().await.unwrap().close().await.unwrap();
        assert_eq!(sent(&mut writer, &pair, &[0]).await, [Ok(Seq(1))]);
        assert_eq!(context.connections.newest(), 2);
    });
}

#[test]
fn what_is_sent_again_is_found_among_what_is_new() {
    let (folder, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    block_on(async {
        let mut writer = recorded(&url(&folder), &seen).await;
        let pair = friends(&mut writer, ["a", "b"]).await;
        let looks = || {
            let mut seen = seen.lock().unwrap();
            let looks = seen.iter().filter(|text| text.contains("message_key = "));
            let looks = looks.count();
            seen.clear();
            looks
        };
        let at = |seq| Ok(Seq(seq));
        assert_eq!(sent(&mut writer, &pair, &[0, 1]).await, [at(1), at(2)]);
        assert_eq!(looks(), 0, "all are new");
        assert_eq!(
            sent(&mut writer, &pair, &[2, 1, 3, 2]).await,
            [at(3), at(2), at(4), at(3)]
        );
        assert_eq!(looks(), 1, "one was refused by the table");
        assert_eq!(
            sent(&mut writer, &pair, &[3, 4]).await,
            [at(4), at(5)],
            "one more that is sent again costs no second transaction"
        );
        assert_eq!(looks(), 1);
        let mut other_text = send((&pair, 4));
        if let Command::Send { text, .. } = &mut other_text {
            *text = "Coffee?".into();
        }
        let results = writer.transaction(&[&other_text]).await.unwrap();
        assert_eq!(seqs(results), [Err(ErrorCode::KeyConflict)]);
        assert_eq!(looks(), 1);
        assert_eq!(sent(&mut writer, &pair, &[5]).await, [at(6)]);
        assert_eq!(looks(), 1, "none was sent again this time");
        assert_eq!(sent(&mut writer, &pair, &[6]).await, [at(7)]);
        assert_eq!(looks(), 0);
    });
}

fn url(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("a.db").display())
}

/// Sends a batch of messages with these keys, and returns their numbers.
async fn sent(writer: &mut Writer, pair: &Pair, keys: &[u64]) -> Vec<Result<Seq, ErrorCode>> {
    let sends: Vec<Command> = keys.iter().map(|key| send((pair, *key))).collect();
    let commands: Vec<&Command> = sends.iter().collect();
    seqs(writer.transaction(&commands).await.unwrap())
}

fn seqs(results: Results) -> Vec<Result<Seq, ErrorCode>> {
    let seq = |result| match result {
        Ok(Applied {
            done: Done::Appended { seq, .. },
            ..
        }) => Ok(seq),
        Err(StoreFailure::Refused(error)) => Err(error.code),
        other => panic!("{other:?}"),
    };
    results.into_iter().map(seq).collect()
}

/// Makes a writer whose statements are recorded.
async fn recorded(url: &str, seen: &Seen) -> Writer {
    let (options, doubt) = (Options::default(), Arc::new(Doubt::default()));
    let mut opened = open::open(url, &options, &doubt).await.unwrap();
    let seen = Arc::clone(seen);
    let record = move |info: &sea_orm::metric::Info<'_>| {
        seen.lock().unwrap().push(info.statement.sql.clone());
    };
    opened.writer.set_metric_callback(record);
    let context = Context {
        dialect: opened.dialect,
        writer: opened.writer,
        connections: opened.connections,
        reader: opened.reader,
        doubt,
        jwt: None,
        options,
        sink: Arc::new(|_| {}),
        counters: Counters::default(),
    };
    Writer::new(Arc::new(context), unbounded().1, unbounded().0)
}

async fn carry_out(writer: &mut Writer, commands: Vec<Command>) -> Vec<Done> {
    let commands: Vec<&Command> = commands.iter().collect();
    let results = writer.transaction(&commands).await.unwrap();
    results.into_iter().map(|it| it.unwrap().done).collect()
}

async fn friends(writer: &mut Writer, names: [&str; 2]) -> Pair {
    let register = |name| Command::Register {
        name: Name::new(name).unwrap(),
        hash: Secret::new("a hash"),
    };
    let done = carry_out(writer, names.map(register).into()).await;
    let [Done::Registered(one), Done::Registered(other)] = done[..] else {
        panic!("{done:?}");
    };
    let ask = Command::FriendRequest {
        user: one,
        who: UserRef::Id(other),
    };
    let accept = Command::Friend {
        user: other,
        action: FriendAction::Accept,
        other: one,
    };
    carry_out(writer, vec![ask, accept]).await;
    Pair::new(one, other).unwrap()
}

fn send((pair, key): (&Pair, u64)) -> Command {
    let user: UserId = if key.is_multiple_of(2) {
        pair.low()
    } else {
        pair.high()
    };
    Command::Send {
        user,
        place: Place::Direct(*pair),
        key: Key::new(&format!("key-{key}")).unwrap(),
        text: "Tea?".into(),
        reply_to: None,
        meta: None,
    }
}
