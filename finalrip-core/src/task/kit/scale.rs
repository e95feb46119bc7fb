//! Many threads, many tasks.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::{Bench, Engine, block_on, id, outcome};
use crate::task::error::LedgerResult;
use crate::task::records::{TaskFilter, WorkId};
use crate::task::state::TaskState;

/// Each piece of work is done by exactly one of them.
pub async fn many_threads_share_the_work(engine: &dyn Engine) -> LedgerResult<()> {
    const TASKS: usize = 6;
    let bench = Bench::open(engine)?;
    let done: Mutex<BTreeMap<(String, WorkId), u32>> = Mutex::default();
    let work = |name: &str| -> LedgerResult<()> {
        let all_done = TaskFilter::states([TaskState::Completed]);
        while block_on(bench.ledger.list(all_done.clone()))?.len() < TASKS {
            let Some(lease) = block_on(bench.ledger.lease_next(name))? else {
                std::thread::yield_now();
                continue;
            };
            if lease.token.0 % 5 == 0 {
                block_on(bench.ledger.give_back(lease.token))?;
                continue;
            }
            block_on(bench.ledger.complete(lease.token, outcome(&lease.work, 8)))?;
            let mut done = done.lock().expect("no worker panics");
            *done.entry((lease.key, id(&lease.work))).or_default() += 1;
        }
        Ok(())
    };
    std::thread::scope(|threads| {
        let workers: Vec<_> = ["a", "b", "c", "d"].map(|name| threads.spawn(move || work(name))).into();
        for task in 0..TASKS {
            let key = format!("task {task}");
            block_on(bench.ledger.create(&key))?;
            block_on(bench.ledger.start(&key, super::job(super::Queue::Default)))?;
        }
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    let done = done.lock().expect("no worker panics");
    assert_eq!(done.len(), TASKS * (1 + 1 + 8 + 1));
    assert!(done.values().all(|&times| times == 1));
    Ok(())
}

/// How fast is for a benchmark to say; that nothing becomes quadratic shows in how long the tests take.
pub async fn ten_thousand_tasks_are_listed(engine: &dyn Engine) -> LedgerResult<()> {
    if engine.persistent() {
        // What is written must be on the disk each time, and disks of test machines are slow.
        return Ok(());
    }
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    for task in 0..10_000 {
        ledger.create(&format!("task {task}")).await?;
    }
    ledger.start("task 5000", super::job(super::Queue::Priority)).await?;
    let lease = bench.take("w").await?;
    assert_eq!(lease.key, "task 5000");
    bench.complete(&lease).await?;
    let plan = bench.take("w").await?;
    ledger.complete(plan.token, outcome(&plan.work, 10_000)).await?;
    for _ in 0..1000 {
        let clip = bench.take("w").await?;
        bench.complete(&clip).await?;
    }
    let listed = ledger.list(TaskFilter::states(TaskState::ALL)).await?;
    assert_eq!((listed.len(), listed[0].key.as_str()), (10_000, "task 9999"));
    let running = ledger.list(TaskFilter::states([TaskState::Encoding])).await?;
    assert_eq!(running.len(), 1);
    let progress = bench.progress("task 5000").await?;
    assert_eq!((progress.frames(), progress.frames_total()), (10_000, 100_000));
    let counters = ledger.counters().await?;
    assert_eq!((counters.queued_priority, counters.queued_background), (9_000, 9_999));
    Ok(())
}
