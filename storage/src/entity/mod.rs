//! The tables, one entity each.
//!
//! Numbers are signed because SQL's are; Parlor's stay below 2^53. Moments are milliseconds since
//! 1970. Roles, states and kinds are stored by their names.

#![expect(
    unreachable_pub,
    reason = "sea-orm's derives make public types of these"
)]

pub(crate) mod cluster;
pub(crate) mod conversation;
pub(crate) mod friendship;
pub(crate) mod group;
pub(crate) mod invitation;
pub(crate) mod join_request;
pub(crate) mod member;
pub(crate) mod message;
pub(crate) mod number;
pub(crate) mod session;
pub(crate) mod user;
