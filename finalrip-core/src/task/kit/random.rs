//! Workers, clients, clocks and restarts in random order, from seeds; what must hold is checked after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Bench, Engine, at, failure, id, job, outcome};
use crate::task::error::{LedgerError, LedgerResult};
use crate::task::ledger::Changes;
use crate::task::records::{FencingToken, Lease, Overrides, Queue, TaskFilter, TaskId, TaskRecord, WorkId};
use crate::task::state::TaskState;

/// Never two leases for one piece of work, nothing lost, nothing finished done again, attempts bounded, tokens growing.
pub async fn random_workers_break_nothing(engine: &dyn Engine) -> LedgerResult<()> {
    let (seeds, steps) = if engine.persistent() { (2, 150) } else { (25, 400) };
    let mut bench = Bench::open(engine)?;
    for seed in 0..seeds {
        tracing::info!(seed, "random workers");
        let mut world = World::new(bench, seed);
        for _ in 0..steps {
            world = if world.restarts_now(engine) { world.restart(engine)? } else { world };
            world.step().await?;
            world.check().await?;
        }
        bench = world.finish().await?;
    }
    Ok(())
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len() as u64) as usize) }
    }
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A ledger, and what its users remember.
struct World {
    bench: Bench,
    random: Random,
    /// Every lease that anybody ever got, the ended ones included.
    leases: Vec<Lease>,
    newest: FencingToken,
    /// Clips that are complete, and by which lease.
    finished: BTreeMap<(TaskId, u32), FencingToken>,
    changes: Changes,
    /// The list of all tasks, and how many changes of records there were before it was read.
    listed: (u64, Vec<TaskRecord>),
}

impl World {
    fn new(bench: Bench, seed: u64) -> Self {
        let (random, changes) = (Random(seed), bench.ledger.changes());
        let (leases, newest, finished) = (Vec::new(), FencingToken(0), BTreeMap::new());
        Self { bench, random, leases, newest, finished, changes, listed: (0, Vec::new()) }
    }

    async fn step(&mut self) -> LedgerResult<()> {
        match self.random.below(20) {
            0..7 => self.lease().await,
            7..16 => self.report().await,
            16 => self.pass_time().await,
            _ => self.client().await,
        }
    }

    async fn lease(&mut self) -> LedgerResult<()> {
        let Some(lease) = self.bench.ledger.lease_next("some worker").await? else { return Ok(()) };
        assert!(lease.token > self.newest, "{:?} after {}", lease, self.newest);
        assert!(lease.attempt <= self.bench.options.attempts, "{lease:?}");
        if let WorkId::Clip(index) = id(&lease.work) {
            assert!(!self.finished.contains_key(&(lease.task, index)), "{lease:?} was finished");
        }
        self.newest = lease.token;
        self.leases.push(lease);
        Ok(())
    }

    /// A worker says something about a lease, be it a current one or one long gone.
    async fn report(&mut self) -> LedgerResult<()> {
        let recent = self.leases.len().saturating_sub(6);
        let Some(lease) = self.random.pick(&self.leases[recent..]).cloned() else { return Ok(()) };
        let (ledger, token) = (&self.bench.ledger, lease.token);
        let held = ledger.leases().await?.iter().any(|info| info.token == token);
        let clip = if let WorkId::Clip(index) = id(&lease.work) { Some((lease.task, index)) } else { None };
        let result = match self.random.below(10) {
            0..2 => ledger.heartbeat(token, at(3)).await,
            2 => ledger.give_back(token).await,
            3 => ledger.fail(token, failure("random")).await.map(drop),
            _ => {
                let clips = 1 + self.random.below(6) as u32;
                let result = ledger.complete(token, outcome(&lease.work, clips)).await;
                // Only the very result that stands may be reported once more.
                let repeated = clip.is_some_and(|clip| self.finished.get(&clip) == Some(&token));
                if !held && (result.is_ok() || repeated) {
                    assert!(clip.is_none() || repeated, "{lease:?}: {result:?}");
                    return Ok(());
                }
                self.finished.extend(clip.filter(|_| result.is_ok()).map(|clip| (clip, token)));
                result.map(drop)
            }
        };
        let expected = if held { Ok(()) } else { Err(LedgerError::LeaseLost { token }) };
        assert_eq!(result, expected, "{lease:?}");
        Ok(())
    }

    async fn pass_time(&mut self) -> LedgerResult<()> {
        let seconds = self.random.below(40);
        self.bench.clock.advance(Duration::from_secs(seconds));
        self.bench.clock.set_wall(super::NOON - i64::try_from(seconds).unwrap_or(0) * 86_400_000);
        self.bench.ledger.expire_leases().await.map(drop)
    }

