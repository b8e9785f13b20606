//! The rules of the chat.

use crate::store::{Applied, Command, ReadSet, Refusal, View};

/// Returns the rows to load first for a command.
#[must_use]
pub fn read_set(_command: &Command) -> ReadSet {
    ReadSet::default()
}

/// Carries a command out on a view, or refuses it and leaves the view as it was.
///
/// # Errors
/// Says why.
pub fn apply(_command: &Command, _view: &mut View) -> Result<Applied, Refusal> {
    Err(Refusal::Incomplete(Box::default()))
}
