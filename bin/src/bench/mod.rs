//! `parlor bench`: a load generator that checks what it measures.
//!
//! One process gives orders ([`crew`]), others carry them out ([`worker`]), since a process can hold
//! only so many connections; they speak to each other in lines of JSON ([`order`]). A worker has one
//! loop over all its connections ([`hub`]), which prepares users ([`errands`]) and then does its
//! share of a work ([`pairs`], [`group`], [`returning`], [`idle`]).

mod arguments;
mod conduct;
mod crew;
mod errands;
mod group;
mod hub;
mod idle;
mod latency;
mod ledger;
mod message;
mod meter;
mod order;
mod pairs;
mod play;
mod report;
mod returning;
pub(crate) mod router;
mod scan;
mod tasks;
pub(crate) mod worker;

use std::fs;
use std::process::ExitCode;

pub(crate) use arguments::Arguments;

use crate::{fail, print};

/// Measures, and prints what came of it; exits 1 where that is void.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let report = match conduct::run(arguments) {
        Ok(report) => report,
        Err(failure) => return fail(&failure),
    };
    let code = print(&report.to_string());
    if let Some(path) = &arguments.common.json {
        let written = serde_json::to_vec_pretty(&report)
            .map_err(Into::into)
            .and_then(|text| fs::write(path, text));
        if let Err(error) = written {
            return fail(&format!("cannot write {}: {error}", path.display()));
        }
    }
    if report.is_void() {
        return fail(&"the result is void: the server did not do what it promises");
    }
    code
}
