//! No sockets for scripts: what Landlock leaves open of the network, seccomp closes.
//!
//! Landlock's rules are about `connect` and `bind` of TCP. Multipath TCP, TCP's fast open and UDP go past them, and so
//! do the sockets of local services, which are files. A process that cannot make a socket has none of these.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, apply_filter};

use super::calls::OTHER_NUMBERS;

/// Takes from this thread, and all that it starts from now on, the right to make sockets, for good. Pairs of sockets
/// that are connected with each other stay. Programs of another architecture are killed: their calls have other numbers.
///
/// # Errors
/// Why that is not in force: the kernel has no seccomp filters, or nothing is known about this architecture.
pub(super) fn forbid() -> Result<(), String> {
    let filter = filter().map_err(|error| error.to_string())?;
    apply_filter(&filter).map_err(|error| error.to_string())
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    // A ring of io_uring makes sockets without the call.
    let calls = [libc::SYS_socket, libc::SYS_io_uring_setup];
    let rules: BTreeMap<i64, Vec<SeccompRule>> =
        calls.iter().flat_map(|call| OTHER_NUMBERS.iter().map(move |more| (call | more, Vec::new()))).collect();
    let refuse = SeccompAction::Errno(libc::EACCES.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?.try_into()
}
