//! What is read without a transition. Each is one read transaction, so that everything in an answer is of one moment.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::transaction::work_id;
use crate::task::error::LedgerError;
use crate::task::log::{LogEntry, LogPage};
use crate::task::records::{
    ClipProgress, Counters, FencingToken, LeaseInfo, TaskFilter, TaskId, TaskJob, TaskProgress, TaskRecord,
};
use crate::task::state::{TaskState, WorkState};
use crate::units::FrameRange;

const TASK: &str = "id, key, state, created_at, failure, result_bytes, script, command, slice, timeout_ms, queue";

/// All rows of a statement, which is kept prepared.
pub(super) fn all<T>(
    db: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn first<T>(
    db: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    db.prepare_cached(sql)?.query_row(values, |row| Ok(read(row))).optional()?.transpose()
}

/// The job in the five columns from this one on (script, command, slice, timeout, queue), once the task is started.
pub(super) fn job(row: &Row<'_>, from: usize) -> Result<Option<TaskJob>, Fault> {
    let Some(script) = row.get::<_, Option<String>>(from)? else { return Ok(None) };
    let (command, slice) = (row.get(from + 1)?, row.get(from + 2)?);
    let timeout = Duration::from_millis(row.get::<_, i64>(from + 3)?.unsigned_abs());
    let queue = row.get_ref(from + 4)?.as_str().map_err(rusqlite::Error::from)?.parse()?;
    Ok(Some(TaskJob { script, command, slice, timeout, queue }))
}

// By number, since these are read ten thousand times in a row: looking up names would take most of the time.
fn record(row: &Row<'_>) -> Result<TaskRecord, Fault> {
    Ok(TaskRecord {
        id: TaskId(row.get::<_, i64>(0)?.unsigned_abs()),
        key: row.get(1)?,
        state: row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?.parse()?,
        created_at: row.get(3)?,
        failure: row.get(4)?,
        result_bytes: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
        job: job(row, 6)?,
    })
}

pub(super) fn task(db: &Connection, key: &str) -> Result<TaskRecord, Fault> {
    let found = first(db, &format!("SELECT {TASK} FROM task WHERE key = ?1"), [key], record)?;
    Ok(found.ok_or(LedgerError::UnknownTask)?)
}

pub(super) fn progress(db: &mut Connection, key: &str) -> Result<TaskProgress, Fault> {
    let db = db.transaction()?;
    let task = task(&db, key)?;
    let id = task.id.0.cast_signed();
    let log = first(&db, "SELECT log FROM task WHERE id = ?1", [id], |row| Ok(row.get(0)?))?.flatten();
    let sql = "SELECT number, first, last, state, frames, fps, failures, interruptions, error, bytes FROM work
        WHERE task = ?1 AND kind = 'clip' ORDER BY number";
    let clips = all(&db, sql, [id], clip)?;
    Ok(TaskProgress { task, log, clips })
}

fn clip(row: &Row<'_>) -> Result<ClipProgress, Fault> {
    let state: WorkState = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?.parse()?;
    let failures: u32 = row.get(6)?;
    let present = u32::from(matches!(state, WorkState::Leased | WorkState::Completed));
    Ok(ClipProgress {
        index: row.get(0)?,
        range: FrameRange { start: row.get(1)?, end: row.get(2)? },
        state,
        frames: row.get(4)?,
        fps: row.get(5)?,
        attempts: failures.saturating_add(present),
        interruptions: row.get(7)?,
        error: row.get(8)?,
        bytes: row.get::<_, Option<i64>>(9)?.map(i64::unsigned_abs),
    })
}

pub(super) fn list(db: &Connection, filter: &TaskFilter) -> Result<Vec<TaskRecord>, Fault> {
    // Ids only grow, also when the wall clock is set back.
    let bound = |task: Option<TaskId>, none| task.map_or(none, |task| i64::try_from(task.0).unwrap_or(i64::MAX));
    let (before, from) = (bound(filter.before, i64::MAX), bound(filter.from, 0));
    let wanted = |state: &TaskState| filter.states.contains(state).then(|| format!("'{state}'"));
    let states = TaskState::ALL.iter().filter_map(wanted).collect::<Vec<_>>().join(", ");
    // Only ids are sorted, out of the index; the rows with their scripts are then read in that order.
    let ids =
        format!("SELECT id FROM task WHERE state IN ({states}) AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3");
    let sql = format!("SELECT {TASK} FROM task WHERE id IN ({ids}) ORDER BY id DESC");
    all(db, &sql, params![before, from, filter.limit], record)
}

pub(super) fn log(db: &mut Connection, key: &str, after: u64, limit: u32) -> Result<LogPage, Fault> {
    let db = db.transaction()?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let sql = "SELECT id, log_dropped FROM task WHERE key = ?1";
    let found = first(&db, sql, [key], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let (task, dropped) = found.ok_or(LedgerError::UnknownTask)?;
    let sql = "SELECT id, at, happening FROM entry WHERE task = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
    let entries = all(&db, sql, params![task, after, limit], |row| {
        let text: String = row.get("happening")?;
        let happening = serde_json::from_str(&text).map_err(|error| LedgerError::Internal(error.to_string()))?;
        Ok(LogEntry { id: row.get::<_, i64>("id")?.unsigned_abs(), at: row.get("at")?, happening })
    })?;
    Ok(LogPage { entries, missed: after < dropped })
}

pub(super) fn leases(db: &Connection, now: i64) -> Result<Vec<LeaseInfo>, Fault> {
    let sql = "SELECT token, task, key, kind, number, worker, deadline FROM work JOIN task ON task.id = work.task
        WHERE deadline IS NOT NULL ORDER BY token";
    all(db, sql, (), |row| {
        let left = row.get::<_, i64>("deadline")?.saturating_sub(now);
        Ok(LeaseInfo {
            token: FencingToken(row.get::<_, i64>("token")?.unsigned_abs()),
            task: TaskId(row.get::<_, i64>("task")?.unsigned_abs()),
            key: row.get("key")?,
            work: work_id(row)?,
            worker: row.get("worker")?,
            expires_in: Duration::from_millis(u64::try_from(left).unwrap_or(0)),
        })
    })
}

pub(super) fn counters(db: &mut Connection) -> Result<Counters, Fault> {
    let db = db.transaction()?;
    let mut counters = Counters::default();
    let number = |row: &Row<'_>, column| -> Result<u64, Fault> { Ok(row.get::<_, i64>(column)?.unsigned_abs()) };
    let sql = "SELECT rank, count(*) FROM work WHERE state = 'queued' GROUP BY rank";
    for (rank, count) in all(&db, sql, (), |row| Ok((row.get::<_, i64>(0)?, number(row, 1)?)))? {
        match rank {
            0 => counters.queued_priority = count,
            1 => counters.queued_default = count,
            _ => counters.queued_background = count,
        }
    }
    let leased = "SELECT count(*) FROM work WHERE deadline IS NOT NULL";
    counters.leased = first(&db, leased, (), |row| number(row, 0))?.unwrap_or_default();
    let totals = all(&db, "SELECT name, value FROM number", (), |row| Ok((row.get::<_, String>(0)?, number(row, 1)?)))?;
    for (name, value) in totals {
        match name.as_str() {
            "leases" => counters.leases_total = value,
            "completed" => counters.completed_total = value,
            "failures" => counters.failures_total = value,
            "expired" => counters.expired_total = value,
            "retries" => counters.retries_total = value,
            "given_back" => counters.given_back_total = value,
            "interrupted" => counters.interrupted_total = value,
            _ => {}
        }
    }
    Ok(counters)
}
