//! A worker: takes work from the ledger, has it done by an encoder process, stores what came of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout};

use super::Inner;
use super::copies::Copies;
use super::error::TaskError;
use super::sources::Place;
use super::version::SourceVersion;
use crate::error::chain;
use crate::store::{ObjectKey, VideoKey};
use crate::task::error::{LedgerError, LedgerResult};
use crate::task::process::{Answer, EncoderProcess, Order, ProcessError, Scope, Taken};
use crate::task::records::{
    ClipProgress, EncodedClip, Failure, Lease, Outcome, TaskId, TaskJob, TaskPlan, Work, WorkProgress,
};
use crate::task::state::WorkState;

/// How long a process without work is kept, in case the next piece is for it.
const IDLE: Duration = Duration::from_secs(5);

/// How long a worker waits at most before it looks for work again, whatever it is told.
const LOOK: Duration = Duration::from_secs(30);

/// How long a worker waits after the ledger failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an index and a merge may take: as long as reading or writing the largest files takes, but not for ever.
const LONGEST_INDEX: Duration = Duration::from_secs(12 * 60 * 60);
const LONGEST_MERGE: Duration = Duration::from_secs(12 * 60 * 60);

/// How often progress is noted at most, and how often it is noted at least while a lease holds for long.
const BEAT: Duration = Duration::from_secs(1);

/// One of a service's workers.
pub(super) struct Worker {
    service: Arc<Inner>,
    name: String,
    /// The process of the last piece of work, for the next one of the same task.
    kept: Option<Kept>,
}

struct Kept {
    task: TaskId,
    process: EncoderProcess,
    place: Place,
}

/// What the plan's record holds: the plan as the encoder process knows it, and of which source it was made.
#[derive(Serialize, Deserialize)]
struct PlanRecord {
    e_tag: Option<String>,
    #[serde(default)]
    sample: Option<String>,
    plan: Box<RawValue>,
}

/// Why a worker stopped before the work was done.
enum Stopped {
    /// The lease has ended, or the whole service does.
    Unwanted,
    Failed(Failure),
}

impl Worker {
    pub(super) fn new(service: Arc<Inner>, number: usize) -> Self {
        let name = format!("{}-{}", std::process::id(), number);
        Self { service, name, kept: None }
    }

