//! The contract of a store, as checks that every store passes.
//!
//! A store's tests implement [`Subject`] over a fresh, empty store with the limits of [`limits`],
//! and call [`store_contract_tests!`](crate::store_contract_tests), which makes a test of each of
//! [`CHECKS`], or [`run`], which runs them all:
//!
//! ```
//! use parlor_core::sim::MemoryStore;
//! use parlor_core::sim::store_contract::{self, Subject};
//! use parlor_core::store::{StoreRequest, StoreResult};
//! use parlor_core::time::Timestamp;
//!
//! struct Memory {
//!     store: MemoryStore,
//!     now: Timestamp,
//! }
//!
//! impl Subject for Memory {
//!     fn execute(&mut self, request: StoreRequest) -> StoreResult {
//!         self.now.0 += 1;
//!         self.store.execute(request, self.now)
//!     }
//!
//!     fn execute_all(&mut self, requests: Vec<StoreRequest>) -> Vec<StoreResult> {
//!         self.now.0 += 1;
//!         self.store.execute_batch(requests, self.now)
//!     }
//! }
//!
//! store_contract::run(|| {
//!     Box::new(Memory {
//!         store: MemoryStore::new(store_contract::limits()),
//!         now: Timestamp(1_000_000),
//!     })
//! });
//! ```
//!
//! The checks depend on no store's numbering, nor on the clock beyond that it does not go back.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a check fails by panicking"
)]

mod accounts;
mod batches;
mod changes;
mod friends;
mod groups;
mod history;
mod lists;
mod marks;
mod membership;
mod messages;
mod rosters;
mod sessions;
mod supervision;
mod texts;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::{Limits, StoreRequest, StoreResult};

/// A store under test: empty at first, with the limits of [`limits`].
pub trait Subject {
    /// Carries one request out and waits for the answer.
    fn execute(&mut self, request: StoreRequest) -> StoreResult;

    /// Submits requests all at once, so that the store may carry changes out in one transaction;
    /// answers in the order of the requests.
    fn execute_all(&mut self, requests: Vec<StoreRequest>) -> Vec<StoreResult>;
}

/// One check; it panics where the store does not keep the contract.
pub type Check = fn(&mut dyn Subject);

/// Returns the limits of a store under test: small, so that the checks reach them.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        sessions: 8,
        friends: 12,
        groups: 10,
        conversations: 14,
        members: 10,
        invitations: 3,
        join_requests: 3,
        ..Limits::default()
    }
}

/// Runs every check, each on a subject of its own.
///
/// # Panics
/// Where a check fails, with its name.
pub fn run(mut new_subject: impl FnMut() -> Box<dyn Subject>) {
    for (name, check) in CHECKS {
        let mut subject = new_subject();
        // The first panic says what is wrong, the second one where.
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&mut *subject)));
        assert!(outcome.is_ok(), "the check {name} failed");
    }
}

/// Runs the check of a name.
///
/// # Panics
/// Where the check fails, and where there is none of that name.
pub fn check(name: &str, subject: &mut dyn Subject) {
    match CHECKS.iter().find(|(known, _)| *known == name) {
        Some((_, check)) => check(subject),
        None => panic!("there is no check {name}"),
    }
}

/// Lists the checks, and makes of the list both a constant and a macro.
macro_rules! checks {
    (($dollar:tt) $($module:ident::$name:ident,)+) => {
        /// Every check, with its name.
        pub const CHECKS: &[(&str, Check)] = &[$((stringify!($name), $module::$name)),+];

        /// Makes a test of each check of the store's contract. Takes an expression that makes a
        /// fresh `Box<dyn Subject>`.
        #[macro_export]
        macro_rules! store_contract_tests {
            ($dollar new_subject:expr) => {
                $(
                    #[test]
                    fn $name() {
                        let mut subject = $dollar new_subject;
                        $crate::sim::store_contract::check(stringify!($name), &mut *subject);
                    }
                )+
            };
        }
    };
}

