//! Kill it, cancel it, break it: nothing that is finished is lost or done again, and what comes out in the end is what an
//! uninterrupted rip makes, byte for byte.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod cancels;
mod changes;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod job;
mod kills;
