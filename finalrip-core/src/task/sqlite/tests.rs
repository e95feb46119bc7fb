use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use super::SqliteLedger;
use crate::task::kit::{Engine, block_on};
use crate::task::{
    Clock, Ledger, LedgerError, LedgerOptions, LedgerResult, SystemClock, TaskFilter, TaskState, WorkId,
};

mod crash;

mod memory {
    use super::*;

    struct Memory;

    impl Engine for Memory {
        fn open(&self, options: LedgerOptions, clock: Arc<dyn Clock>) -> LedgerResult<Arc<dyn Ledger>> {
            Ok(Arc::new(SqliteLedger::in_memory(options, clock)?))
        }

        fn persistent(&self) -> bool {
            false
        }
    }

    crate::ledger_kit!(Memory);
}

mod file {
    use super::*;

    struct InFolder(TempDir);

    impl Engine for InFolder {
        fn open(&self, options: LedgerOptions, clock: Arc<dyn Clock>) -> LedgerResult<Arc<dyn Ledger>> {
            Ok(Arc::new(SqliteLedger::open(self.0.path().join("ledger.sqlite"), options, clock)?))
        }

        fn persistent(&self) -> bool {
            true
        }
    }

    crate::ledger_kit!(InFolder(TempDir::new().unwrap()));
}

fn open(path: &Path) -> LedgerResult<SqliteLedger> {
    SqliteLedger::open(path, LedgerOptions::default(), Arc::new(SystemClock::new()))
}

fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.sqlite");
    (folder, path)
}

#[test]
fn a_second_process_is_kept_away_until_the_first_is_gone() {
    let (_folder, path) = place();
    let first = open(&path).unwrap();
    assert_eq!(open(&path).unwrap_err(), LedgerError::InUse { path: path.clone() });
    drop(first);
    assert!(open(&path).is_ok());
}

