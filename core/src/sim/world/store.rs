//! The store: one, true, and at times late, away or silent about what it did.

use std::sync::Arc;

use super::World;
use super::faults::Fault;
use super::queue::{Answer, Job, Life, Step};
use crate::engine::Input;
use crate::id::StoreToken;
use crate::protocol::ErrorCode;
use crate::store::{Standing, StoreError, StoreFailure, StoreRequest, StoreResponse, StoreResult};

impl World<'_> {
    /// A node asks the store.
    pub(super) fn submit(&mut self, life: Life, token: StoreToken, request: StoreRequest) {
        self.check_submitted(life, token, &request);
        let mut delay = self.random.millis(0, 4);
        if self.faults.hits(Fault::StoreLate, &mut self.random) {
            delay = self.random.millis(10, 3000);
        }
        let at = self.now + delay;
        let refusals = [
            (Fault::StoreRefuses, StoreError::Unavailable),
            (Fault::StoreBusy, StoreError::Busy),
            (Fault::UnknownBefore, StoreError::Unknown),
        ];
        for (fault, error) in refusals {
            if self.faults.hits(fault, &mut self.random) {
                self.say(|_| {
                    format!(
                        "store   {error:?} to node {}: {}",
                        life.node,
                        brief(&request)
                    )
                });
                let result = Box::new(Err(error.into()));
                self.queue.push(
                    at,
                    Step::Answered {
                        life,
                        token,
                        result,
                    },
                );
                return;
            }
        }
        let job = Arc::new(Job {
            life,
            token,
            request,
        });
        let mut answer = Answer::Told;
        let mut commit = at;
        if self.faults.hits(Fault::UnknownLater, &mut self.random) {
            answer = Answer::Silent;
            commit = at + self.random.millis(1, 6000);
            let result = Box::new(Err(StoreError::Unknown.into()));
            let answered = Step::Answered {
                life,
                token,
                result,
            };
            self.queue.push(at, answered);
        } else if self.faults.hits(Fault::UnknownAfter, &mut self.random) {
            answer = Answer::Unknown;
        }
        self.unsettled_commits += u64::from(changes(&job.request));
        self.queue.push(commit, Step::Execute { job, answer });
    }

    pub(super) fn execute(&mut self, job: &Arc<Job>, answer: Answer) {
        if self.store_stalled_until > self.now {
            let (at, job) = (self.store_stalled_until, job.clone());
            self.queue.push(at, Step::Execute { job, answer });
            return;
        }
        self.unsettled_commits -= u64::from(changes(&job.request));
        let Job {
            life,
            token,
            request,
        } = &**job;
        let lives = self
            .nodes
            .get(life.node)
            .is_some_and(|node| node.epoch == life.epoch);
        if !lives && self.random.chance(500) {
            // It died with its node.
            return;
        }
        let mut clock = self.now;
        if self.faults.hits(Fault::CommitOutOfOrder, &mut self.random) {
            clock = clock - self.random.millis(1, 5000);
        }
        let mut result = self.store.execute(request.clone(), clock);
        self.committed(&result);
        if let Ok(StoreResponse::Session(standing)) = &mut result {
            standing.as_of = self.now;
        }
        let told: StoreResult = match answer {
            Answer::Told => result,
            Answer::Unknown => Err(StoreError::Unknown.into()),
            Answer::Silent => {
                self.say(|_| format!("store   carried out late: {}", brief(request)));
                return;
            }
        };
        self.say(|_| {
            let (node, what) = (life.node, brief(request));
            format!("store   node {node}: {what}: {}", outcome(&told, answer))
        });
        let (life, token) = (*life, *token);
        if let Ok(StoreResponse::Session(standing)) = &told
            && self.faults.hits(Fault::RosterLate, &mut self.random)
        {
            let at = self.now + self.random.millis(1, 3000);
            let standing = Box::new(standing.clone());
            self.queue.push(
                at,
                Step::ReadRoster {
                    life,
                    token,
                    standing,
                },
            );
            return;
        }
        self.answer(life, token, told);
    }

    /// The store reads the roster of a session, as of now.
    pub(super) fn read_roster(&mut self, life: Life, token: StoreToken, standing: Standing) {
        let roster = self.store.roster(standing.roster.user, self.now);
        let result = match roster {
            Some(roster) => Ok(StoreResponse::Session(Standing {
                roster: Arc::new(roster),
                as_of: self.now,
                ..standing
            })),
            None => Err(StoreFailure::Refused(ErrorCode::TokenExpired.into())),
        };
        self.say(|_| format!("store   node {}: the roster, late", life.node));
        self.answer(life, token, result);
    }

    /// The store's answer is on its way.
    fn answer(&mut self, life: Life, token: StoreToken, result: StoreResult) {
        let mut delay = self.random.millis(0, 2);
        if self.faults.hits(Fault::AnswerLate, &mut self.random) {
            delay = self.random.millis(10, 3000);
        }
        let result = Box::new(result);
        self.queue.push(
            self.now + delay,
            Step::Answered {
                life,
                token,
                result,
            },
        );
    }

    pub(super) fn answered(&mut self, life: Life, token: StoreToken, result: StoreResult) {
        self.note_told(life, token, &result);
        self.feed(life, Input::Stored { token, result });
    }
}

/// Tells whether a request changes what others are told of.
const fn changes(request: &StoreRequest) -> bool {
    !matches!(request, StoreRequest::Read(_) | StoreRequest::Mark(_))
}

/// What came of a request, in a line.
fn outcome(told: &StoreResult, answer: Answer) -> String {
    match (told, answer) {
        (Ok(StoreResponse::Applied(applied)), _) => {
            let entries: Vec<_> = applied
                .entries
                .iter()
                .map(|entry| (entry.place, entry.seq))
                .collect();
            let changed = &applied.changed;
            format!("entries {entries:?}, versions {changed:?}")
        }
        (Ok(_), _) => "done".to_owned(),
        (Err(error), Answer::Unknown) => format!("CARRIED OUT, tells {error}"),
        (Err(error), _) => error.to_string(),
    }
}

/// A request in a line.
fn brief(request: &StoreRequest) -> String {
    match request {
        StoreRequest::Command(command) => format!("{command:?}"),
        StoreRequest::Read(read) => format!("{read:?}"),
        other => format!("{other:?}"),
    }
}
