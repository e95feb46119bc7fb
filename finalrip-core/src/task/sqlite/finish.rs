//! Transitions that end a lease: completion, failure, giving back, expiry.

use rusqlite::{Row, params};

use super::fault::Fault;
use super::manage::bytes;
use super::transaction::{TaskRow, Transaction, WorkRow, stored};
use crate::task::error::LedgerError;
use crate::task::log::Happening;
use crate::task::records::{
    AfterFailure, EncodedClip, Failure, FencingToken, LeaseInfo, Outcome, TaskId, TaskPlan, WorkId,
};
use crate::task::state::{TaskEvent, TaskState, WorkEvent, WorkState};
use crate::units::FrameRange;

/// The most that is kept of a reason, of a log, and of a record, in bytes.
const LONGEST_REASON: usize = 4 << 10;
const LONGEST_LOG: usize = 64 << 10;
const LONGEST_RECORD: usize = 16 << 20;

/// The most clips of a task: every question about it reads them all.
const MOST_CLIPS: usize = 100_000;

impl Transaction<'_> {
    pub(super) fn complete(&self, token: FencingToken, outcome: &Outcome) -> Result<TaskState, Fault> {
        if let Some(state) = self.completed_before(token)? {
            return Ok(state);
        }
        let (mut task, work) = self.leased(token)?;
        if let Outcome::Replanned(plan) = outcome {
            self.replanned(&mut task, &work, plan)?;
            return Ok(task.state);
        }
        self.move_work(&work, WorkEvent::Complete)?;
        match (work.work, outcome) {
            (WorkId::Index, Outcome::Indexed) => {}
            (WorkId::Plan, Outcome::Planned(plan)) => self.planned(&mut task, plan)?,
            (WorkId::Clip(_), Outcome::Encoded(clip)) => self.encoded(&work, clip)?,
            (WorkId::Merge, Outcome::Merged { bytes: size }) => {
                let sql = "UPDATE task SET result_bytes = ?2 WHERE id = ?1";
                self.change_record(task.id, sql, params![task.id, bytes(*size)])?;
                self.move_task(&mut task, TaskEvent::Merged, None)?;
            }
            (work, _) => return Err(unusable("the outcome", format!("it is not one of {work:?}"))),
        }
        self.count("completed", 1)?;
        self.note(task.id, &Happening::Done { work: work.work })?;
        self.go_on(&mut task)
    }

    /// The task's state, if this token's result has been taken already and still stands.
    fn completed_before(&self, token: FencingToken) -> Result<Option<TaskState>, Fault> {
        let sql = "SELECT task FROM work WHERE token = ?1 AND state = 'completed'";
        let task: Option<i64> = self.first(sql, [stored(token)], |row| Ok(row.get(0)?))?;
        let task = task.map(|id| self.task(id)).transpose()?.flatten();
        match task {
            Some(task) if task.state == TaskState::Clearing => Err(LedgerError::LeaseLost { token }.into()),
            found => Ok(found.map(|task| task.state)),
        }
    }

    fn planned(&self, task: &mut TaskRow, plan: &TaskPlan) -> Result<(), Fault> {
        check_plan(plan)?;
        let sql = "INSERT INTO work (task, kind, number, state, rank, ordinal, first, last)
            SELECT task, 'clip', ?2, 'queued', rank, ordinal, ?3, ?4 FROM work
            WHERE task = ?1 AND kind = 'plan'";
        for (number, clip) in (0_u32..).zip(&plan.clips) {
            self.execute(sql, params![task.id, number, clip.start, clip.end])?;
        }
        self.execute("UPDATE task SET plan = ?2 WHERE id = ?1", params![task.id, plan.record])?;
        self.note_planned(task, plan)?;
        self.move_task(task, TaskEvent::Planned, None)
    }

    /// Every clip is to be encoded once more; all leases of them end, this one included.
    fn replanned(&self, task: &mut TaskRow, work: &WorkRow, plan: &TaskPlan) -> Result<(), Fault> {
        if matches!(work.work, WorkId::Index | WorkId::Plan) {
            return Err(unusable("the outcome", format!("it is not one of {:?}", work.work)));
        }
        check_plan(plan)?;
        let sql = "SELECT first, last FROM work WHERE task = ?1 AND kind = 'clip' ORDER BY number";
        let read = |row: &Row<'_>| Ok(FrameRange { start: row.get(0)?, end: row.get(1)? });
        if self.all(sql, [task.id], read)? != plan.clips {
            return Err(unusable("the plan", "its clips are not those of the task".to_owned()));
        }
        self.move_task(task, TaskEvent::RetryClip, None)?;
        self.execute("DELETE FROM work WHERE task = ?1 AND kind = 'merge'", [task.id])?;
        self.retry_clips("TRUE", [task.id])?;
        self.execute("UPDATE task SET plan = ?2 WHERE id = ?1", params![task.id, plan.record])?;
        self.note_planned(task, plan)
    }

    fn note_planned(&self, task: &TaskRow, plan: &TaskPlan) -> Result<(), Fault> {
        self.note(task.id, &Happening::Planned { clips: u32::try_from(plan.clips.len()).unwrap_or(u32::MAX) })
    }

    fn encoded(&self, work: &WorkRow, clip: &EncodedClip) -> Result<(), Fault> {
        check_record(&clip.record)?;
        let sql = "UPDATE work SET bytes = ?2, record = ?3 WHERE id = ?1";
        self.execute(sql, params![work.id, bytes(clip.bytes), clip.record])?;
        Ok(())
    }

    pub(super) fn fail(&self, token: FencingToken, failure: &Failure) -> Result<AfterFailure, Fault> {
        let (task, work) = self.leased(token)?;
        self.attempt_failed(task, &work, failure)
    }

    fn attempt_failed(&self, mut task: TaskRow, work: &WorkRow, failure: &Failure) -> Result<AfterFailure, Fault> {
        let reason = head(&failure.reason, LONGEST_REASON);
        let failures = work.failures.saturating_add(1);
        let left = if failure.permanent { 0 } else { self.options.attempts.saturating_sub(failures) };
        let state = self.move_work(work, WorkEvent::Fail { attempts_left: left > 0 })?;
        self.execute("UPDATE work SET failures = ?2, error = ?3 WHERE id = ?1", params![work.id, failures, reason])?;
        self.count("failures", 1)?;
        let told = Happening::Failed { work: work.work, reason: reason.to_owned(), attempts_left: left };
        self.note(task.id, &told)?;
        if state == WorkState::Queued {
            return Ok(AfterFailure::Again { attempts_left: left });
        }
        if work.work == WorkId::Index {
            self.go_on(&mut task)?;
        } else {
            self.exhausted(&mut task, work.work, reason, &failure.log)?;
        }
        Ok(AfterFailure::Exhausted)
    }

    /// The task fails, and everything else of it stops.
    fn exhausted(&self, task: &mut TaskRow, work: WorkId, reason: &str, log: &str) -> Result<(), Fault> {
        let reason = match work {
            WorkId::Clip(index) => format!("clip {index}: {reason}"),
            WorkId::Merge => format!("merge: {reason}"),
            WorkId::Plan | WorkId::Index => reason.to_owned(),
        };
        self.move_task(task, TaskEvent::Exhausted, Some(&reason))?;
        self.execute("UPDATE task SET log = ?2 WHERE id = ?1", params![task.id, tail(log, LONGEST_LOG)])?;
        self.stop_all(task)
    }

    pub(super) fn give_back(&self, token: FencingToken) -> Result<(), Fault> {
        let (task, work) = self.leased(token)?;
        self.move_work(&work, WorkEvent::Return)?;
        self.count("given_back", 1)?;
        self.note(task.id, &Happening::Returned { work: work.work })
    }

    /// Ends the leases that were overdue at `now`.
    pub(super) fn expire(&self, now: i64) -> Result<Vec<LeaseInfo>, Fault> {
        let sql = "SELECT token, worker FROM work WHERE deadline <= ?1 ORDER BY deadline, token";
        let overdue = self.all(sql, [now], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        let mut expired = Vec::with_capacity(overdue.len());
        for (token, worker) in overdue {
            let token = FencingToken(token.unsigned_abs());
            // An expired lease may have failed its task, and so ended the others of it.
            let (task, work) = match self.leased(token) {
                Err(Fault::Refused(LedgerError::LeaseLost { .. })) => continue,
                found => found?,
            };
            let silence = self.options.lease.as_secs_f64();
            let reason = format!("worker {worker} was not heard of for {silence} s");
            let (id, key) = (TaskId(task.id.unsigned_abs()), task.key.clone());
            self.attempt_failed(task, &work, &Failure { reason, log: String::new(), permanent: false })?;
            expired.push(LeaseInfo { token, task: id, key, work: work.work, worker, expires_in: self.left(self.now) });
        }
        self.count("expired", expired.len())?;
        Ok(expired)
    }
}