#[test]
fn what_is_leased_is_told_at_the_next_start() {
    let (_folder, path) = place();
    let ledger = open(&path).unwrap();
    assert_eq!(ledger.recovery().interrupted, []);
    block_on(ledger.create("K")).unwrap();
    block_on(ledger.lease_next("w")).unwrap().unwrap();
    drop(ledger);
    assert_eq!(open(&path).unwrap().recovery().interrupted, [("K".to_owned(), WorkId::Index)]);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let (_folder, path) = place();
    drop(open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(error, LedgerError::NewerSchema { path: path.clone(), found: 99, known: 1 });
    assert!(error.to_string().contains("use the version that wrote it, or a newer one"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let (_folder, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(open(&path).unwrap_err(), LedgerError::Foreign { path: path.clone() });
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn damage_is_found_at_the_start() {
    let (_folder, path) = place();
    fs::write(&path, b"this is no database at all, but it is long enough to be looked at as one").unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(".recover"), "{error}");

    fs::remove_file(&path).unwrap();
    let ledger = open(&path).unwrap();
    for task in 0..200 {
        block_on(ledger.create(&format!("a task with a longer name {task}"))).unwrap();
    }
    drop(ledger);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(open(&path).unwrap_err(), LedgerError::Corrupt { .. }));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = open(Path::new("/nowhere/at/all/ledger.sqlite")).unwrap_err();
    assert!(matches!(error, LedgerError::Storage { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/at/all/ledger.sqlite"), "{error}");
}

#[test]
fn a_full_disk_changes_nothing_and_is_survived() {
    let (_folder, path) = place();
    let ledger = open(&path).unwrap();
    block_on(ledger.create("before")).unwrap();
    let limit = |pages: i64| {
        let set = move |db: &mut Connection| {
            db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
            Ok(())
        };
        block_on(ledger.writer.run(set, |_, ()| {})).unwrap();
    };
    limit(1);
    let long = "x".repeat(1000);
    let full = (0..50).find_map(|task| block_on(ledger.create(&format!("{long}{task}"))).err()).unwrap();
    assert!(matches!(full, LedgerError::Full { .. }), "{full}");
    assert!(full.to_string().contains("free some, and it goes on where it was"));
    let listed = block_on(ledger.list(TaskFilter::states(TaskState::ALL))).unwrap().len();
    limit(1 << 20);
    block_on(ledger.create("after")).unwrap();
    assert_eq!(block_on(ledger.list(TaskFilter::states(TaskState::ALL))).unwrap().len(), listed + 1);
}

#[test]
fn a_lock_that_stays_is_told_and_survived() {
    let (_folder, path) = place();
    let ledger = open(&path).unwrap();
    let impatient = |db: &mut Connection| {
        db.busy_timeout(std::time::Duration::from_millis(20)).unwrap();
        Ok(())
    };
    block_on(ledger.writer.run(impatient, |_, ()| {})).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(block_on(ledger.create("K")).unwrap_err(), LedgerError::Locked { .. }));
    assert_eq!(block_on(ledger.list(TaskFilter::states(TaskState::ALL))).unwrap(), [], "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    block_on(ledger.create("K")).unwrap();
}

#[test]
fn options_out_of_range_are_refused() {
    let memory = |options| SqliteLedger::in_memory(options, Arc::new(SystemClock::new())).err();
    let options = LedgerOptions { attempts: 0, ..LedgerOptions::default() };
    assert_eq!(memory(options).unwrap().to_string(), "attempts cannot be used: at least 1 is needed");
    assert!(memory(LedgerOptions { lease: std::time::Duration::ZERO, ..LedgerOptions::default() }).is_some());
    assert!(memory(LedgerOptions { log_entries: 0, ..LedgerOptions::default() }).is_some());
}

#[test]
fn transitions_reach_the_disk_and_heartbeats_need_not() {
    let (_folder, path) = place();
    let ledger = open(&path).unwrap();
    block_on(ledger.create("K")).unwrap();
    let lease = block_on(ledger.lease_next("w")).unwrap().unwrap();
    block_on(ledger.heartbeat(lease.token, Default::default())).unwrap();
    let look = |db: &mut Connection| {
        let mode: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        let number = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        Ok((mode, number("synchronous"), number("foreign_keys")))
    };
    let settings = block_on(ledger.writer.run(look, |_, _| {})).unwrap();
    assert_eq!(settings, ("wal".to_owned(), 2, 1));
}

#[test]
fn the_busiest_questions_are_answered_from_an_index() {
    let (_folder, path) = place();
    let _ledger = open(&path).unwrap();
    let db = Connection::open(&path).unwrap();
    let plan = |sql: &str| -> String {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.query_map((), |row| row.get::<_, String>("detail")).unwrap();
        steps.map(|step| step.unwrap()).collect::<Vec<_>>().join("; ")
    };
    for (sql, index) in [
        ("SELECT id FROM work WHERE state = 'queued' ORDER BY rank, ordinal, number LIMIT 1", "work_next"),
        ("SELECT rank, count(*) FROM work WHERE state = 'queued' GROUP BY rank", "COVERING INDEX work_next"),
        ("SELECT token FROM work WHERE deadline <= 5 ORDER BY deadline, token", "work_overdue"),
        (
            "SELECT 1 FROM work INDEXED BY work_unfinished WHERE task = 1 AND kind = 'clip' AND state <> 'completed'",
            "work_unfinished",
        ),
        ("SELECT * FROM work WHERE token = 5 AND state = 'leased'", "(token=?)"),
        ("SELECT * FROM work WHERE task = 1 AND kind = 'clip' ORDER BY number", "(task=? AND kind=?)"),
        (
            "SELECT * FROM task WHERE id IN (SELECT id FROM task WHERE state IN ('failed', 'pending') AND id < 9
                ORDER BY id DESC LIMIT 5) ORDER BY id DESC",
            "COVERING INDEX task_by_state",
        ),
    ] {
        let steps = plan(sql);
        // Sorting ids is no matter; sorting rows would be.
        let sorts = steps.matches("TEMP B-TREE FOR ORDER").count();
        assert!(steps.contains(index) && sorts <= steps.matches("SUBQUERY").count(), "{sql}: {steps}");
    }
}
