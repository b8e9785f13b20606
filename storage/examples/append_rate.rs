//! Measures how many messages per second one store takes: users in pairs, each with some sends
//! under way.
//!
//! `cargo run --release -p parlor-storage --example append_rate [seconds] [pairs] [under way each] [store]`
//!
//! The store is a fresh SQLite file in the present folder, unless an empty database is named by its
//! URL, or `mariadb` for a private server that is started for the purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_std::task::{block_on, sleep, spawn};
use parlor_core::id::{Pair, Place, UserId};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::secret::Secret;
use parlor_core::store::{Applied, Command, Done, StoreRequest, StoreResponse};
use parlor_servers::MariaDb;
use parlor_storage::{Options, PasswordOptions, SqlStore};

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| -> Result<u64, Failed> {
        Ok(arguments.next().map_or(Ok(default), |text| text.parse())?)
    };
    let (seconds, pairs, each) = (number(5)?, number(250)?, number(2)?);
    let folder = tempfile::tempdir_in(".")?;
    let (url, _server) = match arguments.next() {
        None => (
            format!("sqlite:{}", folder.path().join("rate.db").display()),
            None,
        ),
        Some(name) if name == "mariadb" => {
            let server = MariaDb::start(folder.path(), &["--innodb-buffer-pool-size=512M"])?;
            (server.create_database("rate")?, Some(server))
        }
        Some(url) => (url, None),
    };
    block_on(measure(&url, seconds, pairs, each))
}

#[expect(clippy::print_stdout, reason = "the program's answer")]
async fn measure(url: &str, seconds: u64, pairs: u64, each: u64) -> Result<(), Failed> {
    let options = Options {
        password: PasswordOptions {
            memory_kib: 8,
            iterations: 1,
            ..PasswordOptions::default()
        },
        ..Options::default()
    };
    let store = SqlStore::open(url, options, Arc::new(|_| {})).await?;
    let (done, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut places = Vec::new();
    for pair in 0..pairs {
        let users = [format!("one {pair}"), format!("other {pair}")];
        places.push(friends(&store, &users).await?);
    }
    let mut tasks = Vec::new();
    for place in places {
        for lane in 0..each {
            let (store, done, stop) = (store.clone(), Arc::clone(&done), Arc::clone(&stop));
            tasks.push(spawn(async move {
                let mut index = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("{lane}/{index}");
                    append(&store, place, lane, &key).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                    index += 1;
                }
                Ok::<(), Failed>(())
            }));
        }
    }
    let (before, start) = (done.load(Ordering::Relaxed), Instant::now());
    sleep(Duration::from_secs(seconds)).await;
    let sent = done.load(Ordering::Relaxed) - before;
    let rate = u128::from(sent) * 1000 / start.elapsed().as_millis().max(1);
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await?;
    }
    store.close().await;
    println!("{sent} messages in {seconds} s: {rate} per second");
    Ok(())
}

/// Makes two friends.
async fn friends(store: &SqlStore, names: &[String; 2]) -> Result<Place, Failed> {
    let mut users = Vec::new();
    for name in names {
        let register = StoreRequest::Register {
            name: Name::new(name)?,
            password: Secret::new("correct horse"),
        };
        match applied(store, register).await?.done {
            Done::Registered(user) => users.push(user),
            other => return Err(format!("registering answers {other:?}").into()),
        }
    }
    let [one, other]: [UserId; 2] = users.try_into().map_err(|_| "two users")?;
    let ask = Command::FriendRequest {
        user: one,
        who: UserRef::Id(other),
    };
    applied(store, StoreRequest::Command(Box::new(ask))).await?;
    let accept = Command::Friend {
        user: other,
        action: FriendAction::Accept,
        other: one,
    };
    applied(store, StoreRequest::Command(Box::new(accept))).await?;
    Ok(Place::Direct(Pair::new(one, other).ok_or("two users")?))
}

/// Sends one message of 100 bytes.
async fn append(store: &SqlStore, place: Place, lane: u64, key: &str) -> Result<(), Failed> {
    let Place::Direct(pair) = place else {
        return Err("no direct conversation".into());
    };
    let send = Command::Send {
        user: if lane.is_multiple_of(2) {
            pair.low()
        } else {
            pair.high()
        },
        place,
        key: Key::new(key).ok_or("a key")?,
        text: "0123456789".repeat(10).into(),
        reply_to: None,
        meta: None,
    };
    applied(store, StoreRequest::Command(Box::new(send))).await?;
    Ok(())
}

async fn applied(store: &SqlStore, request: StoreRequest) -> Result<Applied, Failed> {
    match store.execute(request).await? {
        StoreResponse::Applied(applied) => Ok(applied),
        other => Err(format!("answered with {other:?}").into()),
    }
}
