//! What a script can reach, and what it cannot.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use finalrip_core::task::{Answer, Confined, Order};
use serde_json::{Value, json};

use crate::shared::{Place, bunny, died, parent};

/// What the lines may use. `libc` calls a function of the C library, and raises what it says in `errno`.
const PRELUDE: &str = "import ctypes, fcntl, resource, shutil, signal, socket, sys
def libc(name, *arguments):
    made = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if made < 0: raise OSError(ctypes.get_errno(), name)
";

/// Asserts what became of each line of Python, run in order.
async fn expect(place: &Place, cases: &[(String, &str)]) {
    let mut process = place.start().await;
    if *process.confined() != Confined::Full && place.options.confinement.enabled {
        // On a kernel without all of Landlock there is nothing to be seen but that it says so.
        assert_ne!(*process.confined(), Confined::Off);
        return println!("not shown, the kernel is too old: {:?}", process.confined());
    }
    let lines: Vec<String> = cases.iter().map(|(line, _)| format!("attempt(lambda: {line})")).collect();
    let body = format!("{PRELUDE}answer = [{}]", lines.join(", "));
    let answers = place.ask(&mut process, &body).await;
    for ((line, expected), answer) in cases.iter().zip(answers.as_array().unwrap()) {
        assert_eq!(answer, expected, "{line}");
    }
    process.kill().await;
}

fn cases(lines: &[(&str, &'static str)], names: &[(&str, String)]) -> Vec<(String, &'static str)> {
    let fill = |line: &str| names.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value));
    lines.iter().map(|(line, expected)| (fill(line), *expected)).collect()
}

pub(crate) async fn only_what_is_allowed_can_be_written() {
    let place = Place::new();
    let lines = [
        ("open('here', 'w').write('scratch')", "done"),
        ("os.mkdir('folder')", "done"),
        ("os.rename('here', 'folder/there')", "done"),
        ("open(os.environ['XDG_CACHE_HOME'] + '/index', 'w').write('cache')", "done"),
        ("open('/dev/null', 'w').write('nothing')", "done"),
        ("open('FOLDER/new', 'w')", "PermissionError"),
        ("open('FOLDER/scratch/new', 'w')", "PermissionError"),
        ("open('FOLDER/secret', 'a')", "PermissionError"),
        ("os.truncate('FOLDER/secret', 0)", "PermissionError"),
        ("os.remove('FOLDER/secret')", "PermissionError"),
        ("os.rename('FOLDER/secret', 'mine')", "PermissionError"),
        ("os.rename('folder/there', 'FOLDER/there')", "PermissionError"),
        ("os.link('FOLDER/secret', 'mine')", "OSError"),
        ("os.mkdir('FOLDER/new')", "PermissionError"),
        ("open('REAL', 'r+b')", "PermissionError"),
        ("os.remove('REAL')", "PermissionError"),
        ("open('/tmp/finalrip-test-escape', 'w')", "PermissionError"),
        ("open('/dev/shm/finalrip-test-escape', 'w')", "PermissionError"),
        ("open('/proc/self/oom_score_adj', 'w')", "PermissionError"),
        ("os.mknod('device', 0o020600, os.makedev(1, 3))", "PermissionError"),
    ];
    let source = bunny().display().to_string();
    expect(&place, &cases(&lines, &[("FOLDER", place.folder.display().to_string()), ("REAL", source)])).await;
    assert_eq!(fs::read_to_string(place.folder.join("secret")).unwrap(), "the token");
    assert_eq!(fs::read_to_string(place.cache().join("index")).unwrap(), "cache", "the cache stays");
}

