//! What hashes of passwords cost, and how they come to cost something else.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod common;

use async_std::task::block_on;
use futures::future::join_all;
use parlor_core::id::{SessionId, UserId};
use parlor_core::name::Name;
use parlor_core::protocol::ErrorCode;
use parlor_core::protocol::request::UserRef;
use parlor_core::secret::Secret;
use parlor_core::store::{StoreFailure, StoreRequest, StoreResponse, StoreResult};
use parlor_core::time::Timestamp;
use parlor_storage::{Options, PasswordOptions, SqlStore};
use sea_orm::{ConnectionTrait as _, DatabaseBackend, Statement};
use tempfile::TempDir;

use common::{PASSWORD, applied, login, open, options, url, user};

/// What a hash at the lowest cost begins with, and one at the next.
const LOW: &str = "$argon2id$v=19$m=8,t=1,p=1$";
const HIGH: &str = "$argon2id$v=19$m=16,t=2,p=1$";

fn costly() -> Options {
    Options {
        password: PasswordOptions {
            memory_kib: 16,
            iterations: 2,
            threads: 2,
            ..options().password
        },
        limits: parlor_core::store::Limits {
            sessions: 100,
            ..options().limits
        },
        ..options()
    }
}

/// Reads the only user's hash as another program would.
async fn hash(folder: &TempDir) -> String {
    let database = sea_orm::Database::connect(url(folder)).await.unwrap();
    let select = Statement::from_string(DatabaseBackend::Sqlite, "SELECT hash FROM user");
    let row = database.query_one_raw(select).await.unwrap().unwrap();
    let hash = row.try_get("", "hash").unwrap();
    database.close().await.unwrap();
    hash
}

fn salt(hash: &str) -> &str {
    hash.rsplit('$').nth(1).unwrap()
}

#[track_caller]
fn opened(result: StoreResult) -> (SessionId, Timestamp) {
    match result {
        Ok(StoreResponse::Session(standing)) => (standing.session, standing.expires),
        other => panic!("no session: {other:?}"),
    }
}

async fn stands(store: &SqlStore, user: UserId, (session, expires): (SessionId, Timestamp)) {
    let resume = StoreRequest::Resume {
        user,
        session,
        expires,
    };
    opened(store.execute(resume).await);
}

fn code(result: &StoreResult) -> Option<ErrorCode> {
    match result {
        Err(StoreFailure::Refused(error)) => Some(error.code),
        _ => None,
    }
}

#[test]
fn a_login_brings_the_hash_to_todays_cost_and_ends_nothing() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let before = open(&folder, options()).await;
        let ann = user(&before, "ann").await;
        let session = opened(before.execute(login(ann, PASSWORD)).await);
        before.close().await;
        let old = hash(&folder).await;
        assert!(old.starts_with(LOW), "{old}");

        // Two nodes at the new cost, and many logins that have all read the old hash.
        let (one, other) = futures::join!(open(&folder, costly()), open(&folder, costly()));
        let wrong = one.execute(login(ann, "wrong password")).await;
        assert_eq!(code(&wrong), Some(ErrorCode::BadCredentials));
        assert_eq!(
            hash(&folder).await,
            old,
            "only the right password is hashed anew"
        );
        let logins = (0..40).map(|index| {
            let store = if index % 2 == 0 { &one } else { &other };
            store.execute(login(ann, PASSWORD))
        });
        let mut sessions: Vec<_> = join_all(logins).await.into_iter().map(opened).collect();
        let new = hash(&folder).await;
        assert!(new.starts_with(HIGH), "{new}");
        assert_eq!(salt(&new), salt(&old), "the password is the same");
        sessions.push(session);
        for session in sessions {
            stands(&one, ann, session).await;
        }

        let hashes = one.status().hashes;
        opened(one.execute(login(ann, PASSWORD)).await);
        assert_eq!(one.status().hashes, hashes + 1, "once is enough");
        let wrong = one.execute(login(ann, "wrong password")).await;
        assert_eq!(code(&wrong), Some(ErrorCode::BadCredentials));
        one.close().await;
        other.close().await;
    });
}

#[test]
fn a_new_password_has_a_salt_of_its_own_and_ends_what_verified_the_old_one() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let store = open(&folder, costly()).await;
        let ann = user(&store, "ann").await;
        let (session, _) = opened(store.execute(login(ann, PASSWORD)).await);
        let old = hash(&folder).await;
        let change = StoreRequest::ChangePassword {
            user: ann,
            session,
            old: Secret::new(PASSWORD),
            new: Secret::new(PASSWORD),
        };
        applied(store.execute(change).await);
        let new = hash(&folder).await;
        assert_ne!(
            salt(&new),
            salt(&old),
            "the same letters are a new password"
        );
        store.close().await;
    });
}

#[test]
fn whoever_is_not_there_costs_a_hash_as_well() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let store = open(&folder, costly()).await;
        let nobody = StoreRequest::Login {
            who: UserRef::Name(Name::new("nobody").unwrap()),
            password: Secret::new(PASSWORD),
            device: None,
        };
        for (request, number) in [(nobody, 1), (login(UserId(77), PASSWORD), 2)] {
            let refused = store.execute(request).await;
            assert_eq!(code(&refused), Some(ErrorCode::BadCredentials));
            assert_eq!(store.status().hashes, number);
        }
        // An operator's order costs its hash before anyone looks whether the account is there.
        let reset = StoreRequest::ResetPassword {
            who: UserRef::Id(UserId(77)),
            password: Secret::new(PASSWORD),
        };
        let refused = store.execute(reset).await;
        assert_eq!(code(&refused), Some(ErrorCode::NoSuchUser));
        assert_eq!(store.status().hashes, 3);
        store.close().await;
    });
}
