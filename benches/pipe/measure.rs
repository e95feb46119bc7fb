//! Wall time, CPU time and memory of processes.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

/// What a side took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Seconds from the first start to the last end.
    pub(crate) wall: f64,
    /// Seconds of user and system time, all processes.
    pub(crate) cpu: f64,
    /// Bytes: the sum of the processes' largest resident sets.
    pub(crate) peak: u64,
}

impl Usage {
    /// One line that [`Usage::from_line`] reads.
    pub(crate) fn to_line(self) -> String {
        format!("{} {} {}", self.wall, self.cpu, self.peak)
    }

    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (wall, cpu, peak) = (words.next()?, words.next()?, words.next()?);
        Some(Self { wall: wall.parse().ok()?, cpu: cpu.parse().ok()?, peak: peak.parse().ok()? })
    }
}

/// Every side of a case, once, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) library: Usage,
    pub(crate) pipe: Usage,
    pub(crate) graph: Usage,
    pub(crate) encoder: Usage,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("library", self.library), ("pipe", self.pipe), ("graph", self.graph), ("encoder", self.encoder)];
        for (index, (name, usage)) in parts.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{name} {:.2} s, CPU {:.2} s", usage.wall, usage.cpu)?;
        }
        Ok(())
    }
}

/// Waits for a process. Returns its CPU seconds and its largest resident set in bytes.
///
/// Linux counts into the latter what the parent held when it started the child; this program is smaller than any child.
pub(crate) fn wait(child: &Child) -> io::Result<(ExitStatus, f64, u64)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: our own child, waited for nowhere else; both results are ours to write, and zeroes are a valid rusage.
    let (ended, usage) = unsafe { (libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()), usage.assume_init()) };
    if ended != pid {
        return Err(io::Error::last_os_error());
    }
    Ok((ExitStatus::from_raw(status), cpu_seconds(&usage), usage.ru_maxrss.unsigned_abs() * 1024))
}

/// The CPU seconds that this process has taken so far.
pub(crate) fn own_cpu_seconds() -> f64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the result is ours to write, and zeroes are a valid rusage.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    cpu_seconds(&usage)
}

fn cpu_seconds(usage: &libc::rusage) -> f64 {
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
