//! Where a task's objects lie.
//!
//! A [`VideoKey`] is what a client calls its video; [`ObjectKey`]s are the objects that belong to it.

mod key;

pub use key::{KeyError, ObjectKey, Part, VideoKey};
