//! The process is killed at any moment: what it said was done is done, and nothing is half done.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::open;
use crate::task::kit::block_on;
use crate::task::{
    EncodedClip, Ledger, LedgerOptions, Outcome, Queue, SqliteLedger, SystemClock, TaskJob, TaskPlan, TaskState, Work,
    WorkState,
};

/// Where the child process finds its ledger; without it the child's test does nothing.
const PLACE: &str = "FINALRIP_TEST_LEDGER";
const CLIPS: u32 = 2000;

fn job() -> TaskJob {
    let (script, command) = (String::new(), String::new());
    TaskJob { script, command, slice: true, timeout: Duration::from_secs(1), queue: Queue::Default }
}

fn outcome(work: &Work) -> Outcome {
    match work {
        Work::Index => Outcome::Indexed,
        Work::Plan { .. } => {
            let clips = (0..CLIPS).map(|index| (index..index + 1).into()).collect();
            Outcome::Planned(TaskPlan { clips, record: String::new() })
        }
        Work::Clip { .. } => Outcome::Encoded(EncodedClip { bytes: 1, record: String::new() }),
        Work::Merge { .. } => Outcome::Merged { bytes: 1 },
    }
}

/// Not a test by itself: the process that is killed. It tells each clip once the ledger says that it is complete.
#[test]
fn the_child_that_is_killed() {
    let Some(path) = env::var_os(PLACE) else { return };
    let ledger = SqliteLedger::open(path, LedgerOptions::default(), Arc::new(SystemClock::new())).unwrap();
    while let Some(lease) = block_on(ledger.lease_next("child")).unwrap() {
        block_on(ledger.complete(lease.token, outcome(&lease.work))).unwrap();
        if let Work::Clip { index, .. } = lease.work {
            println!("\ndone {index}");
        }
    }
}

fn child(path: &Path) -> Child {
    let name = "task::sqlite::tests::crash::the_child_that_is_killed";
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(PLACE, path);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_killed_process_loses_nothing_that_it_said_was_done() {
    let (_folder, path) = super::place();
    let ledger = open(&path).unwrap();
    block_on(ledger.create("K")).unwrap();
    block_on(ledger.start("K", job())).unwrap();
    drop(ledger);
    let mut told = BTreeSet::new();
    let mut interrupted = 0;
    for kill in 0..8_usize {
        let mut child = child(&path);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // At a different place in the transactions each time.
        let mut done = lines.filter_map(|line| line.strip_prefix("done ").and_then(|index| index.parse::<u32>().ok()));
        told.extend(done.by_ref().take(3 + kill));
        std::thread::sleep(Duration::from_micros(700 * kill as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        told.extend(done);

        let ledger = open(&path).unwrap();
        interrupted += ledger.recovery().interrupted.len();
        let progress = block_on(ledger.progress("K")).unwrap();
        let finished = progress.clips.iter().filter(|clip| clip.state == WorkState::Completed);
        let finished: BTreeSet<u32> = finished.map(|clip| clip.index).collect();
        assert!(told.is_subset(&finished), "{:?} are lost", told.difference(&finished));
        assert!(finished.len() <= told.len() + kill + 1, "at most the one clip that it could not tell, for each kill");
        assert!(progress.clips.iter().all(|clip| clip.attempts <= 1));
        assert_eq!((progress.clips.len(), progress.task.state), (CLIPS as usize, TaskState::Encoding));
        assert!(block_on(ledger.leases()).unwrap().is_empty());
    }
    println!("{interrupted} leases were held when the process was killed");
}
