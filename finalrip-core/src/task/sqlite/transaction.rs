//! One transaction: the steps that the transitions are made of.

use std::cell::RefCell;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, named_params, params};

use super::fault::Fault;
use crate::task::clock::Clock;
use crate::task::error::LedgerError;
use crate::task::ledger::LedgerOptions;
use crate::task::log::Happening;
use crate::task::records::{FencingToken, Queue, TaskId, WorkId};
use crate::task::state::{TaskEvent, TaskState, WorkEvent, WorkState};

/// A transaction that holds the database's write lock, and what is the same for all of it.
pub(super) struct Transaction<'a> {
    pub(super) db: rusqlite::Transaction<'a>,
    pub(super) options: LedgerOptions,
    /// [`Clock::elapsed`] in milliseconds.
    pub(super) now: i64,
    wall: i64,
    /// The tasks whose records have changed, come or gone.
    records: RefCell<Vec<TaskId>>,
}

/// What a transaction came to.
pub(super) struct Transacted<T> {
    pub(super) value: T,
    /// The tasks whose records have changed, come or gone.
    pub(super) records: Vec<TaskId>,
}

/// A task, as far as transitions look at it.
#[derive(Debug, Clone)]
pub(super) struct TaskRow {
    pub(super) id: i64,
    pub(super) key: String,
    pub(super) state: TaskState,
}

/// A piece of work, as far as transitions look at it.
#[derive(Debug, Clone)]
pub(super) struct WorkRow {
    pub(super) id: i64,
    pub(super) task: i64,
    pub(super) work: WorkId,
    pub(super) state: WorkState,
    pub(super) failures: u32,
}

/// Work of tasks that are not started waits behind both queues.
pub(super) const BACKGROUND: i64 = 2;

/// A queue's place among the queues.
pub(super) fn rank(queue: Queue) -> i64 {
    match queue {
        Queue::Priority => 0,
        Queue::Default => 1,
    }
}

/// How a piece of work is named in the table: its kind and its number.
pub(super) fn columns(work: WorkId) -> (&'static str, u32) {
    match work {
        WorkId::Index => ("index", 0),
        WorkId::Plan => ("plan", 0),
        WorkId::Clip(index) => ("clip", index),
        WorkId::Merge => ("merge", 0),
    }
}

/// The work that the columns of this name stand for.
pub(super) fn work_id(row: &Row<'_>) -> Result<WorkId, Fault> {
    let kind: String = row.get("kind")?;
    Ok(match kind.as_str() {
        "index" => WorkId::Index,
        "plan" => WorkId::Plan,
        "clip" => WorkId::Clip(row.get("number")?),
        "merge" => WorkId::Merge,
        other => return Err(LedgerError::Internal(format!("work of the kind {other}")).into()),
    })
}

impl TaskRow {
    fn read(row: &Row<'_>) -> Result<Self, Fault> {
        let state: String = row.get("state")?;
        Ok(Self { id: row.get("id")?, key: row.get("key")?, state: state.parse()? })
    }
}

impl WorkRow {
    pub(super) const COLUMNS: &str = "work.id, task, kind, number, work.state, failures";

    pub(super) fn read(row: &Row<'_>) -> Result<Self, Fault> {
        let state: String = row.get("state")?;
        let (id, task, failures) = (row.get("id")?, row.get("task")?, row.get("failures")?);
        Ok(Self { id, task, work: work_id(row)?, state: state.parse()?, failures })
    }
}

/// Runs `steps` in one transaction: all of it happens, or nothing.
pub(super) fn transact<T>(
    db: &mut Connection,
    options: LedgerOptions,
    clock: &dyn Clock,
    steps: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
) -> Result<Transacted<T>, Fault> {
    let now = i64::try_from(clock.elapsed().as_millis()).unwrap_or(i64::MAX);
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let transaction = Transaction { db, options, now, wall: clock.unix_millis(), records: RefCell::default() };
    let value = steps(&transaction)?;
    transaction.db.commit()?;
    Ok(Transacted { value, records: transaction.records.take() })
}

