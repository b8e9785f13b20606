//! Guests who come, do a little of everything and go, what breaks meanwhile, and what the nodes use.

mod faults;
mod guest;
mod samples;

pub(crate) use faults::{FAULTS, strike};
pub(crate) use guest::{Guests, Seen};
pub(crate) use samples::Samples;
