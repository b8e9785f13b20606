use std::sync::Mutex;

use async_channel::unbounded;
use async_std::task::block_on;
use parlor_core::id::{Pair, Place, UserId};
use parlor_core::name::{Key, Name};
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
/// what the store executes.
#[test]
fn the_bare_transactions_have_the_statements_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("a.db").display());
    let seen = Seen::default();
    block_on(async {
        let mut writer = recorded(&url, &seen).await;
        let mut pairs = Vec::new();
        for names in [["a", "b"], ["c", "d"], ["e", "f"]] {
            pairs.push(friends(&mut writer, names).await);
        }
        seen.lock().unwrap().clear();
        let sends = pairs.iter().cycle().zip(0..11).map(send).collect();
        carry_out(&mut writer, sends).await;
        writer.context.writer.clone().close().await.unwrap();
    });
    let wanted = [
        statements::CONVERSATIONS.text(3),
        statements::FRIENDSHIPS.text(6),
        statements::KEYS.text(11),
        statements::ENDS.text(3),
        statements::messages(11).text(11),
    ];
    assert_eq!(*seen.lock().unwrap(), wanted);
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