pub(crate) async fn only_what_is_allowed_can_be_read() {
    let mut place = Place::new();
    let shown = place.folder.join("shown");
    fs::create_dir(&shown).unwrap();
    fs::write(shown.join("clip"), "clip").unwrap();
    place.scope.read.push(shown);
    let lines = [
        ("open(os.environ['FINALRIP_SOURCE'], 'rb').read(16)", "done"),
        ("open('FOLDER/shown/clip').read()", "done"),
        ("open('/proc/cpuinfo').read()", "done"),
        ("open('/dev/urandom', 'rb').read(8)", "done"),
        ("os.listdir('/usr/lib')", "done"),
        ("__import__('subprocess').run(['/bin/true'], check=True)", "done"),
        ("__import__('ctypes.util').util.find_library('c')", "done"),
        ("open('FOLDER/secret').read()", "PermissionError"),
        ("os.listdir('FOLDER')", "PermissionError"),
        ("os.listdir('FOLDER/scratch')", "PermissionError"),
        ("os.symlink('FOLDER/secret', 'alias')", "done"),
        ("open('alias').read()", "PermissionError"),
        ("shutil.copy('FOLDER/secret', 'copy')", "PermissionError"),
        ("os.listdir(os.path.dirname('REAL'))", "PermissionError"),
        ("open('/etc/shadow').read()", "PermissionError"),
        ("os.listdir('/')", "PermissionError"),
        ("os.listdir('/root')", "PermissionError"),
        ("os.listdir('/tmp')", "PermissionError"),
        ("open('/proc/SERVER/environ').read()", "PermissionError"),
        ("open('/proc/SERVER/mem', 'rb').read(1)", "PermissionError"),
        ("os.readlink('/proc/SERVER/fd/0')", "PermissionError"),
        ("open('/proc/SERVER/fd/0')", "PermissionError"),
        ("open('/proc/SERVER/root/etc/passwd').read()", "PermissionError"),
        ("open(f'/proc/{os.getppid()}/environ').read()", "PermissionError"),
        ("__import__('subprocess').run(['cat', '/proc/SERVER/environ'], check=True)", "CalledProcessError"),
        ("os.setuid(12345)", "PermissionError"),
    ];
    let names = [
        ("FOLDER", place.folder.display().to_string()),
        ("REAL", bunny().display().to_string()),
        ("SERVER", std::process::id().to_string()),
    ];
    expect(&place, &cases(&lines, &names)).await;
}

const NETWORK: [(&str, &str); 9] = [
    ("socket.create_connection(('127.0.0.1', PORT), 5)", "PermissionError"),
    ("socket.create_connection(('1.1.1.1', 80), 5)", "PermissionError"),
    ("socket.create_server(('127.0.0.1', 0))", "PermissionError"),
    // What goes past Landlock: multipath TCP, fast open, UDP, local services.
    ("socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(('127.0.0.1', PORT))", "PermissionError"),
    ("socket.socket().sendto(b'x', socket.MSG_FASTOPEN, ('127.0.0.1', PORT))", "PermissionError"),
    ("socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', ('::1', PORT))", "PermissionError"),
    ("socket.socket(socket.AF_UNIX).connect('FOLDER/service')", "PermissionError"),
    // io_uring_setup: a ring makes sockets without the call for it.
    (
        "(lambda c: (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')) if c.syscall(425, 1, bytes(120)) < 0 else 0)\
         (ctypes.CDLL(None, use_errno=True))",
        "PermissionError",
    ),
    ("(lambda pair: pair[0].send(b'x'))(socket.socketpair())", "done"),
];

pub(crate) async fn there_is_no_network() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let _service = UnixListener::bind(place.folder.join("service")).unwrap();
    expect(&place, &cases(&NETWORK, &[("PORT", port), ("FOLDER", place.folder.display().to_string())])).await;
}

pub(crate) async fn nobody_outside_can_be_signalled() {
    let place = Place::new();
    let name = format!("finalrip-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let lines = [
        ("os.kill(os.getppid(), 9)", "PermissionError"),
        ("os.kill(os.getppid(), 19)", "PermissionError"),
        ("os.kill(SERVER, 0)", "PermissionError"),
        ("os.kill(SERVER, 18)", "PermissionError"),
        ("os.kill(os.getpid(), 0)", "done"),
        ("socket.socket(socket.AF_UNIX).connect(chr(0) + 'NAME')", "PermissionError"),
    ];
    let names = [("SERVER", std::process::id().to_string()), ("NAME", name)];
    expect(&place, &cases(&lines, &names)).await;
}

