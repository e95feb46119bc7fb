//! What the worker's side and the child's side say to each other: JSON, one message a line.

use std::path::PathBuf;

use rustix::io::{Errno, read};
use rustix::stdio::stdin;
use serde::{Deserialize, Serialize};

use super::failure::End;
use super::{Answer, Confined, Confinement, Limits, Scope};
use crate::task::records::WorkProgress;

/// The longest message that the worker's side reads, in bytes. A record of [`RECORD`] bytes fits, quoted.
pub(super) const LONGEST: usize = 40 << 20;

/// The longest record of a plan or a clip, in bytes.
pub(super) const RECORD: usize = 16 << 20;

/// The longest first line, in bytes: paths, mostly.
const SETUP: usize = 1 << 20;

/// The first line that a process reads: what it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum First {
    /// The guardian. The next line is for the process that it starts.
    Guard(Guard),
    /// The encoder.
    Encode(Setup),
}

/// What a guardian has to know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Guard {
    /// The folder to remove at the end.
    pub(super) scratch: PathBuf,
    /// Whether anything may be confined.
    pub(super) confined: bool,
}

/// What an encoder has to know before its first order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) scratch: PathBuf,
    pub(super) limits: Limits,
    pub(super) confinement: Confinement,
    pub(super) scope: Scope,
}

/// What the child's side says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// Orders may come.
    Ready { id: u32, confined: Confined },
    /// How far the order has come.
    Progress(WorkProgress),
    /// The order is done.
    Done(Answer),
    /// The order, or the start, failed. A mark in the log came first.
    Failed { reason: String, permanent: bool },
    /// Says the guardian: the encoder has ended. A mark in the log came first.
    Ended(End),
}

/// A message as it is sent.
///
/// # Errors
/// What keeps it from being sent: a path that is not UTF-8.
pub(super) fn line(message: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut line = serde_json::to_vec(message).map_err(|error| format!("the message cannot be sent: {error}"))?;
    line.push(b'\n');
    Ok(line)
}

/// The lines for a guardian and for its encoder.
pub(super) fn first_lines(setup: Setup) -> Result<Vec<u8>, String> {
    let guard = Guard { scratch: setup.scratch.clone(), confined: setup.confinement.enabled };
    let mut lines = line(&First::Guard(guard))?;
    lines.extend(line(&First::Encode(setup))?);
    Ok(lines)
}

/// Reads the first line from standard input, and not a byte more: what follows may be another process's.
pub(super) fn first_line() -> Result<First, String> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match read(stdin(), &mut byte) {
            Ok(0) => return Err("standard input ended".to_owned()),
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if line.len() == SETUP => return Err("its first line is too long".to_owned()),
            Ok(_) => line.extend(byte),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    serde_json::from_slice(&line).map_err(|error| error.to_string())
}