checks! {
    ($)
    accounts::names_are_unique_whatever_their_spelling,
    accounts::names_that_differ_are_different,
    accounts::deleting_an_account_frees_the_name_and_blanks_the_texts,
    accounts::deleting_an_account_ends_friendships_memberships_and_sessions,
    accounts::owners_cannot_delete_their_accounts,
    accounts::users_are_found_by_number_and_name,
    sessions::login_needs_the_password,
    sessions::sessions_above_the_limit_end_the_oldest,
    sessions::resume_needs_the_very_token,
    sessions::changing_the_password_ends_the_other_sessions,
    sessions::closing_a_session_ends_it_once,
    sessions::an_identity_has_one_account_whatever_its_name,
    sessions::first_sessions_at_once_make_one_account,
    supervision::operators_end_every_session,
    supervision::a_locked_account_lets_nobody_in,
    supervision::a_password_that_is_reset_is_the_only_one,
    supervision::nobody_is_nobody_to_operators_too,
    supervision::operators_look_accounts_up,
    supervision::operators_look_entries_up,
    friends::requests_are_asked_and_accepted,
    friends::requests_by_name_find_every_spelling,
    friends::crossing_requests_make_friends,
    friends::requests_are_rejected_withdrawn_and_friends_removed,
    friends::a_pair_has_one_conversation_for_good,
    friends::blocks_end_friendship_and_bar_requests,
    friends::blocks_are_each_ones_own,
    friends::one_is_no_friend_of_oneself,
    friends::friendships_have_a_limit,
    messages::sends_are_numbered_without_a_gap,
    messages::one_key_is_one_message,
    messages::keys_are_compared_byte_by_byte,
    messages::sending_needs_the_right,
    messages::a_known_key_outlives_the_right,
    messages::replies_name_an_entry,
    messages::edits_replace_the_text_everywhere,
    messages::recalls_erase_the_text_everywhere,
    messages::edits_and_recalls_need_the_right,
    batches::bad_requests_do_not_harm_strangers,
    batches::one_key_twice_in_a_batch_is_one_message,
    batches::changes_of_a_batch_see_one_another,
    batches::registrations_of_one_name_in_a_batch,
    batches::rejoining_in_a_batch_starts_anew,
    batches::a_group_that_is_none_does_not_hide_a_direct_conversation,
    groups::creating_a_group_makes_its_first_entry,
    groups::a_creators_key_makes_one_group,
    groups::updates_are_entries,
    groups::roles_are_entries,
    groups::roles_need_the_right,
    groups::ownership_is_passed_on,
    groups::disbanding_ends_everything,
    groups::group_numbers_are_not_those_of_direct_conversations,
    groups::groups_have_a_limit,
    membership::open_groups_are_joined_by_asking,
    membership::approval_groups_need_an_approval,
    membership::invite_groups_need_an_invitation,
    membership::leaving_removes_what_there_is,
    membership::removing_needs_the_right,
    membership::rejoining_hides_what_came_between,
    membership::muted_members_read_only,
    membership::join_requests_and_invitations_have_limits,
    history::history_reads_from_either_end,
    history::history_keeps_to_its_bytes,
    history::history_is_for_those_who_may_see_it,
    history::fetch_reads_page_after_page,
    history::every_kind_of_entry_is_read_as_it_was_added,
    rosters::a_roster_has_everything_of_a_user,
    rosters::rosters_are_read_together,
    rosters::heads_are_read_together,
    lists::friends_are_listed_in_pages,
    lists::groups_are_listed_in_pages,
    lists::conversations_are_listed_in_pages,
    lists::members_are_listed_in_pages,
    lists::join_requests_are_listed_in_pages,
    lists::groups_are_looked_up,
    marks::marks_rise_and_never_fall,
    marks::marks_are_clamped_and_strangers_left_out,
    marks::marks_show_to_the_other_side,
    changes::sessions_stand_as_of_the_same_clock,
    changes::changes_show_conversations_and_users,
    changes::changes_are_read_in_pages,
    texts::texts_come_back_as_they_were_sent,
    texts::long_texts_come_back_as_they_were_sent,
    texts::names_and_keys_come_back_as_they_were_given,
}
