//! The JSON below the codec: an object's fields found in one pass, typed values, and a writer.
//!
//! No tree is ever built. [`object`] keeps a slice of the frame for each known field, [`value`]
//! makes a typed value of such a slice once somebody asks for it, [`write`] appends to a buffer.

pub(crate) mod object;
pub(crate) mod value;
pub(crate) mod write;
