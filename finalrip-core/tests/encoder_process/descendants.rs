//! What a script starts ends with it, wherever it went.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use finalrip_core::task::{EncoderProcess, sweep_scratch};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use crate::shared::{Place, died, is_alive, parent, until};

/// Forks in every way that leaves a group, a session, or a parent behind; each process notes itself.
const FORKS: &str = r"
import os, subprocess, time
def note(pid):
    with open(os.environ['XDG_CACHE_HOME'] + '/pids', 'a') as pids:
        pids.write(f'{pid}\n')
def start(*steps):
    if os.fork():
        return
    for step in steps:
        if step == 'session':
            os.setsid()
        elif os.fork():
            os._exit(0)
    note(os.getpid())
    time.sleep(600)
    os._exit(0)
start()
start('session')
start('fork')
start('session', 'fork')
start('fork', 'session', 'fork', 'session')
note(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)
while sum(1 for _ in open(os.environ['XDG_CACHE_HOME'] + '/pids')) < 6:
    time.sleep(0.01)
";

fn pids(place: &Place) -> Vec<u32> {
    let text = fs::read_to_string(place.cache().join("pids")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn none_lives(pids: &[u32]) -> bool {
    pids.len() == 6 && !pids.iter().any(|&pid| is_alive(pid))
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// A process whose script has forked and does not end.
async fn forked(place: &Place) -> EncoderProcess {
    let mut process = place.start().await;
    let script = format!("{FORKS}\nwhile True: time.sleep(1)");
    {
        let mut endless = std::pin::pin!(place.outcome(&mut process, &script));
        for _ in 0..200 {
            assert!(timeout(Duration::from_millis(50), &mut endless).await.is_err(), "it does not end");
            if pids(place).len() == 6 {
                break;
            }
        }
    }
    assert!(pids(place).iter().all(|&pid| is_alive(pid)) && pids(place).len() == 6);
    process
}

pub(crate) async fn nothing_that_was_forked_survives_a_kill() {
    let place = Place::new();
    let process = forked(&place).await;
    process.kill().await;
    assert!(none_lives(&pids(&place)), "{:?}", pids(&place));
    assert_eq!(place.scratches(), [""; 0]);
}

pub(crate) async fn nothing_survives_the_encoders_own_end() {
    let place = Place::new();
    let mut process = place.start().await;
    let (reason, _) = died(place.outcome(&mut process, &format!("{FORKS}\nos._exit(0)")).await);
    assert!(reason.contains("status 0"), "{reason}");
    assert!(none_lives(&pids(&place)), "it is said when nothing is left: {:?}", pids(&place));
    assert!(process.scratch().is_dir(), "it is there until the process is let go");
    process.kill().await;
    assert_eq!(place.scratches(), [""; 0]);
}

pub(crate) async fn what_forks_and_ends_without_pause_is_ended() {
    let place = Place::new();
    let mut process = place.start().await;
    let script = r"
import os
if os.fork() == 0:
    note = os.open(os.environ['XDG_CACHE_HOME'] + '/chain', os.O_RDWR | os.O_CREAT)
    while True:
        if os.fork():
            os._exit(0)
        os.setsid()
        os.pwrite(note, b'%20d' % os.getpid(), 0)
while True: pass
";
    let chain = place.cache().join("chain");
    let now = || fs::read_to_string(&chain).unwrap_or_default();
    assert!(timeout(Duration::from_secs(2), place.outcome(&mut process, script)).await.is_err());
    let before = now();
    assert!(!before.is_empty());
    until("it goes on", || now() != before).await;
    process.kill().await;
    let after = now();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(now(), after, "it has ended");
    assert!(!is_alive(after.trim().parse().unwrap()));
}

pub(crate) async fn a_dropped_process_is_gone_a_moment_later() {
    let place = Place::new();
    let process = forked(&place).await;
    let id = process.id();
    drop(process);
    until("everything is gone", || !is_alive(id) && none_lives(&pids(&place)) && place.scratches().is_empty()).await;
}

/// Not a test: a server whose script forks and does not end. Its folder is its second argument.
pub(crate) async fn the_server() {
    let folder = std::env::args().nth(2).unwrap();
    let place = Place::at(Path::new(&folder));
    let process = forked(&place).await;
    fs::write(place.folder.join("encoder"), process.id().to_string()).unwrap();
    sleep(Duration::from_secs(600)).await;
    drop(process);
}

/// A server in a process of its own, and its encoder's process identifier.
async fn server(place: &Place) -> (Child, u32) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let server = command.arg("server").arg(&place.folder).stdin(Stdio::null()).spawn().unwrap();
    let encoder = || fs::read_to_string(place.folder.join("encoder")).ok()?.parse().ok();
    until("the server's script has forked", || encoder().is_some()).await;
    (server, encoder().unwrap())
}

pub(crate) async fn nothing_survives_the_servers_end() {
    let place = Place::new();
    let (mut server, encoder) = server(&place).await;
    let guardian = parent(encoder);
    assert_eq!(parent(guardian), server.id());
    server.kill().unwrap();
    server.wait().unwrap();
    until("everything is gone", || {
        !is_alive(encoder) && !is_alive(guardian) && none_lives(&pids(&place)) && place.scratches().is_empty()
    })
    .await;
}

pub(crate) async fn the_death_of_the_guardian_is_seen_and_cleaned_up_after() {
    let place = Place::new();
    let mut process = place.start().await;
    let guardian = parent(process.id());
    let script = format!("{FORKS}\nwhile True: time.sleep(1)");
    let died = died({
        let endless = place.outcome(&mut process, &script);
        let killer = async {
            until("the script has forked", || pids(&place).len() == 6).await;
            kill(guardian);
            std::future::pending::<()>().await;
        };
        let (endless, killer) = (std::pin::pin!(endless), std::pin::pin!(killer));
        match futures_util::future::select(endless, killer).await {
            futures_util::future::Either::Left((outcome, _)) => outcome,
            futures_util::future::Either::Right(_) => unreachable!(),
        }
    });
    assert!(died.0.contains("guards the encoder process was killed by signal 9"), "{}", died.0);
    until("all that was killed has ended", || none_lives(&pids(&place)) && !is_alive(process.id())).await;
    process.kill().await;
    assert_eq!(place.scratches(), [""; 0]);
}

pub(crate) async fn leftovers_of_a_dead_server_are_swept() {
    let place = Place::new();
    let (mut server, encoder) = server(&place).await;
    let stop = Pid::from_raw(server.id().try_into().unwrap()).unwrap();
    // So that it does not notice that the guardian goes first.
    kill_process(stop, Signal::STOP).unwrap();
    kill(parent(encoder));
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(place.scratches().len(), 1);
    assert!(!none_lives(&pids(&place)));
    assert_eq!(sweep_scratch(&place.options.scratch).unwrap(), 1);
    assert_eq!(place.scratches(), [""; 0]);
    until("all that was killed has ended", || none_lives(&pids(&place))).await;
    assert_eq!(sweep_scratch(&place.options.scratch).unwrap(), 0);
    assert_eq!(sweep_scratch(Path::new("/nowhere")).unwrap(), 0);
}
