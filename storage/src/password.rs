//! Passwords: hashed by argon2id on threads of their own, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version,
};
use async_channel::{Receiver, Sender};
use async_std::task::spawn_blocking;
use parlor_core::id::{SessionId, UserId};
use parlor_core::name::Name;
use parlor_core::protocol::request::UserRef;
use parlor_core::protocol::{ErrorCode, RequestError};
use parlor_core::secret::Secret;
use parlor_core::store::{Command, StoreError, StoreFailure, Supervision};
use smol_str::SmolStr;
use tracing::error;

use crate::context::Context;
use crate::error::OpenError;
use crate::jwt::{self, Vouched};
use crate::options::PasswordOptions;
use crate::queue::Reply;
use crate::reads;
use crate::writer::{Work, WriteJob};

/// When to repeat what was refused because too many wait for a hash.
const RETRY: Duration = Duration::from_secs(2);

/// A request with a password.
#[derive(Debug)]
pub(crate) struct PasswordJob {
    pub(crate) work: PasswordWork,
    pub(crate) reply: Reply,
}

/// What to do with the password.
#[derive(Debug)]
pub(crate) enum PasswordWork {
    Register {
        name: Name,
        password: Secret,
    },
    Login {
        who: UserRef,
        password: Secret,
        device: Option<SmolStr>,
    },
    LoginJwt {
        jwt: Secret,
        device: Option<SmolStr>,
    },
    Change {
        user: UserId,
        session: SessionId,
        old: Secret,
        new: Secret,
    },
    Delete {
        user: UserId,
        password: Secret,
    },
    Reset {
        who: UserRef,
        password: Secret,
    },
}

/// Refuses a request because too many wait for a hash.
pub(crate) fn busy() -> StoreFailure {
    StoreFailure::Refused(RequestError::from(ErrorCode::Busy).retry_after(RETRY))
}

/// Takes one request after the other until no more can come; as many of these run as hashes may be
/// computed at a time.
pub(crate) async fn run(
    context: Arc<Context>,
    hasher: Arc<Hasher>,
    jobs: Receiver<PasswordJob>,
    writes: Sender<WriteJob>,
) {
    while let Ok(PasswordJob { work, reply }) = jobs.recv().await {
        // What follows may take as long as a read and a write.
        if !reply.has_time(context.options.timeout * 2) {
            reply.send(Err(busy()));
            continue;
        }
        match command(&context, &hasher, work).await {
            Ok(work) => {
                let job = WriteJob {
                    work,
                    bytes: 0,
                    reply,
                };
                // The channel is closed only after this task has ended.
                let _ = writes.send(job).await;
            }
            Err(failure) => reply.send(Err(failure)),
        }
    }
}

/// Makes a change of a request: passwords become hashes.
async fn command(
    context: &Context,
    hasher: &Arc<Hasher>,
    work: PasswordWork,
) -> Result<Work, StoreFailure> {
    Ok(match work {
        PasswordWork::Register { name, password } => {
            let hash = hash(context, hasher, password).await?;
            Work::Change(Command::Register { name, hash })
        }
        PasswordWork::Login {
            who,
            password,
            device,
        } => {
            let (user, verified) = verified(context, hasher, &who, password.clone()).await?;
            let renewed = renewed(context, hasher, password, verified.clone()).await;
            Work::Session(Command::OpenSession {
                user,
                verified,
                renewed,
                device,
            })
        }
        PasswordWork::LoginJwt { jwt, device } => {
            let verifier = context.jwt.clone().ok_or_else(jwt::not_taken)?;
            let Vouched { identity, name } = spawn_blocking(move || verifier.verify(&jwt)).await?;
            Work::Session(Command::OpenSessionOf {
                identity,
                name,
                device,
            })
        }
        PasswordWork::Change {
            user,
            session,
            old,
            new,
        } => {
            let (_, verified) = verified(context, hasher, &UserRef::Id(user), old).await?;
            let hash = hash(context, hasher, new).await?;
            Work::Change(Command::ChangePassword {
                user,
                session,
                verified,
                hash,
            })
        }
        PasswordWork::Delete { user, password } => {
            let (_, verified) = verified(context, hasher, &UserRef::Id(user), password).await?;
            Work::Change(Command::DeleteAccount { user, verified })
        }
        PasswordWork::Reset { who, password } => {
            let action = Supervision::SetPassword(hash(context, hasher, password).await?);
            Work::Change(Command::Supervise { who, action })
        }
    })
}

