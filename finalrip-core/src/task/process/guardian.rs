//! The guardian: starts the encoder, and sees to it that nothing outlives it.
//!
//! It is a process of its own because a script may do anything to the process that it runs in, its death included, and
//! what it has started would then be nobody's. It runs no foreign code, and the script, which is confined further, cannot
//! even send it a signal.

use std::env;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, set_child_subreaper};
use rustix::stdio::stdin;

use super::failure::End;
use super::protocol::{Guard, Message, line};
use super::{confine, descendants, log};
use crate::task::folders;

/// Starts the encoder, waits for its end or for that of the server, and cleans up.
pub(super) fn guard(guard: &Guard) -> ExitCode {
    // Before the encoder is there, which is to inherit it.
    let everything = guard.confined && confine::scope_signals();
    let end = match adopt_orphans().and_then(|()| start()) {
        Ok(encoder) => watch(encoder),
        Err(error) => Some(End::NotStarted(error.to_string())),
    };
    descendants::end_all(everything);
    if let Some(end) = end {
        // The worker may have gone in the meantime.
        let _ = tell(end);
        while !is_over(None) {}
    }
    match folders::remove(&guard.scratch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// The same program once more, with the pipes of this one: the next line says what it is.
fn start() -> io::Result<Pid> {
    let mut arguments = env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Ok(Pid::from_child(&command.args(arguments).process_group(0).spawn()?))
}

/// Waits for the encoder's end; `None` when the server's came first.
fn watch(encoder: Pid) -> Option<End> {
    // Linux before 5.3 has none; then the encoder is looked at more often.
    let pidfd = pidfd_open(encoder, PidfdFlags::empty()).ok();
    loop {
        let mut end = None;
        // Orphans are taken note of as well, or they would stay as zombies.
        let any = descendants::reap(|pid, status| {
            if pid == encoder {
                end = Some(End::from(status));
            }
        });
        if end.is_some() || !any {
            return Some(end.unwrap_or(End::Status(-1)));
        }
        if is_over(pidfd.as_ref()) {
            return None;
        }
    }
}

/// Whether nobody can send orders any more. Waits for that, for the process behind `pidfd`, or for a moment.
fn is_over(pidfd: Option<&rustix::fd::OwnedFd>) -> bool {
    // Not asked for input, a pipe only tells that its other end is closed.
    let mut fds = vec![PollFd::from_borrowed_fd(stdin(), PollFlags::empty())];
    fds.extend(pidfd.map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
    let moment = Timespec { tv_sec: 0, tv_nsec: if pidfd.is_some() { 500_000_000 } else { 50_000_000 } };
    match poll(&mut fds, Some(&moment)) {
        Ok(_) => !fds[0].revents().is_empty(),
        Err(error) => error != rustix::io::Errno::INTR,
    }
}

fn tell(end: End) -> io::Result<()> {
    io::stderr().write_all(log::MARK)?;
    let line = line(&Message::Ended(end)).map_err(io::Error::other)?;
    let mut output = io::stdout().lock();
    // The encoder may have died over a message of its own.
    output.write_all(b"\n")?;
    output.write_all(&line)?;
    output.flush()
}
