//! Wall time, CPU time and memory of processes.

#![allow(dead_code, reason = "each bench is a program of its own and uses a part of this")]

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use anyhow::{Result, ensure};

/// What a side took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Seconds from the first start to the last end.
    pub(crate) wall: f64,
    /// Seconds of user and system time, all processes.
    pub(crate) cpu: f64,
    /// Bytes: the sum of the processes' largest resident sets.
    pub(crate) peak: u64,
    /// Bytes written to files, as the kernel counts them.
    pub(crate) written: u64,
}

impl Usage {
    /// One line that [`Usage::from_line`] reads.
    pub(crate) fn to_line(self) -> String {
        format!("{} {} {}", self.wall, self.cpu, self.peak)
    }

    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (wall, cpu, peak) = (words.next()?, words.next()?, words.next()?);
        Some(Self { wall: wall.parse().ok()?, cpu: cpu.parse().ok()?, peak: peak.parse().ok()?, written: 0 })
    }
}

impl Usage {
    /// What two steps take, one after the other.
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak: self.peak.max(next.peak),
            written: self.written + next.written,
        }
    }
}

/// Starts processes that work side by side, waits for all of them, and adds up what they took. `log` is where they write
/// what goes wrong.
pub(crate) fn measured(log: &Path, start: impl FnOnce(&File) -> Result<Vec<Child>>) -> Result<Usage> {
    let file = File::create(log)?;
    let begin = Instant::now();
    let children = start(&file)?;
    let (mut usage, mut all_well) = (Usage::default(), true);
    for child in &children {
        let (status, took) = wait(child)?;
        usage.cpu += took.cpu;
        usage.peak += took.peak;
        usage.written += took.written;
        all_well &= status.success();
    }
    usage.wall = begin.elapsed().as_secs_f64();
    ensure!(all_well, "{}", fs::read_to_string(log)?);
    Ok(usage)
}

/// Waits for a process. What it returns lacks the wall time.
///
/// Linux counts into the latter what the parent held when it started the child; this program is smaller than any child.
fn wait(child: &Child) -> io::Result<(ExitStatus, Usage)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: our own child, waited for nowhere else; both results are ours to write, and zeroes are a valid rusage.
    let (ended, usage) = unsafe { (libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()), usage.assume_init()) };
    if ended != pid {
        return Err(io::Error::last_os_error());
    }
    // Blocks of 512 bytes, whatever the file system's own are.
    let (peak, written) = (usage.ru_maxrss.unsigned_abs() * 1024, usage.ru_oublock.unsigned_abs() * 512);
    Ok((ExitStatus::from_raw(status), Usage { wall: 0.0, cpu: cpu_seconds(&usage), peak, written }))
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