    fn restarts_now(&mut self, engine: &dyn Engine) -> bool {
        engine.persistent() && self.random.below(25) == 0
    }

    fn restart(mut self, engine: &dyn Engine) -> LedgerResult<Self> {
        self.bench = self.bench.restart(engine)?;
        self.changes = self.bench.ledger.changes();
        self.listed = (0, Vec::new());
        Ok(self)
    }

    async fn client(&mut self) -> LedgerResult<()> {
        let key = KEYS[self.random.below(KEYS.len() as u64) as usize];
        let queue = if self.random.below(3) == 0 { Queue::Priority } else { Queue::Default };
        let ledger = &self.bench.ledger;
        let result = match self.random.below(16) {
            0..4 => ledger.create(key).await.map(drop),
            4..10 => ledger.start(key, job(queue)).await,
            10..12 => {
                let index = self.random.below(4) as u32;
                let result = ledger.retry_encode(key, index, Overrides::default()).await;
                if result.is_ok() {
                    self.finished.remove(&(ledger.task(key).await?.id, index));
                }
                result
            }
            12 => ledger.retry_merge(key).await,
            13 => ledger.cancel(key).await,
            14 => ledger.clear(key).await.map(drop),
            _ => self.forget().await,
        };
        match result {
            Err(LedgerError::LeaseLost { .. } | LedgerError::Internal(_)) => result,
            // Refusals are expected of somebody who asks at random.
            _ => Ok(()),
        }
    }

    async fn forget(&self) -> LedgerResult<()> {
        let clearing = self.bench.ledger.list(TaskFilter::states([TaskState::Clearing])).await?;
        for task in clearing {
            self.bench.ledger.forget(task.id).await?;
        }
        Ok(())
    }

    async fn check(&mut self) -> LedgerResult<()> {
        let records = self.changes.records();
        let listed = self.bench.ledger.list(TaskFilter::states(TaskState::ALL)).await?;
        // A new process counts from 0, with the tasks of the one before.
        if let Some(told) = self.changes.records_since(self.listed.0).filter(|_| self.listed.0 > 0) {
            let others = |tasks: &[TaskRecord]| -> Vec<TaskRecord> {
                tasks.iter().filter(|task| !told.contains(&task.id)).cloned().collect()
            };
            assert_eq!(others(&listed), others(&self.listed.1), "changed, and nobody was told");
        }
        self.listed = (records, listed);
        let leases = self.bench.ledger.leases().await?;
        let work: BTreeSet<_> = leases.iter().map(|lease| (lease.task, lease.work)).collect();
        assert_eq!(work.len(), leases.len(), "two leases for one piece of work: {leases:?}");
        for task in &self.listed.1 {
            let fits = |work| match work {
                WorkId::Index => matches!(task.state, TaskState::Pending | TaskState::Planning),
                WorkId::Plan => task.state == TaskState::Planning,
                WorkId::Clip(_) => task.state == TaskState::Encoding,
                WorkId::Merge => task.state == TaskState::Merging,
            };
            let mut of_task = leases.iter().filter(|lease| lease.task == task.id);
            assert!(of_task.all(|lease| fits(lease.work)), "{leases:?} of {task:?}");
            assert_eq!(task.failure.is_some(), task.state == TaskState::Failed, "{task:?}");
            // A result stays over retries, failures and cancels.
            let has_result = task.result_bytes.is_some();
            assert!(has_result || task.state != TaskState::Completed, "{task:?}");
            let has_none = [TaskState::Pending, TaskState::Planning, TaskState::Clearing];
            assert!(!has_result || !has_none.contains(&task.state), "{task:?}");
        }
        Ok(())
    }

    /// Honest workers do what is left. Whatever runs comes to its end, so nothing was lost.
    async fn finish(mut self) -> LedgerResult<Bench> {
        self.bench.clock.advance(Duration::from_secs(3600));
        self.bench.ledger.expire_leases().await?;
        while let Some(lease) = self.bench.ledger.lease_next("honest").await? {
            self.bench.complete(&lease).await?;
            self.check().await?;
        }
        for task in self.bench.ledger.list(TaskFilter::states(TaskState::ALL)).await? {
            assert!(!task.state.is_running(), "{task:?} does not end");
            let progress = self.bench.ledger.progress(&task.key).await?;
            let complete = progress.frames() == progress.frames_total();
            assert!(complete || task.state != TaskState::Completed, "{progress:?}");
            self.bench.ledger.clear(&task.key).await?;
            self.bench.ledger.forget(task.id).await?;
        }
        self.leases.clear();
        Ok(self.bench)
    }
}