impl Transaction<'_> {
    /// Runs a statement, which is kept prepared.
    pub(super) fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, Fault> {
        Ok(self.db.prepare_cached(sql)?.execute(values)?)
    }

    /// Runs a statement that changes, makes or deletes the [`TaskRecord`](crate::task::records::TaskRecord) of a task, and
    /// keeps that in mind.
    pub(super) fn change_record(&self, task: i64, sql: &str, values: impl rusqlite::Params) -> Result<(), Fault> {
        self.execute(sql, values)?;
        self.record_changed(task);
        Ok(())
    }

    pub(super) fn record_changed(&self, task: i64) {
        self.records.borrow_mut().push(TaskId(task.unsigned_abs()));
    }

    /// The first row, if there is one.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let mut statement = self.db.prepare_cached(sql)?;
        let row = statement.query_row(values, |row| Ok(read(row))).optional()?;
        row.transpose()
    }

    /// All rows.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl Fn(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        super::read::all(&self.db, sql, values, read)
    }

    /// The next of the numbers that only grow.
    pub(super) fn next_number(&self) -> Result<i64, Fault> {
        let sql = "UPDATE number SET value = value + 1 WHERE name = 'sequence' RETURNING value";
        Ok(self.db.prepare_cached(sql)?.query_row((), |row| row.get(0))?)
    }

    /// Adds to a total.
    pub(super) fn count(&self, name: &str, more: usize) -> Result<(), Fault> {
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        if more == 0 {
            return Ok(());
        }
        let changed = self.execute("UPDATE number SET value = value + ?2 WHERE name = ?1", params![name, more])?;
        debug_assert_eq!(changed, 1, "there is no total {name}");
        Ok(())
    }

    /// The task with this key.
    pub(super) fn find(&self, key: &str) -> Result<Option<TaskRow>, Fault> {
        self.first("SELECT id, key, state FROM task WHERE key = ?1", [key], TaskRow::read)
    }

    /// The task with this key, or [`LedgerError::UnknownTask`].
    pub(super) fn known(&self, key: &str) -> Result<TaskRow, Fault> {
        Ok(self.find(key)?.ok_or(LedgerError::UnknownTask)?)
    }

    /// The task with this id.
    pub(super) fn task(&self, id: i64) -> Result<Option<TaskRow>, Fault> {
        self.first("SELECT id, key, state FROM task WHERE id = ?1", [id], TaskRow::read)
    }

    /// A piece of a task's work.
    pub(super) fn work(&self, task: &TaskRow, work: WorkId) -> Result<Option<WorkRow>, Fault> {
        let (kind, number) = columns(work);
        let sql = format!("SELECT {} FROM work WHERE task = ?1 AND kind = ?2 AND number = ?3", WorkRow::COLUMNS);
        self.first(&sql, params![task.id, kind, number], WorkRow::read)
    }

    /// The leased work of a token and its task, or [`LedgerError::LeaseLost`].
    pub(super) fn leased(&self, token: FencingToken) -> Result<(TaskRow, WorkRow), Fault> {
        let lost = || Fault::from(LedgerError::LeaseLost { token });
        let sql = format!("SELECT {} FROM work WHERE token = ?1 AND state = 'leased'", WorkRow::COLUMNS);
        let work = self.first(&sql, [stored(token)], WorkRow::read)?.ok_or_else(lost)?;
        let task = self.task(work.task)?.ok_or_else(lost)?;
        Ok((task, work))
    }

    /// Whether every clip is complete; a task without clips has none to wait for.
    pub(super) fn all_complete(&self, task: &TaskRow) -> Result<bool, Fault> {
        let sql = "SELECT 1 FROM work INDEXED BY work_unfinished
            WHERE task = ?1 AND kind = 'clip' AND state <> 'completed' LIMIT 1";
        Ok(self.first(sql, [task.id], |_| Ok(()))?.is_none())
    }

    /// Moves a task along the table of [`TaskState`], and notes it. `reason` is kept while it has failed.
    pub(super) fn move_task(&self, task: &mut TaskRow, event: TaskEvent, reason: Option<&str>) -> Result<(), Fault> {
        let refused = |_| LedgerError::NotNow { state: task.state };
        let state = task.state.after(event).map_err(refused)?;
        if state == task.state {
            return Ok(());
        }
        let sql = "UPDATE task SET state = ?2, failure = ?3, log = NULL,
            result_bytes = CASE WHEN ?2 IN ('planning', 'clearing') THEN NULL ELSE result_bytes END WHERE id = ?1";
        self.change_record(task.id, sql, params![task.id, state.as_str(), reason])?;
        task.state = state;
        self.note(task.id, &Happening::State { state, reason: reason.map(str::to_owned) })
    }

    /// Moves work along the table of [`WorkState`], and ends its lease. (A lease begins in `lease`.)
    pub(super) fn move_work(&self, work: &WorkRow, event: WorkEvent) -> Result<WorkState, Fault> {
        let internal = |refused| LedgerError::Internal(format!("{:?}: {refused}", work.work));
        let state = work.state.after(event).map_err(internal)?;
        let sql = "UPDATE work SET state = :state, deadline = NULL, worker = NULL,
            token = CASE WHEN :state = 'completed' THEN token END,
            frames = CASE WHEN :state = 'completed' THEN last - first ELSE 0 END,
            fps = CASE WHEN :state = 'completed' THEN fps ELSE 0 END WHERE id = :id";
        self.execute(sql, named_params! { ":state": state.as_str(), ":id": work.id })?;
        Ok(state)
    }

    /// The event [`WorkEvent::Stop`] for everything of a task.
    pub(super) fn stop_all(&self, task: &TaskRow) -> Result<(), Fault> {
        let sql = "UPDATE work SET state = 'stopped', deadline = NULL, worker = NULL, token = NULL, frames = 0, fps = 0
            WHERE task = ?1 AND state IN ('queued', 'leased')";
        self.execute(sql, [task.id])?;
        Ok(())
    }

    /// Queues work with all its attempts: new work, or the event [`WorkEvent::Retry`] for what is there.
    pub(super) fn queue(&self, task: &TaskRow, work: WorkId) -> Result<(), Fault> {
        let (kind, number) = columns(work);
        let sql = "INSERT INTO work (task, kind, number, state, rank, ordinal)
            SELECT id, ?2, ?3, 'queued', CASE queue WHEN 'priority' THEN 0 WHEN 'default' THEN 1 ELSE ?4 END, ordinal
            FROM task WHERE id = ?1
            ON CONFLICT (task, kind, number) DO UPDATE SET state = 'queued', failures = 0, interruptions = 0,
                deadline = NULL, worker = NULL, token = NULL, frames = 0, fps = 0, bytes = NULL, error = NULL,
                record = NULL, rank = excluded.rank, ordinal = excluded.ordinal";
        self.execute(sql, params![task.id, kind, number, BACKGROUND])?;
        Ok(())
    }

    /// Queues what has become possible, and gives the task's state.
    pub(super) fn go_on(&self, task: &mut TaskRow) -> Result<TaskState, Fault> {
        match task.state {
            TaskState::Planning => {
                let index = self.work(task, WorkId::Index)?;
                let waiting = index.is_some_and(|index| matches!(index.state, WorkState::Queued | WorkState::Leased));
                if !waiting {
                    self.queue(task, WorkId::Plan)?;
                }
            }
            TaskState::Encoding if self.all_complete(task)? => {
                self.move_task(task, TaskEvent::Encoded, None)?;
                self.queue(task, WorkId::Merge)?;
            }
            _ => {}
        }
        Ok(task.state)
    }

    /// Adds an entry to a task's log, and drops the oldest ones when there are twice as many as are to be kept.
    pub(super) fn note(&self, task: i64, happening: &Happening) -> Result<(), Fault> {
        let internal = |error: serde_json::Error| LedgerError::Internal(error.to_string());
        let text = serde_json::to_string(happening).map_err(internal)?;
        let id = self.next_number()?;
        self.execute("INSERT INTO entry VALUES (?1, ?2, ?3, ?4)", params![task, id, self.wall, text])?;
        let sql = "UPDATE task SET log_entries = log_entries + 1 WHERE id = ?1 RETURNING log_entries";
        let entries: i64 = self.db.prepare_cached(sql)?.query_row([task], |row| row.get(0))?;
        if entries >= 2 * i64::from(self.options.log_entries) { self.prune(task) } else { Ok(()) }
    }

    fn prune(&self, task: i64) -> Result<(), Fault> {
        let keep = self.options.log_entries;
        let sql = "UPDATE task SET log_entries = ?2, log_dropped =
            (SELECT id FROM entry WHERE task = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2) WHERE id = ?1";
        self.execute(sql, params![task, keep])?;
        let sql = "DELETE FROM entry WHERE task = ?1 AND id <= (SELECT log_dropped FROM task WHERE id = ?1)";
        self.execute(sql, [task])?;
        Ok(())
    }

    /// The wall clock, in milliseconds since 1970.
    pub(super) fn wall(&self) -> i64 {
        self.wall
    }

    /// When a lease that begins or is renewed now is overdue, in milliseconds of the clock.
    pub(super) fn deadline(&self) -> i64 {
        self.now.saturating_add(i64::try_from(self.options.lease.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A token as SQLite holds it. Tokens are given out by SQLite, so that larger ones are none of ours.
pub(super) fn stored(token: FencingToken) -> i64 {
    i64::try_from(token.0).unwrap_or(-1)
}
