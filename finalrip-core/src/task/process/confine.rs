//! What an encoder process may take and reach, set by itself before it runs anything foreign. What it starts inherits it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope as LandlockScope, make_bitflags,
    path_beneath_rules,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getppid, nice, setrlimit, test_kill_process};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use serde::{Deserialize, Serialize};

use super::protocol::Setup;
use super::{Confinement, Limits, calls, python, sockets};
use crate::error::chain;

/// The rights that are asked for: all of Linux 6.12. Later ones were not tried yet.
const RIGHTS: ABI = ABI::V6;

/// To read files and to list folders.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// Where the system keeps programs, libraries and what they need.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt/cuda", "/opt/intel", "/opt/rocm"];

/// What libraries look up in `/etc`. The folder as a whole is not for scripts: a server's own settings may lie there.
const SETTINGS: &[&str] = &[
    "OpenCL",
    "alternatives",
    "drirc",
    "fonts",
    "glvnd",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "nvidia",
    "os-release",
    "passwd",
    "timezone",
    "vulkan",
];

/// What is needed on top of them by those who may use the network.
const NETWORK_SETTINGS: &[&str] = &["ca-certificates", "gai.conf", "resolv.conf", "services", "ssl"];

/// What the kernel tells about the machine and about processes. Of those outside, nothing that is secret.
const KERNEL: &[&str] = &["/proc", "/sys"];

/// Devices that are only read, and the one that may also be written.
const SOURCES: &[&str] = &["/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
const SINK: &str = "/dev/null";

/// How the names of graphics devices in `/dev` begin: filters may compute on them.
const GRAPHICS: &[&str] = &["dri", "dxg", "kfd", "nvidia"];

/// What confinement is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confined {
    /// All that was asked for.
    Full,
    /// Some of it: the kernel is too old for the rest.
    Partly {
        /// What it still may do.
        missing: Vec<String>,
    },
    /// None: the kernel has no Landlock, or it is switched off there.
    None {
        /// Which of them.
        reason: String,
    },
    /// None was asked for.
    Off,
}

impl Confined {
    /// Says it in the log.
    pub(super) fn tell(&self) {
        match self {
            Self::Full => tracing::debug!("encoder process: confined by Landlock and seccomp"),
            Self::Off => tracing::debug!("encoder process: not confined, as configured"),
            Self::Partly { missing } => tracing::warn!(
                "encoder process: this kernel confines it only in part; a script can still {}",
                missing.join(", ")
            ),
            Self::None { reason } => tracing::warn!(
                "encoder process: NOT confined, {reason}; a script can do whatever the server's user can"
            ),
        }
    }
}

/// Sets the limits, for good.
///
/// # Errors
/// Which limit cannot be set: it is above that of the server.
pub(super) fn limit(limits: &Limits) -> Result<(), String> {
    // Of all processes it is the encoder that should go when memory runs out.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let wanted = [
        ("address space", Resource::As, limits.address_space),
        ("file size", Resource::Fsize, limits.file_size),
        ("processes", Resource::Nproc, limits.processes),
        ("core dumps", Resource::Core, Some(0)),
    ];
    for (name, resource, value) in wanted {
        if value.is_some() {
            let limit = Rlimit { current: value, maximum: value };
            setrlimit(resource, limit).map_err(|error| format!("the limit of {name} cannot be set: {error}"))?;
        }
    }
    if limits.nice > 0 {
        nice(limits.nice.into()).map_err(|error| format!("its priority cannot be lowered: {error}"))?;
    }
    Ok(())
}

/// Confines this thread, and all that it starts from now on, for good.
///
/// # Errors
/// What cannot be allowed: the source, the cache, the scratch folder, or a path of the configuration is not there.
pub(super) fn confine(setup: &Setup) -> Result<Confined, String> {
    if !setup.confinement.enabled {
        return Ok(Confined::Off);
    }
    let rules = Rules::of(setup);
    let ruleset = rules.ruleset(setup.confinement.network).map_err(refused)?;
    let ruleset = rules.allow_named(ruleset, &setup.confinement)?;
    drop_capabilities().map_err(|error| format!("it cannot give up its capabilities: {error}"))?;
    let landlock = ruleset.restrict_self().map_err(refused)?.landlock;
    let no_others = calls::forbid();
    let no_sockets = if setup.confinement.network { Ok(()) } else { sockets::forbid() };
    Ok(match landlock {
        LandlockStatus::NotImplemented => Confined::None { reason: "the kernel has no Landlock".to_owned() },
        LandlockStatus::NotEnabled => {
            Confined::None { reason: "Landlock is not enabled (the kernel's parameter lsm=)".to_owned() }
        }
        LandlockStatus::Available { effective_abi, .. } => {
            let mut missing = missing(effective_abi);
            missing.extend(no_others.err().map(|reason| format!("act on the server's processes and files ({reason})")));
            missing.extend(no_sockets.err().map(|reason| format!("use the network ({reason})")));
            if missing.is_empty() { Confined::Full } else { Confined::Partly { missing } }
        }
    })
}