/// Modes, owners, times and attributes: what may be changed without opening a file.
pub(crate) async fn files_keep_their_attributes() {
    let place = Place::new();
    let secret = place.folder.join("secret");
    let before = fs::metadata(&secret).unwrap();
    let lines = [
        ("os.chmod('FOLDER/secret', 0o4777)", "PermissionError"),
        ("os.chmod('FOLDER', 0)", "PermissionError"),
        ("os.chmod(os.environ['FINALRIP_SOURCE'], 0)", "PermissionError"),
        ("os.fchmod(os.open(os.environ['FINALRIP_SOURCE'], os.O_RDONLY), 0)", "PermissionError"),
        ("os.fchmod(os.open('/usr', os.O_RDONLY), 0)", "PermissionError"),
        ("os.utime('FOLDER/secret', (1, 1))", "PermissionError"),
        ("os.utime(os.open(os.environ['FINALRIP_SOURCE'], os.O_RDONLY), (1, 1))", "PermissionError"),
        ("libc('utime', b'FOLDER/secret', None)", "PermissionError"),
        ("os.chown('FOLDER/secret', 1, 1)", "PermissionError"),
        ("os.lchown('FOLDER/secret', -1, -1)", "PermissionError"),
        ("os.setxattr('FOLDER/secret', b'user.x', b'1')", "PermissionError"),
        ("os.setxattr(os.open(os.environ['FINALRIP_SOURCE'], os.O_RDONLY), b'user.x', b'1')", "PermissionError"),
        ("os.removexattr('FOLDER/secret', b'user.x')", "PermissionError"),
        // setxattrat, file_setattr: by number, on kernels that have them.
        ("libc('syscall', 463, -100, b'FOLDER/secret', 0, b'user.x', None, 0)", "PermissionError"),
        ("libc('syscall', 469, -100, b'FOLDER/secret', bytes(24), 24, 0)", "PermissionError"),
        // FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR.
        ("fcntl.ioctl(os.open('/usr', os.O_RDONLY), 0x40086602, bytes(8))", "PermissionError"),
        ("fcntl.ioctl(os.open('/usr', os.O_RDONLY), 0x401c5820, bytes(28))", "PermissionError"),
        ("libc('inotify_init')", "PermissionError"),
        ("libc('fanotify_init', 0, 0)", "PermissionError"),
    ];
    expect(&place, &cases(&lines, &[("FOLDER", place.folder.display().to_string())])).await;
    let after = fs::metadata(&secret).unwrap();
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()));
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
}

/// Limits and scheduling of others, and what processes share without a file.
pub(crate) async fn other_processes_are_out_of_reach() {
    let place = Place::new();
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let lines = [
        ("resource.prlimit(SERVER, resource.RLIMIT_NOFILE, (5, 5))", "PermissionError"),
        ("resource.prlimit(SERVER, resource.RLIMIT_CPU)", "PermissionError"),
        ("resource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (1, 1))", "PermissionError"),
        ("os.setpriority(os.PRIO_PROCESS, SERVER, 19)", "PermissionError"),
        ("os.setpriority(os.PRIO_USER, 0, 19)", "PermissionError"),
        ("os.setpriority(os.PRIO_PGRP, 0, 19)", "PermissionError"),
        ("os.sched_setaffinity(SERVER, {0})", "PermissionError"),
        ("os.sched_setscheduler(SERVER, os.SCHED_IDLE, os.sched_param(0))", "PermissionError"),
        ("os.sched_setparam(SERVER, os.sched_param(0))", "PermissionError"),
        ("libc('syscall', 251, 1, SERVER, 3 << 13)", "PermissionError"),
        ("libc('ptrace', 16, SERVER, 0, 0)", "PermissionError"),
        ("libc('process_vm_readv', SERVER, None, 0, None, 0, 0)", "PermissionError"),
        ("libc('shmget', 0, 4096, 0o1600)", "PermissionError"),
        ("libc('msgget', 0, 0o1600)", "PermissionError"),
        ("libc('semget', 0, 1, 0o1600)", "PermissionError"),
        ("libc('syscall', 240, b'finalrip', 0o102, 0o600, None)", "PermissionError"),
        ("libc('syscall', 248, b'user', b'x', b'x', 1, -3)", "PermissionError"),
        ("libc('unshare', 0x10000000)", "PermissionError"),
        ("socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)", "PermissionError"),
        ("socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)", "PermissionError"),
        // The same about itself is what libraries do.
        ("resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))", "done"),
        ("os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))", "done"),
        ("os.sched_setaffinity(0, os.sched_getaffinity(0))", "done"),
    ];
    expect(&place, &cases(&lines, &[("SERVER", std::process::id().to_string())])).await;
    assert_eq!(rustix::process::getrlimit(rustix::process::Resource::Nofile), files);
}

