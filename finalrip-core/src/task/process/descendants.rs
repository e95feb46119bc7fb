//! Everything that a process has started, found through `/proc` and ended.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, wait};

/// Passes that stop what is found before it is killed. What forks faster than that is killed all the same.
const FREEZING: usize = 50;

/// How long [`end_marked`] tries.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills every descendant of this process and waits for them. This process must be a subreaper: whoever loses its parent
/// becomes its child, so when there is no child left, there is nothing left.
///
/// `scoped` says that this process can send signals to its descendants alone (see [`super::confine::scope_signals`]). Then
/// one call reaches all of them at once, those included that fork and end faster than they can be looked up.
pub(super) fn end_all(scoped: bool) {
    freeze();
    let mut pause = Duration::from_millis(1);
    loop {
        if scoped {
            // kill(-1, SIGKILL): everything that this process may send a signal to, but itself.
            let _ = kill_process_group(Pid::INIT, Signal::KILL);
        }
        for pid in of(getpid()) {
            // It may have ended by now.
            let _ = kill_process(pid, Signal::KILL);
        }
        if !reap(|_, _| {}) {
            return;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Takes note of children that have ended; whether there are any more.
pub(super) fn reap(mut ended: impl FnMut(Pid, rustix::process::WaitStatus)) -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => ended(pid, status),
            Err(Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Stops everything first, until no new process is found: what forks without end would otherwise use the places of those
/// that were killed.
fn freeze() {
    let mut stopped = HashSet::new();
    for _ in 0..FREEZING {
        let fresh: Vec<Pid> = of(getpid()).into_iter().filter(|pid| stopped.insert(*pid)).collect();
        if fresh.is_empty() {
            return;
        }
        for pid in fresh {
            let _ = kill_process(pid, Signal::STOP);
        }
    }
}

/// The living descendants of a process.
fn of(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<Pid>> = HashMap::new();
    for pid in all() {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        let next = children.remove(&pid.as_raw_nonzero().get()).unwrap_or_default();
        open.extend(&next);
        found.extend(next);
    }
    found
}

/// Kills every process whose environment says that `scratch` is its home: all that belonged to an encoder process whose
/// guardian was killed. Gives up after some seconds.
pub(super) fn end_marked(scratch: &Path) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let found: Vec<Pid> = all().into_iter().filter(|pid| lives_in(*pid, scratch)).collect();
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill_process(pid, Signal::KILL);
        }
        sleep(Duration::from_millis(10));
    }
    tracing::warn!("something that was started in {} cannot be killed", scratch.display());
}

fn lives_in(pid: Pid, scratch: &Path) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let home = [b"HOME=", scratch.as_os_str().as_bytes()].concat();
    environment.split(|&byte| byte == 0).any(|variable| variable == home)
}

/// All processes that can be seen.
fn all() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

fn parent(pid: Pid) -> Option<i32> {
    // A process that has ended has no parent.
    parent_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fourth field of `/proc/PID/stat`. The second is the program's name in brackets, which may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_hide_the_parent() {
        assert_eq!(parent_in("12 (a) 7 (b) S 34 12 12 0 -1"), Some(34));
        assert_eq!(parent_in("12 (a"), None);
    }

    #[test]
    fn a_child_is_a_descendant() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(of(getpid()).contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!of(getpid()).contains(&pid));
    }
}