fn check_plan(plan: &TaskPlan) -> Result<(), Fault> {
    check_record(&plan.record)?;
    let wrong = |reason| Err(unusable("the plan", reason));
    if plan.clips.is_empty() {
        return wrong("it has no clips".to_owned());
    }
    if plan.clips.len() > MOST_CLIPS {
        return wrong(format!("it has {} clips, and {MOST_CLIPS} are possible", plan.clips.len()));
    }
    if let Some(empty) = plan.clips.iter().position(|clip| clip.is_empty()) {
        return wrong(format!("clip {empty} has no frames"));
    }
    match plan.clips.windows(2).position(|pair| pair[0].end != pair[1].start) {
        Some(gap) => wrong(format!("clip {} does not start where clip {gap} ends", gap + 1)),
        None => Ok(()),
    }
}

fn check_record(record: &str) -> Result<(), Fault> {
    if record.len() <= LONGEST_RECORD {
        return Ok(());
    }
    Err(unusable("the record", format!("it has {} bytes, and {LONGEST_RECORD} are possible", record.len())))
}

fn unusable(what: &'static str, reason: String) -> Fault {
    LedgerError::Input { what, reason }.into()
}

/// The first bytes of a text, in whole characters.
fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The last bytes of a text, in whole characters.
fn tail(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!((head("añb", 2), tail("añb", 2)), ("a", "b"));
        assert_eq!((head("añb", 9), tail("añb", 9)), ("añb", "añb"));
    }

    #[test]
    fn plans_have_no_gaps() {
        let plan = |clips: &[(u32, u32)]| TaskPlan {
            clips: clips.iter().map(|&(start, end)| (start..end).into()).collect(),
            record: String::new(),
        };
        assert!(check_plan(&plan(&[(5, 7), (7, 8)])).is_ok());
        for wrong in [&[][..], &[(0, 0)], &[(0, 2), (3, 4)], &[(0, 2), (1, 4)], &[(0, 2), (2, 1)]] {
            assert!(check_plan(&plan(wrong)).is_err(), "{wrong:?}");
        }
    }
}