    /// Works until `stop` is set; what it was doing then is given back.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut changes = self.service.ledger.changes();
        while !is_set(&stop) {
            let _ = changes.seen();
            let found = self.service.ledger.lease_next(&self.name).await;
            match found {
                Ok(Some(lease)) => self.serve(lease, &mut stop).await,
                Ok(None) => {
                    let idle = if self.kept.is_some() { IDLE } else { LOOK };
                    let waited = tokio::select! {
                        waited = timeout(idle, changes.wait()) => waited.is_ok(),
                        () = stopped(&mut stop) => true,
                    };
                    if !waited {
                        self.let_go().await;
                    }
                }
                Err(error) => {
                    tracing::error!(worker = self.name, "no work can be leased: {error}");
                    tokio::select! { () = sleep(PAUSE) => {}, () = stopped(&mut stop) => {} }
                }
            }
        }
        self.let_go().await;
    }

    async fn let_go(&mut self) {
        if let Some(kept) = self.kept.take() {
            kept.process.kill().await;
        }
    }

    async fn serve(&mut self, lease: Lease, stop: &mut watch::Receiver<bool>) {
        let work = describe(&lease.work);
        tracing::info!(worker = self.name, key = lease.key, work, attempt = lease.attempt, "started");
        let service = Arc::clone(&self.service);
        let _running = service.running.enter(lease.task);
        let (progress, latest) = watch::channel(WorkProgress::default());
        let limit = time_limit(&lease.work);
        let made = tokio::select! {
            done = self.make(&lease, &progress) => done,
            () = beat(&service, &lease, latest.clone()) => Err(Stopped::Unwanted),
            () = stopped(stop) => Err(Stopped::Unwanted),
            () = sleep(limit) => Err(Stopped::Failed(timed_out(limit))),
        };
        let ended = match made {
            Ok(made) => self.hand_in(&lease, made, latest, stop).await,
            Err(stopped) => Err(stopped),
        };
        match ended {
            Ok(()) => tracing::info!(worker = self.name, key = lease.key, work, "done"),
            Err(stopped) => {
                // Whatever state its filters are in, the next attempt gets new ones.
                self.let_go().await;
                let stopping = is_set(stop);
                self.report(&lease, stopped, stopping).await;
            }
        }
    }

    /// Tells the ledger why the work is not done.
    async fn report(&self, lease: &Lease, stopped: Stopped, stopping: bool) {
        let (ledger, work) = (&self.service.ledger, describe(&lease.work));
        let told = match stopped {
            Stopped::Failed(failure) => {
                tracing::warn!(worker = self.name, key = lease.key, work, "failed: {}", failure.reason);
                let failure = without_paths(failure, &self.service.options.data);
                insist(|| ledger.fail(lease.token, failure.clone())).await.map(drop)
            }
            Stopped::Unwanted if stopping => {
                tracing::info!(worker = self.name, key = lease.key, work, "given back");
                insist(|| ledger.give_back(lease.token)).await
            }
            Stopped::Unwanted => {
                tracing::info!(worker = self.name, key = lease.key, work, "stopped: it is not wanted any more");
                Ok(())
            }
        };
        match told {
            Ok(()) | Err(LedgerError::LeaseLost { .. }) => {}
            // The lease runs out by itself.
            Err(error) => tracing::error!(worker = self.name, key = lease.key, work, "the ledger is not told: {error}"),
        }
    }

    /// Has the work done by a process. Nothing is stored yet.
    async fn make(&mut self, lease: &Lease, progress: &watch::Sender<WorkProgress>) -> Result<Made, Stopped> {
        let video = VideoKey::new(lease.key.as_str()).map_err(|error| failed(&TaskError::from(error)))?;
        let service = Arc::clone(&self.service);
        let place = service.wait_for_store(|| service.place(&video)).await.map_err(|error| failed(&error))?;
        match &lease.work {
            Work::Index => {
                let order = Order::Index { source: place.source.clone() };
                self.perform(lease, &place, &order, progress).await?;
                Ok(Made::Known(Outcome::Indexed))
            }
            Work::Plan { job } => self.plan(lease, &place, job, progress).await,
            Work::Clip { index, job, plan, like, .. } => {
                let plan = read_plan(plan, &place)?;
                let file = self.process(lease, &place, Vec::new()).await?.scratch().join("clip.mkv");
                let order = Order::Clip {
                    source: place.source.clone(),
                    index: *index,
                    job: job.clone(),
                    plan,
                    output: file.clone(),
                    threads: self.service.threads,
                    goes_on: self.goes_on(lease, *index).await,
                    like: like.clone(),
                };
                match self.perform(lease, &place, &order, progress).await? {
                    Answer::Encoded(clip) => {
                        let taken = self.take(&file).await?;
                        Ok(Made::File { taken, key: video.encoded_clip(*index), outcome: Outcome::Encoded(clip) })
                    }
                    answer => replanned(answer, &place),
                }
            }
            Work::Merge { job, plan, clips } => self.merge(lease, &place, &video, (job, plan, clips), progress).await,
        }
    }

    /// Whether this worker will, as far as can be told, encode the next clip after this one. Several workers keep the machine
    /// busy while one of them is between clips. A clip that failed is tried without: it may have been the next one's
    /// frames that took the process down.
    async fn goes_on(&self, lease: &Lease, index: u32) -> bool {
        if self.service.options.workers > 1 || lease.attempt > 1 {
            return false;
        }
        let progress = self.service.ledger.progress(&lease.key).await;
        let next = |clip: &ClipProgress| clip.index == index + 1 && clip.state == WorkState::Queued;
        progress.is_ok_and(|progress| progress.clips.iter().any(next))
    }

    async fn plan(
        &mut self,
        lease: &Lease,
        place: &Place,
        job: &TaskJob,
        progress: &watch::Sender<WorkProgress>,
    ) -> Result<Made, Stopped> {
        let options = &self.service.options;
        let (workers, chunk) = (options.workers.max(1), options.clip);
        let order = Order::Plan { source: place.source.clone(), job: job.clone(), workers, chunk };
        match self.perform(lease, place, &order, progress).await? {
            Answer::Planned(plan) => Ok(Made::Known(Outcome::Planned(write_plan(plan, place)?))),
            answer => Err(unexpected(&answer)),
        }
    }

    async fn merge(
        &mut self,
        lease: &Lease,
        place: &Place,
        video: &VideoKey,
        (job, plan, clips): (&TaskJob, &str, &[EncodedClip]),
        progress: &watch::Sender<WorkProgress>,
    ) -> Result<Made, Stopped> {
        let plan = read_plan(plan, place)?;
        let fetched = Copies::of(&self.service, video, clips.len()).await.map_err(|error| failed(&error))?;
        // Another process: this one may read the clips as well.
        let scratch = self.process(lease, place, fetched.files.clone()).await?.scratch().to_owned();
        let source = place.link_in(&scratch).map_err(|error| failed(&error))?;
        let clips = fetched.files.iter().cloned().zip(clips.iter().map(|clip| clip.record.clone())).collect();
        let output = scratch.join("merged.mkv");
        let order = Order::Merge { source, job: job.clone(), plan, clips, output: output.clone() };
        match self.perform(lease, place, &order, progress).await? {
            Answer::Merged { bytes } => {
                let taken = self.take(&output).await?;
                Ok(Made::File { taken, key: video.result(), outcome: Outcome::Merged { bytes } })
            }
            answer => replanned(answer, place),
        }
    }

    /// The process for this task: the one of the last work, or a new one.
    async fn process(
        &mut self,
        lease: &Lease,
        place: &Place,
        read: Vec<PathBuf>,
    ) -> Result<&mut EncoderProcess, Stopped> {
        let fits = |kept: &Kept| kept.task == lease.task && kept.place.cache == place.cache;
        let unfit = self.kept.take_if(|kept| !fits(kept) || !read.is_empty());
        if self.kept.is_none() {
            // The file, not the link to it, which scripts may replace.
            let scope = Scope { source: Some(place.file.clone()), read, cache: Some(place.cache.clone()) };
            let end = async {
                if let Some(unfit) = unfit {
                    unfit.process.kill().await;
                }
            };
            let (process, ()) = tokio::join!(EncoderProcess::start(&self.service.options.process, scope), end);
            let process = process.map_err(broken)?;
            self.kept = Some(Kept { task: lease.task, process, place: place.clone() });
        }
        self.kept.as_mut().map(|kept| &mut kept.process).ok_or_else(|| unexpected(&"no process"))
    }

    /// What the kept process has made.
    async fn take(&mut self, output: &Path) -> Result<Taken, Stopped> {
        let kept = self.kept.as_mut().ok_or_else(|| unexpected(&"no process"))?;
        kept.process.take(output).await.map_err(broken)
    }

    async fn perform(
        &mut self,
        lease: &Lease,
        place: &Place,
        order: &Order,
        progress: &watch::Sender<WorkProgress>,
    ) -> Result<Answer, Stopped> {
        let process = self.process(lease, place, Vec::new()).await?;
        let mut note = |latest: WorkProgress| {
            progress.send_replace(latest);
        };
        process.perform(order, &mut note).await.map_err(broken)
    }

    /// Stores what was made, and tells the ledger.
    async fn hand_in(
        &mut self,
        lease: &Lease,
        made: Made,
        latest: watch::Receiver<WorkProgress>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Stopped> {
        let service = Arc::clone(&self.service);
        let (outcome, stored) = match made {
            Made::Known(outcome) => (outcome, None),
            Made::File { taken, key, outcome } => {
                // The last look before somebody else's result could be replaced.
                let progress = *latest.borrow();
                let wanted = insist(|| service.ledger.heartbeat(lease.token, progress)).await;
                wanted.map_err(|error| unless_lost(&error))?;
                let publish = async || Ok(service.store.publish(&key, taken.file()).await?);
                let stored = tokio::select! {
                    stored = service.wait_for_store(publish) => stored.map_err(|error| failed(&error))?,
                    () = beat(&service, lease, latest.clone()) => return Err(Stopped::Unwanted),
                    () = stopped(stop) => return Err(Stopped::Unwanted),
                };
                service.stored(stored.size);
                (outcome, Some(key))
            }
        };
        match insist(|| service.ledger.complete(lease.token, outcome.clone())).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if let Some(key) = stored {
                    service.take_back(lease, &key).await;
                }
                Err(unless_lost(&error))
            }
        }
    }
}