pub(crate) async fn limits_are_in_force() {
    let mut place = Place::new();
    place.options.limits.file_size = Some(1 << 20);
    place.options.limits.processes = Some(5000);
    place.options.limits.nice = 3;
    let mut process = place.start().await;
    let body = "import resource as r\n\
                limits = [r.getrlimit(which)[1] for which in (r.RLIMIT_CORE, r.RLIMIT_FSIZE, r.RLIMIT_NPROC)]\n\
                answer = [limits, int(open('/proc/self/oom_score_adj').read()), os.getcwd(), os.getpriority(0, 0)]";
    let answer = place.ask(&mut process, body).await;
    let scratch = process.scratch().display().to_string();
    let nice = (rustix::process::getpriority_process(None).unwrap() + 3).min(19);
    assert_eq!(answer, json!([[0, 1 << 20, 5000], 1000, scratch, nice]));
    let (reason, _) = died(place.outcome(&mut process, "open('big', 'wb').write(bytes(2 << 20))").await);
    assert!(reason.contains("SIGXFSZ: a file grew beyond the limit"), "{reason}");
    process.kill().await;
}

pub(crate) async fn the_environment_holds_nothing_of_the_servers() {
    let mut place = Place::new();
    place.options.environment.push(("SVT_LOG".into(), "0".into()));
    let mut process = place.start().await;
    // cargo's variables are in this process's environment.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() || std::env::var_os("HOME").is_some());
    let found = place.ask(&mut process, "answer = dict(os.environ)").await;
    let found = found.as_object().unwrap();
    let always = [
        "PATH",
        "HOME",
        "TMPDIR",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "LANG",
        "LC_ALL",
        "VSSCRIPT_PATH",
        "PYTHONUNBUFFERED",
        "PYTHONFAULTHANDLER",
        "PYTHONDONTWRITEBYTECODE",
        "SVT_LOG",
        "FINALRIP_SOURCE",
    ];
    let sometimes = ["TZ", "LD_LIBRARY_PATH", "RUST_LOG", "LC_CTYPE"];
    for name in always {
        assert!(found.contains_key(name), "{name} is missing: {found:?}");
    }
    for name in found.keys() {
        assert!(always.contains(&&**name) || sometimes.contains(&&**name), "{name} is not to be seen");
    }
    let scratch = Value::from(process.scratch().display().to_string());
    assert_eq!((&found["HOME"], &found["TMPDIR"], &found["SVT_LOG"]), (&scratch, &scratch, &json!("0")));
    assert_eq!(found["XDG_CACHE_HOME"], json!(place.cache().display().to_string()));
    process.kill().await;
}

pub(crate) async fn all_of_it_can_be_widened() {
    let mut place = Place::new();
    let [read, write] = ["read", "write"].map(|name| place.folder.join(name));
    fs::create_dir(&read).unwrap();
    fs::create_dir(&write).unwrap();
    fs::copy("/bin/true", read.join("program")).unwrap();
    place.options.confinement.read.push(read);
    place.options.confinement.write.push(write);
    place.options.confinement.network = true;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let lines = [
        ("os.listdir('FOLDER/read')", "done"),
        ("__import__('subprocess').run(['FOLDER/read/program'], check=True)", "done"),
        ("open('FOLDER/read/new', 'w')", "PermissionError"),
        ("open('FOLDER/write/new', 'w').write('new')", "done"),
        ("open('FOLDER/secret').read()", "PermissionError"),
        ("socket.create_connection(('127.0.0.1', PORT), 5)", "done"),
        ("socket.create_server(('127.0.0.1', 0))", "done"),
    ];
    expect(&place, &cases(&lines, &[("FOLDER", place.folder.display().to_string()), ("PORT", port)])).await;
}

pub(crate) async fn it_can_be_switched_off() {
    let mut place = Place::new();
    place.options.confinement.enabled = false;
    let lines = [("open('FOLDER/secret').read()", "done"), ("os.kill(SERVER, 0)", "done")];
    let names = [("FOLDER", place.folder.display().to_string()), ("SERVER", std::process::id().to_string())];
    expect(&place, &cases(&lines, &names)).await;
    let mut process = place.start().await;
    assert_eq!(*process.confined(), Confined::Off);
    assert_eq!(parent(parent(process.id())), std::process::id());
    let script = "a = 1".to_owned();
    assert_eq!(process.perform(&Order::Check { script }, &mut |_| {}).await.unwrap(), Answer::Checked);
    process.kill().await;
}