/// Takes from this thread, and all that it starts from now on, the right to send signals to anything but each other, for
/// good. Whether that is in force: the kernel says so, and the parent was within reach before and is not any more.
pub(super) fn scope_signals() -> bool {
    // A domain that says nothing of links and renames between folders forbids them.
    let restrict = || {
        let ruleset = Ruleset::default().handle_access(AccessFs::Refer)?.scope(LandlockScope::Signal)?.create()?;
        ruleset.add_rules(path_beneath_rules(["/"], AccessFs::Refer))?.restrict_self()
    };
    let Some(parent) = getppid().filter(|&parent| test_kill_process(parent).is_ok()) else { return false };
    let is_enforced = restrict().is_ok_and(|status| status.ruleset == RulesetStatus::FullyEnforced);
    is_enforced && test_kill_process(parent) == Err(Errno::PERM)
}

/// Gives up what root has and others have not, for good: capabilities reach past Landlock, for example into the
/// environment of any process.
fn drop_capabilities() -> rustix::io::Result<()> {
    // Without this the next program that root starts would have them again.
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// What a kernel cannot keep a script from.
fn missing(abi: ABI) -> Vec<String> {
    let since = [
        (ABI::V3, "truncate files that it can see"),
        (ABI::V5, "control devices that it may read"),
        (ABI::V6, "send signals to the server"),
    ];
    since.into_iter().filter(|(needed, _)| abi < *needed).map(|(_, what)| what.to_owned()).collect()
}

/// Paths by what may be done with them.
struct Rules {
    /// May be missing.
    run: Vec<PathBuf>,
    /// May be missing.
    read: Vec<PathBuf>,
    /// May be missing.
    devices: Vec<PathBuf>,
    /// Must be there.
    shown: Vec<PathBuf>,
    /// Must be there.
    written: Vec<PathBuf>,
}

impl Rules {
    fn of(setup: &Setup) -> Self {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let mut run = paths(SYSTEM);
        run.extend(env::current_exe());
        let mut read: Vec<PathBuf> = [KERNEL, SOURCES].iter().flat_map(|names| paths(names)).collect();
        let network = if setup.confinement.network { NETWORK_SETTINGS } else { &[] };
        read.extend(SETTINGS.iter().chain(network).map(|name| Path::new("/etc").join(name)));
        let configuration = env::var_os("XDG_CONFIG_HOME").map(|folder| Path::new(&folder).join("vapoursynth"));
        if let Some(library) = env::var_os("VSSCRIPT_PATH") {
            run.extend(python::folders(Path::new(&library), configuration.as_deref()));
        }
        read.extend(configuration);
        let shown = setup.scope.source.iter().chain(&setup.scope.read).cloned().collect();
        let mut written: Vec<PathBuf> = vec![setup.scratch.clone()];
        written.extend(setup.scope.cache.iter().chain(&setup.confinement.write).cloned());
        Self { run, read, devices: graphics(), shown, written }
    }

    /// The rights of every script.
    fn ruleset(&self, network: bool) -> Result<RulesetCreated, RulesetError> {
        let device = READ | AccessFs::WriteFile | AccessFs::IoctlDev;
        let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(RIGHTS))?;
        if !network {
            ruleset = ruleset.handle_access(AccessNet::from_all(RIGHTS))?;
        }
        let mut ruleset = ruleset.scope(LandlockScope::from_all(RIGHTS))?.create()?;
        for (paths, rights) in [(&self.run, AccessFs::from_read(RIGHTS)), (&self.read, READ), (&self.devices, device)] {
            ruleset = ruleset.add_rules(path_beneath_rules(paths, rights))?;
        }
        ruleset.add_rules(path_beneath_rules([SINK], READ | AccessFs::WriteFile))
    }

    /// The rights of this one.
    fn allow_named(&self, ruleset: RulesetCreated, confinement: &Confinement) -> Result<RulesetCreated, String> {
        let kinds = AccessFs::Execute | AccessFs::IoctlDev | AccessFs::MakeChar | AccessFs::MakeBlock;
        let ruleset = allow(ruleset, &self.shown, READ)?;
        let ruleset = allow(ruleset, &confinement.read, AccessFs::from_read(RIGHTS))?;
        allow(ruleset, &self.written, AccessFs::from_all(RIGHTS) & !kinds)
    }
}

/// As `path_beneath_rules`, but a path that is missing is an error.
fn allow(mut ruleset: RulesetCreated, paths: &[PathBuf], rights: BitFlags<AccessFs>) -> Result<RulesetCreated, String> {
    for path in paths {
        let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(RIGHTS) };
        let opened = PathFd::new(path)
            .map_err(|error| format!("{} cannot be shown to it: {}", path.display(), chain(&error)))?;
        ruleset = ruleset.add_rule(PathBeneath::new(opened, rights)).map_err(refused)?;
    }
    Ok(ruleset)
}

fn refused(error: RulesetError) -> String {
    format!("it cannot be confined: {}", chain(&error))
}

fn graphics() -> Vec<PathBuf> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let is_one = |name: &str| GRAPHICS.iter().any(|start| name.starts_with(start));
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_one)).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_kernel_cannot_do_is_named() {
        assert_eq!(missing(ABI::V6), [""; 0]);
        assert_eq!(missing(ABI::V5).len(), 1);
        assert_eq!(missing(ABI::V3)[0], "control devices that it may read");
        assert_eq!(missing(ABI::V1).len(), 3);
    }
}
