//! Transitions that clients ask for: create, start, retry, cancel, clear, forget.

use std::time::Duration;

use rusqlite::{OptionalExtension, named_params, params};

use super::fault::Fault;
use super::transaction::{Transaction, WorkRow, rank};
use crate::task::error::LedgerError;
use crate::task::log::Happening;
use crate::task::records::{Overrides, TaskId, TaskJob, WorkId};
use crate::task::state::{TaskEvent, TaskState, WorkEvent, WorkState};

/// No store takes a longer key.
const LONGEST_KEY: usize = 1024;

impl Transaction<'_> {
    pub(super) fn create(&self, key: &str) -> Result<TaskId, Fault> {
        if key.is_empty() || key.len() > LONGEST_KEY {
            let reason = format!("it has {} bytes, and 1 to {LONGEST_KEY} are possible", key.len());
            return Err(LedgerError::Input { what: "the video key", reason }.into());
        }
        let ordinal = self.next_number()?;
        let sql = "INSERT INTO task (key, state, created_at, ordinal) VALUES (?1, 'pending', ?2, ?3)
            ON CONFLICT (key) DO NOTHING RETURNING id";
        let mut statement = self.db.prepare_cached(sql)?;
        let id: Option<i64> = statement.query_row(params![key, self.wall(), ordinal], |row| row.get(0)).optional()?;
        let id = id.ok_or(LedgerError::TaskExists)?;
        self.record_changed(id);
        let task = self.known(key)?;
        self.note(id, &Happening::State { state: TaskState::Pending, reason: None })?;
        self.queue(&task, WorkId::Index)?;
        Ok(TaskId(id.unsigned_abs()))
    }

    pub(super) fn start(&self, key: &str, job: &TaskJob) -> Result<(), Fault> {
        let mut task = self.find(key)?.ok_or(LedgerError::NotUploaded)?;
        let has_clips = self.work(&task, WorkId::Clip(0))?.is_some();
        self.move_task(&mut task, TaskEvent::Start { has_clips }, None).map_err(|fault| match fault {
            Fault::Refused(LedgerError::NotNow { .. }) => LedgerError::AlreadyStarted.into(),
            other => other,
        })?;
        let ordinal = self.next_number()?;
        let sql = "UPDATE task SET script = :script, command = :command, slice = :slice, timeout_ms = :timeout,
            queue = :queue, ordinal = :ordinal WHERE id = :id";
        let values = named_params! {
            ":script": job.script, ":command": job.command, ":slice": job.slice, ":timeout": millis(job.timeout),
            ":queue": job.queue.as_str(), ":ordinal": ordinal, ":id": task.id,
        };
        self.change_record(task.id, sql, values)?;
        // An index that is being made, or is waiting, now counts as the task's own work.
        let sql = "UPDATE work SET rank = ?2, ordinal = ?3 WHERE task = ?1";
        self.execute(sql, params![task.id, rank(job.queue), ordinal])?;
        if self.work(&task, WorkId::Index)?.is_some_and(|index| index.state == WorkState::Stopped) {
            self.queue(&task, WorkId::Index)?;
        }
        self.go_on(&mut task)?;
        Ok(())
    }

    pub(super) fn retry_encode(&self, key: &str, index: u32, overrides: &Overrides) -> Result<(), Fault> {
        let mut task = self.find(key)?.ok_or(LedgerError::NoSuchClip)?;
        if task.state == TaskState::Clearing {
            return Err(LedgerError::UnknownTask.into());
        }
        let clip = self.work(&task, WorkId::Clip(index))?.ok_or(LedgerError::NoSuchClip)?;
        self.move_task(&mut task, TaskEvent::RetryClip, None)?;
        self.execute("DELETE FROM work WHERE task = ?1 AND kind = 'merge'", [task.id])?;
        self.retry_clips("id = ?2", params![task.id, clip.id])?;
        // Otherwise a task that goes on would never come to its end.
        self.retry_clips("state IN ('failed', 'stopped')", [task.id])?;
        let sql = "UPDATE work SET script = coalesce(:script, script), command = coalesce(:command, command),
            timeout_ms = coalesce(:timeout, timeout_ms), rank = coalesce(:rank, rank) WHERE id = :id";
        let values = named_params! {
            ":script": overrides.script, ":command": overrides.command, ":timeout": overrides.timeout.map(millis),
            ":rank": overrides.queue.map(rank), ":id": clip.id,
        };
        self.execute(sql, values)?;
        self.count("retries", 1)?;
        self.note(task.id, &Happening::Retried { work: clip.work })
    }

    /// The event [`WorkEvent::Retry`] for some clips of a task; their overrides and their queue stay.
    pub(super) fn retry_clips(&self, which: &str, values: impl rusqlite::Params) -> Result<(), Fault> {
        let sql = format!(
            "UPDATE work SET state = 'queued', failures = 0, interruptions = 0, deadline = NULL, worker = NULL,
                token = NULL, frames = 0, fps = 0, bytes = NULL, error = NULL, record = NULL
            WHERE task = ?1 AND kind = 'clip' AND {which}"
        );
        self.execute(&sql, values)?;
        Ok(())
    }

    pub(super) fn retry_merge(&self, key: &str) -> Result<(), Fault> {
        let mut task = self.known(key)?;
        if task.state == TaskState::Clearing {
            return Err(LedgerError::UnknownTask.into());
        }
        let all_complete = self.work(&task, WorkId::Clip(0))?.is_some() && self.all_complete(&task)?;
        self.move_task(&mut task, TaskEvent::RetryMerge { all_complete }, None).map_err(|fault| match fault {
            Fault::Refused(LedgerError::NotNow { .. }) => LedgerError::ClipsUnfinished.into(),
            other => other,
        })?;
        self.queue(&task, WorkId::Merge)?;
        self.count("retries", 1)?;
        self.note(task.id, &Happening::Retried { work: WorkId::Merge })
    }

    pub(super) fn cancel(&self, key: &str) -> Result<(), Fault> {
        let mut task = self.known(key)?;
        self.move_task(&mut task, TaskEvent::Cancel, None)?;
        self.stop_all(&task)
    }

    pub(super) fn clear(&self, key: &str) -> Result<TaskId, Fault> {
        let mut task = self.known(key)?;
        self.move_task(&mut task, TaskEvent::Clear, None)?;
        self.stop_all(&task)?;
        Ok(TaskId(task.id.unsigned_abs()))
    }

    pub(super) fn forget(&self, id: TaskId) -> Result<(), Fault> {
        let Some(task) = self.task(i64::try_from(id.0).unwrap_or(-1))? else { return Ok(()) };
        if task.state != TaskState::Clearing {
            return Err(LedgerError::NotNow { state: task.state }.into());
        }
        self.change_record(task.id, "DELETE FROM task WHERE id = ?1", [task.id])?;
        Ok(())
    }

    /// Queues what a process that is gone had leased, and tells which work of which key that was.
    ///
    /// Whoever opens the database is alone with it, so every lease in it is a dead one's; its deadline is of a clock
    /// that is gone, too, and is not looked at.
    pub(super) fn recover(&self) -> Result<Vec<(String, WorkId)>, Fault> {
        let sql = format!("SELECT {} FROM work WHERE deadline IS NOT NULL", WorkRow::COLUMNS);
        let interrupted = self.all(&sql, (), WorkRow::read)?;
        let mut told = Vec::with_capacity(interrupted.len());
        for work in interrupted {
            self.move_work(&work, WorkEvent::Return)?;
            self.execute("UPDATE work SET interruptions = interruptions + 1 WHERE id = ?1", [work.id])?;
            self.note(work.task, &Happening::Returned { work: work.work })?;
            told.extend(self.task(work.task)?.map(|task| (task.key, work.work)));
        }
        self.count("interrupted", told.len())?;
        Ok(told)
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A size as SQLite holds it.
pub(super) fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
