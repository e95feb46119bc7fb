//! Calls that act on other processes and on files without opening them, which Landlock does not know: seccomp refuses them.
//!
//! Landlock decides which files may be opened. It has no say in their modes, owners, times and attributes, which whoever runs
//! as the same user may change; in the limits and the scheduling of other processes of that user; in what System V calls leave
//! behind; and in what is heard of others' files by watching them. A script needs none of it.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter,
};

/// Modes, owners, times and attributes of files, by path or by descriptor: a descriptor that only reads is enough for these.
const ATTRIBUTES: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    // setxattrat, removexattrat and file_setattr of Linux 6.13 to 6.17; the same numbers everywhere.
    463,
    466,
    469,
];

/// Older forms of the same, and of watching files. Newer architectures do not have them.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[i64] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[i64] = &[];

/// Watching files, and what processes share without a file: it outlives them, or is everybody's of the same user.
const SHARED: &[i64] = &[
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
];

/// Looking into other processes and into the kernel, and other name spaces, in which root's calls are allowed again.
const INSIDE: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_perf_event_open,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_syslog,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
];

/// Calls about a process that is their first argument. 0 is the caller's own thread, which is all that libraries ask for.
const OF_A_PROCESS: &[i64] = &[
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
];

/// Commands of `ioctl` that change a file's attributes (`chattr`), or type into a terminal.
const COMMANDS: &[u64] = &[
    0x4008_6602, // FS_IOC_SETFLAGS
    0x4004_6602, // FS_IOC32_SETFLAGS
    0x401c_5820, // FS_IOC_FSSETXATTR
    0x4008_7602, // FS_IOC_SETVERSION
    0x4004_7602, // FS_IOC32_SETVERSION
    0x5412,      // TIOCSTI
    0x541c,      // TIOCLINUX
];

/// On x86-64 the same calls have a second number, where the kernel was built with the x32 interface.
pub(super) const OTHER_NUMBERS: &[i64] = if cfg!(target_arch = "x86_64") { &[0, 0x4000_0000] } else { &[0] };

/// Takes these calls from this thread, and from all that it starts from now on, for good. They fail with `EPERM`, as they do
/// for somebody else's files and processes.
///
/// # Errors
/// Why that is not in force: the kernel has no seccomp filters, or nothing is known about this architecture.
pub(super) fn forbid() -> Result<(), String> {
    let filter = filter().map_err(|error| error.to_string())?;
    apply_filter(&filter).map_err(|error| error.to_string())
}

fn filter() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let whole = [ATTRIBUTES, LEGACY, SHARED, INSIDE].concat().into_iter().map(|call| (call, Vec::new()));
    for (call, conditions) in whole.chain(conditional()?) {
        for more in OTHER_NUMBERS {
            rules.insert(call | more, conditions.clone());
        }
    }
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// Calls that are refused for some of their arguments: any of a call's rules is enough.
fn conditional() -> Result<Vec<(i64, Vec<SeccompRule>)>, BackendError> {
    let rule = |argument, compare, value| {
        SeccompRule::new(vec![SeccompCondition::new(argument, Length::Dword, compare, value)?])
    };
    let mut calls = Vec::new();
    for call in OF_A_PROCESS {
        calls.push((*call, vec![rule(0, Compare::Ne, 0)?]));
    }
    // Of a group or a user (1, 2) as well as of another process.
    calls.push((libc::SYS_setpriority, vec![rule(0, Compare::Ne, 0)?, rule(1, Compare::Ne, 0)?]));
    // Here it is 1 that means a process.
    calls.push((libc::SYS_ioprio_set, vec![rule(0, Compare::Ne, 1)?, rule(1, Compare::Ne, 0)?]));
    let commands: Result<_, _> = COMMANDS.iter().map(|command| rule(1, Compare::Eq, *command)).collect();
    calls.push((libc::SYS_ioctl, commands?));
    // A pair of datagram sockets can be connected anew, with a service's: 2 is `SOCK_DGRAM`, and 3, `SOCK_RAW`, becomes it.
    let kind = |kind| rule(1, Compare::MaskedEq(0xf), kind);
    calls.push((libc::SYS_socketpair, vec![kind(2)?, kind(3)?]));
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_stands_in_two_lists() {
        let conditional: Vec<i64> = conditional().unwrap().into_iter().map(|(call, _)| call).collect();
        let mut all = [ATTRIBUTES, LEGACY, SHARED, INSIDE, &conditional].concat();
        let before = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), before);
        filter().unwrap();
    }
}
