//! Reads.

mod changes;
mod lists;
mod log;
pub(crate) mod roster;
mod supervision;

use std::sync::Arc;
use std::time::Instant;

use async_channel::Receiver;
use parlor_core::protocol::{ErrorCode, RequestError};
use parlor_core::store::{Read, ReadDone, StoreError, StoreFailure, StoreResponse, StoreResult};
use sea_orm::DbErr;

use crate::context::{Context, Hindrance};
use crate::failure::Failure;
use crate::queue::Reply;

pub(crate) use lists::find;

/// A read that is carried out alone.
#[derive(Debug)]
pub(crate) struct ReadJob {
    pub(crate) read: Read,
    pub(crate) reply: Reply,
}

/// Why nothing was read.
#[derive(Debug)]
enum ReadError {
    /// The reader may not.
    Refused(RequestError),
    /// The database failed.
    Failed(Failure),
}

impl Hindrance for ReadError {
    fn passes(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.passes())
    }
}

impl From<RequestError> for ReadError {
    fn from(error: RequestError) -> Self {
        Self::Refused(error)
    }
}

impl From<ErrorCode> for ReadError {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code.into())
    }
}

impl From<DbErr> for ReadError {
    fn from(error: DbErr) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Reads until no more can come.
pub(crate) async fn run(context: Arc<Context>, jobs: Receiver<ReadJob>) {
    while let Ok(job) = jobs.recv().await {
        if !job.reply.has_time(context.options.timeout) {
            job.reply.send(Err(StoreError::Unavailable.into()));
            continue;
        }
        let began = Instant::now();
        let found = context.bounded(|| read(&context, &job.read)).await;
        context.counters.was_read(began.elapsed());
        let result: StoreResult = match found {
            Ok(found) => Ok(StoreResponse::Read(found)),
            Err(ReadError::Refused(error)) => Err(StoreFailure::Refused(error)),
            Err(ReadError::Failed(failure)) => Err(StoreError::from(failure).into()),
        };
        job.reply.send(result);
    }
}

async fn read(context: &Context, read: &Read) -> Result<ReadDone, ReadError> {
    match *read {
        // These two are read together with others', by `grouped`.
        Read::Rosters(_) | Read::Heads { .. } => Err(ReadError::Failed(Failure::Unavailable)),
        Read::Fetch {
            conversation,
            after,
            limit,
            bytes,
        } => log::fetch(context, conversation, after, limit, bytes).await,
        Read::Changes {
            since,
            conversations_after,
            users_after,
            limit,
        } => changes::changes(context, since, conversations_after, users_after, limit).await,
        Read::User { reader, ref who } => lists::user(context, reader, who).await,
        Read::Friends {
            reader,
            after,
            limit,
        } => lists::friends(context, reader, after, limit).await,
        Read::Groups {
            reader,
            after,
            limit,
        } => lists::groups(context, reader, after, limit).await,
        Read::Conversations {
            reader,
            after,
            limit,
        } => lists::conversations(context, reader, after, limit).await,
        Read::Group { reader, group } => lists::group(context, reader, group).await,
        Read::Members {
            reader,
            group,
            after,
            limit,
        } => lists::members(context, reader, group, after, limit).await,
        Read::Requests {
            reader,
            group,
            after,
            limit,
        } => lists::requests(context, reader, group, after, limit).await,
        Read::Account(ref who) => supervision::account(context, who).await,
        Read::Entry(ref message) => supervision::entry(context, message).await,
        Read::History {
            reader,
            place,
            anchor,
            limit,
            bytes,
        } => log::history(context, reader, place, anchor, limit, bytes).await,
    }
}