/// What a process has made.
enum Made {
    /// What the ledger is told is all there is.
    Known(Outcome),
    /// A file, which is to become an object.
    File { taken: Taken, key: ObjectKey, outcome: Outcome },
}

/// Keeps a lease until it is lost. Asks whenever something has changed, so that a cancelled task stops at once.
async fn beat(service: &Inner, lease: &Lease, latest: watch::Receiver<WorkProgress>) {
    let mut changes = service.ledger.changes();
    let pace = BEAT.min(lease.duration / 3).max(Duration::from_millis(10));
    let mut ticks = tokio::time::interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            open = changes.wait() => {
                if !open {
                    return;
                }
                // Others' changes come in bursts.
                sleep((pace / 20).saturating_sub(last.elapsed())).await;
                let _ = changes.seen();
            }
        }
        last = Instant::now();
        let progress = *latest.borrow();
        match service.ledger.heartbeat(lease.token, progress).await {
            Ok(()) => {}
            Err(LedgerError::LeaseLost { .. }) => return,
            Err(error) => tracing::warn!(key = lease.key, "a heartbeat is not noted: {error}"),
        }
    }
}

fn is_set(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow()
}

/// Waits until `stop` is set, or nobody is left to set it.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Calls the ledger until it answers: a full disk or a lock may pass, and a result is worth waiting for.
async fn insist<T, F: Future<Output = LedgerResult<T>>>(call: impl Fn() -> F) -> LedgerResult<T> {
    const ATTEMPTS: u32 = 10;
    for _ in 1..ATTEMPTS {
        match call().await {
            Err(error @ (LedgerError::Full { .. } | LedgerError::Locked { .. } | LedgerError::Storage { .. })) => {
                tracing::warn!("trying again: {error}");
                sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
    call().await
}

/// The failure as clients may read it: where the data folder lies is the operator's to know.
fn without_paths(failure: Failure, data: &Path) -> Failure {
    let hidden = |text: String| match data.to_str().filter(|data| data.len() > 1) {
        Some(data) => text.replace(data, "(data)"),
        None => text,
    };
    Failure { reason: hidden(failure.reason), log: hidden(failure.log), ..failure }
}

fn time_limit(work: &Work) -> Duration {
    match work {
        Work::Index => LONGEST_INDEX,
        Work::Plan { job } | Work::Clip { job, .. } => job.timeout,
        Work::Merge { .. } => LONGEST_MERGE,
    }
}

fn describe(work: &Work) -> String {
    match work {
        Work::Index => "index".to_owned(),
        Work::Plan { .. } => "plan".to_owned(),
        Work::Clip { index, .. } => format!("clip {index}"),
        Work::Merge { .. } => "merge".to_owned(),
    }
}

fn write_plan(plan: TaskPlan, place: &Place) -> Result<TaskPlan, Stopped> {
    let record = || -> serde_json::Result<String> {
        let plan = RawValue::from_string(plan.record.clone())?;
        let SourceVersion { e_tag, sample } = place.version.clone();
        serde_json::to_string(&PlanRecord { e_tag, sample, plan })
    };
    let record = record().map_err(|error| unexpected(&error))?;
    Ok(TaskPlan { clips: plan.clips, record })
}

/// The plan, if it was made of the source that is there now.
fn read_plan(record: &str, place: &Place) -> Result<String, Stopped> {
    let record: PlanRecord = serde_json::from_str(record).map_err(|error| unexpected(&error))?;
    let planned = SourceVersion { e_tag: record.e_tag, sample: record.sample };
    if !planned.is(&place.version) {
        let reason = "the source was replaced after the task was planned; clear the task, and make it again".to_owned();
        return Err(Stopped::Failed(Failure { reason, log: String::new(), permanent: true }));
    }
    Ok(record.plan.get().to_owned())
}

fn replanned(answer: Answer, place: &Place) -> Result<Made, Stopped> {
    match answer {
        Answer::OffGrid(plan) => Ok(Made::Known(Outcome::Replanned(write_plan(plan, place)?))),
        answer => Err(unexpected(&answer)),
    }
}

fn timed_out(limit: Duration) -> Failure {
    let limit = limit.as_secs_f64();
    let limit = if limit < 120.0 { format!("{limit} seconds") } else { format!("{} minutes", (limit / 60.0).round()) };
    let reason = format!("it was not done within {limit}; allow more time, or look for what the script waits for");
    Failure { reason, log: String::new(), permanent: false }
}

fn failed(error: &TaskError) -> Stopped {
    let permanent = matches!(error, TaskError::NoSource | TaskError::Key(_));
    Stopped::Failed(Failure { reason: chain(error), log: String::new(), permanent })
}

fn broken(error: ProcessError) -> Stopped {
    Stopped::Failed(error.into_failure())
}

fn unexpected(what: &dyn std::fmt::Debug) -> Stopped {
    let reason = format!("internal error in the worker: {what:?}; please report it");
    Stopped::Failed(Failure { reason, log: String::new(), permanent: false })
}

fn unless_lost(error: &LedgerError) -> Stopped {
    match error {
        LedgerError::LeaseLost { .. } => Stopped::Unwanted,
        error => Stopped::Failed(Failure { reason: error.to_string(), log: String::new(), permanent: false }),
    }
}