/// Returns the user and the stored hash if that is the user's password. An unknown user costs as
/// much time as a wrong password.
async fn verified(
    context: &Context,
    hasher: &Arc<Hasher>,
    who: &UserRef,
    password: Secret,
) -> Result<(UserId, Secret), StoreFailure> {
    let found = context
        .query(|| reads::find(context, who))
        .await
        .map_err(StoreError::from)?
        .filter(|(_, row)| row.name.is_some())
        .map(|(user, row)| (user, row.hash));
    let hash = found.as_ref().map(|(_, hash)| hash.clone());
    context.counters.hashed();
    let right = hasher.clone().verify(password, hash).await;
    match found {
        Some(found) if right => Ok(found),
        _ => Err(StoreFailure::Refused(ErrorCode::BadCredentials.into())),
    }
}

/// Returns a right password's hash at the present cost, where the stored one has another. It has the
/// same salt, by which the rules know that the password has not changed.
async fn renewed(
    context: &Context,
    hasher: &Arc<Hasher>,
    password: Secret,
    stored: Secret,
) -> Option<Secret> {
    if hasher.is_current(&stored) {
        return None;
    }
    context.counters.hashed();
    let hasher = Arc::clone(hasher);
    let renewed = spawn_blocking(move || hasher.renew(&password, &stored)).await;
    // The old one still serves.
    renewed
        .inspect_err(|reason| error!(reason, "a password could not be hashed anew"))
        .ok()
}

/// Returns the hash to store.
async fn hash(
    context: &Context,
    hasher: &Arc<Hasher>,
    password: Secret,
) -> Result<Secret, StoreFailure> {
    context.counters.hashed();
    hasher.clone().hash(password).await
}

/// Hashes and verifies.
pub(crate) struct Hasher {
    argon2: Argon2<'static>,
    /// The hash of no password that anyone knows, at the present cost.
    dummy: Secret,
}

impl Hasher {
    /// Checks the settings, and computes one hash.
    pub(crate) async fn new(options: PasswordOptions) -> Result<Self, OpenError> {
        let PasswordOptions {
            memory_kib,
            iterations,
            ..
        } = options;
        let refused = |reason: String| OpenError::Password {
            memory_kib,
            iterations,
            reason,
        };
        let params = Params::new(memory_kib, iterations, 1, None)
            .map_err(|error| refused(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let with = argon2.clone();
        let dummy = spawn_blocking(move || {
            let mut password = [0; 32];
            getrandom::fill(&mut password).map_err(|error| error.to_string())?;
            phc(&with, &password)
        });
        let dummy = dummy.await.map_err(refused)?;
        Ok(Self { argon2, dummy })
    }

    async fn hash(self: Arc<Self>, password: Secret) -> Result<Secret, StoreFailure> {
        spawn_blocking(move || phc(&self.argon2, password.expose().as_bytes()))
            .await
            .map_err(|reason| {
                error!(reason, "a password could not be hashed");
                StoreError::Unavailable.into()
            })
    }

    /// Tells whether a hash has the present cost.
    fn is_current(&self, hash: &Secret) -> bool {
        cost(hash) == cost(&self.dummy)
    }

    /// Hashes at the present cost, with the salt of another hash.
    fn renew(&self, password: &Secret, stored: &Secret) -> Result<Secret, String> {
        let stored = PasswordHash::new(stored.expose()).map_err(|error| error.to_string())?;
        let salt = stored.salt.ok_or("it has no salt")?;
        self.argon2
            .hash_password_with_salt(password.expose().as_bytes(), salt.as_ref())
            .map(|hash| Secret::new(hash.to_string()))
            .map_err(|error| error.to_string())
    }

    async fn verify(self: Arc<Self>, password: Secret, hash: Option<Secret>) -> bool {
        spawn_blocking(move || {
            let hash = hash.as_ref().unwrap_or(&self.dummy);
            // The hash says by itself what it cost.
            self.argon2
                .verify_password(password.expose().as_bytes(), hash.expose())
                .is_ok()
        })
        .await
    }
}

/// Returns what a PHC string says of algorithm, version and cost: all that is before salt and hash.
fn cost(hash: &Secret) -> Option<&str> {
    hash.expose().rsplitn(3, '$').nth(2)
}

/// Hashes with a random salt, as a PHC string.
fn phc(argon2: &Argon2<'_>, password: &[u8]) -> Result<Secret, String> {
    argon2
        .hash_password(password)
        .map(|hash| Secret::new(hash.to_string()))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_std::task::block_on;
    use parlor_core::secret::Secret;

    use super::{Hasher, cost};
    use crate::options::PasswordOptions;

    #[test]
    fn whoever_is_not_there_costs_what_a_password_costs_today() {
        let options = PasswordOptions {
            memory_kib: 24,
            iterations: 3,
            ..PasswordOptions::default()
        };
        let hasher = Arc::new(block_on(Hasher::new(options)).unwrap());
        let hash = block_on(hasher.clone().hash(Secret::new("password"))).unwrap();
        assert_eq!(cost(&hash), Some("$argon2id$v=19$m=24,t=3,p=1"));
        assert_eq!(cost(&hasher.dummy), cost(&hash));
        assert!(hasher.is_current(&hash));
    }
}
