//! Transitions that workers ask for while they work: lease, heartbeat.

use std::time::Duration;

use rusqlite::{Row, named_params, params};

use super::fault::Fault;
use super::read;
use super::transaction::{Transaction, WorkRow, stored};
use crate::task::error::LedgerError;
use crate::task::log::Happening;
use crate::task::records::{EncodedClip, FencingToken, Lease, TaskId, TaskJob, Work, WorkId, WorkProgress};
use crate::task::state::WorkEvent;
use crate::units::FrameRange;

impl Transaction<'_> {
    pub(super) fn lease_next(&self, worker: &str) -> Result<Option<Lease>, Fault> {
        let columns = WorkRow::COLUMNS;
        let sql = format!("SELECT {columns} FROM work WHERE state = 'queued' ORDER BY rank, ordinal, number LIMIT 1");
        let Some(row) = self.first(&sql, (), WorkRow::read)? else { return Ok(None) };
        let internal = |refused| LedgerError::Internal(format!("{:?}: {refused}", row.work));
        let state = row.state.after(WorkEvent::Lease).map_err(internal)?;
        let token = self.next_number()?;
        let sql = "UPDATE work SET state = :state, token = :token, worker = :worker, deadline = :deadline
            WHERE id = :id";
        let values = named_params! {
            ":state": state.as_str(), ":token": token, ":worker": worker, ":deadline": self.deadline(), ":id": row.id,
        };
        self.execute(sql, values)?;
        self.count("leases", 1)?;
        let attempt = row.failures.saturating_add(1);
        self.note(row.task, &Happening::Started { work: row.work, worker: worker.to_owned(), attempt })?;
        let key = self.task(row.task)?.map(|task| task.key).unwrap_or_default();
        Ok(Some(Lease {
            token: FencingToken(token.unsigned_abs()),
            task: TaskId(row.task.unsigned_abs()),
            key,
            attempt,
            duration: self.options.lease,
            work: self.assignment(&row)?,
        }))
    }

    /// What the worker has to know.
    fn assignment(&self, row: &WorkRow) -> Result<Work, Fault> {
        if row.work == WorkId::Index {
            return Ok(Work::Index);
        }
        let sql = "SELECT coalesce(work.script, task.script), coalesce(work.command, task.command), slice,
                coalesce(work.timeout_ms, task.timeout_ms), queue, first, last, coalesce(plan, '')
            FROM work JOIN task ON task.id = work.task WHERE work.id = ?1";
        let read = |columns: &Row<'_>| -> Result<_, Fault> {
            let range = FrameRange { start: columns.get(5)?, end: columns.get(6)? };
            Ok((read::job(columns, 0)?, range, columns.get::<_, String>(7)?))
        };
        let found = self.first(sql, [row.id], read)?;
        let (job, range, plan) = found.ok_or_else(|| LedgerError::Internal("work without a task".to_owned()))?;
        let job: TaskJob = job.ok_or_else(|| LedgerError::Internal("work of a task without a script".to_owned()))?;
        Ok(match row.work {
            WorkId::Index => Work::Index,
            WorkId::Plan => Work::Plan { job },
            WorkId::Clip(index) => Work::Clip { index, range, job, plan, like: self.like(row)? },
            WorkId::Merge => Work::Merge { job, plan, clips: self.encoded_clips(row.task)? },
        })
    }

    /// What is noted of the first complete clip that is as the task says, for one that is not.
    fn like(&self, row: &WorkRow) -> Result<Option<String>, Fault> {
        let sql = "SELECT other.record FROM work AS other JOIN work AS mine ON mine.task = other.task
            WHERE mine.id = ?1 AND (mine.script IS NOT NULL OR mine.command IS NOT NULL) AND other.kind = 'clip'
                AND other.state = 'completed' AND other.script IS NULL AND other.command IS NULL
            ORDER BY other.number LIMIT 1";
        Ok(self.first(sql, [row.id], |columns| Ok(columns.get::<_, Option<String>>(0)?))?.flatten())
    }

    fn encoded_clips(&self, task: i64) -> Result<Vec<EncodedClip>, Fault> {
        let sql = "SELECT bytes, record FROM work WHERE task = ?1 AND kind = 'clip' ORDER BY number";
        self.all(sql, [task], |row| {
            let bytes: Option<i64> = row.get("bytes")?;
            Ok(EncodedClip {
                bytes: bytes.unwrap_or_default().unsigned_abs(),
                record: row.get::<_, Option<String>>("record")?.unwrap_or_default(),
            })
        })
    }

    pub(super) fn heartbeat(&self, token: FencingToken, progress: WorkProgress) -> Result<(), Fault> {
        // A clip never shows more frames than it has, and a speed is a number.
        let fps = if progress.fps.is_finite() { progress.fps.max(0.0) } else { 0.0 };
        let sql = "UPDATE work SET deadline = ?2, frames = min(?3, last - first), fps = ?4
            WHERE token = ?1 AND state = 'leased'";
        match self.execute(sql, params![stored(token), self.deadline(), progress.frames, fps])? {
            0 => Err(LedgerError::LeaseLost { token }.into()),
            _ => Ok(()),
        }
    }

    /// How long a lease still holds that is overdue at `deadline`.
    pub(super) fn left(&self, deadline: i64) -> Duration {
        Duration::from_millis(u64::try_from(deadline.saturating_sub(self.now)).unwrap_or(0))
    }
}
