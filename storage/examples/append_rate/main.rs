//! Measures how many messages per second one store takes: users in pairs, each with some sends
//! under way; and on SQLite how many the bare transactions take, which are the same statements on
//! the same rows on one connection, without a store, in batches as large as the store's were.
//!
//! `cargo run --release -p parlor-storage --example append_rate [seconds] [pairs] [under way each] [store]`
//!
//! The store is a fresh SQLite file in the present folder, unless an empty database is named by its
//! URL, or `mariadb` for a private server that is started for the purpose.

mod bare;
mod meter;
mod statements;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_std::task::{block_on, sleep, spawn};
use meter::{Meter, Rate};
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
    let load = Load {
        seconds,
        pairs,
        each,
    };
    let folder = tempfile::tempdir_in(".")?;
    match arguments.next() {
        None => beside_the_bare(folder.path(), load),
        Some(name) if name == "mariadb" => {
            let server = MariaDb::start(folder.path(), &["--innodb-buffer-pool-size=512M"])?;
            alone(&server.create_database("rate")?, load)
        }
        Some(url) => alone(&url, load),
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
struct Load {
    seconds: u64,
    pairs: u64,
    /// How many sends each pair has under way.
    each: u64,
}

/// Measures a store.
#[expect(clippy::print_stdout, reason = "the program's answer")]
fn alone(url: &str, load: Load) -> Result<(), Failed> {
    let places = block_on(prepare(url, load.pairs))?;
    let (rate, batch) = block_on(measure(url, places, load))?;
    println!("the store: {rate}, {batch} in a transaction");
    Ok(())
}

/// Measures a store in a fresh file of SQLite, and the bare transactions.
#[expect(clippy::print_stdout, reason = "the program's answer")]
fn beside_the_bare(folder: &Path, load: Load) -> Result<(), Failed> {
    let (store, copy) = (folder.join("rate.db"), folder.join("copy.db"));
    let url = format!("sqlite:{}", store.display());
    let places = block_on(prepare(&url, load.pairs))?;
    std::fs::copy(&store, &copy)?;
    let (rate, batch) = block_on(measure(&url, places, load))?;
    println!("the store: {rate}, {batch} in a transaction");
    let written = block_on(bare::written(&store))?;
    let bare = block_on(bare::replay(&copy, &written, batch))?;
    block_on(bare::compare(&store, &copy))?;
    let percent = 100.0 * rate.value() / bare.value();
    println!("the bare transactions: {bare}; the store has {percent:.0} % of it");
    Ok(())
}

fn options() -> Options {
    Options {
        password: PasswordOptions {
            memory_kib: 8,
            iterations: 1,
            ..PasswordOptions::default()
        },
        ..Options::default()
    }
}

/// Makes pairs of friends.
async fn prepare(url: &str, pairs: u64) -> Result<Vec<Place>, Failed> {
    let store = SqlStore::open(url, options(), Arc::new(|_| {})).await?;
    let mut places = Vec::new();
    for pair in 0..pairs {
        let users = [format!("one {pair}"), format!("other {pair}")];
        places.push(friends(&store, &users).await?);
    }
    store.close().await;
    Ok(places)
}

/// Sends for a while; also returns how many messages there were in a transaction.
async fn measure(url: &str, places: Vec<Place>, load: Load) -> Result<(Rate, usize), Failed> {
    let store = SqlStore::open(url, options(), Arc::new(|_| {})).await?;
    let (done, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let meter = Meter::start();
    let mut tasks = Vec::new();
    for place in places {
        for lane in 0..load.each {
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
    sleep(Duration::from_secs(load.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await?;
    }
    let rate = meter.rate(done.load(Ordering::Relaxed));
    let status = store.status();
    store.close().await;
    let transactions = status.transactions.max(1);
    let batch = (status.changes + transactions / 2) / transactions;
    Ok((rate, usize::try_from(batch)?))
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
