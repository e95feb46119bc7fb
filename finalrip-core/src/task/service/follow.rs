//! Following a task: what happens to it, and how far it has come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream;
use tokio::time::{Instant, sleep_until, timeout};

use super::error::TaskResult;
use super::requests::TaskView;
use super::{Inner, Service};
use crate::task::error::LedgerError;
use crate::task::ledger::Changes;
use crate::task::log::LogEntry;

/// How often progress is told at most, and looked at where nothing tells of it.
const PACE: Duration = Duration::from_millis(500);

/// How many entries are read at once.
const PAGE: u32 = 100;

/// Something that a follower of a task is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something has happened. Whoever follows again after this entry's number misses nothing.
    Log(LogEntry),
    /// How far the task has come, when that has changed; at most twice a second.
    Progress(Box<TaskView>),
}

/// What a follower has been told so far.
struct Follower {
    service: Arc<Inner>,
    video: String,
    after: u64,
    changes: Changes,
    waiting: VecDeque<Event>,
    told: Option<TaskView>,
    /// When progress may be looked at again.
    next: Instant,
    /// Whether it ends with its task, and not only when the task is deleted.
    until_ended: bool,
    ended: bool,
}

impl Service {
    /// Follows a task: its log after the entry numbered `after` (0 for all that is kept), and its progress. Ends with an
    /// error when there is no such task, or no longer.
    pub fn subscribe(&self, video: &str, after: u64) -> impl Stream<Item = TaskResult<Event>> + Send + 'static {
        self.follow(video, after, false)
    }

    /// As [`Service::subscribe`], but the stream ends once the task has completed, failed or been cancelled, and all of its
    /// log and its last progress were delivered. A retry that comes later is not followed.
    pub fn subscribe_until_ended(
        &self,
        video: &str,
        after: u64,
    ) -> impl Stream<Item = TaskResult<Event>> + Send + 'static {
        self.follow(video, after, true)
    }

    fn follow(
        &self,
        video: &str,
        after: u64,
        until_ended: bool,
    ) -> impl Stream<Item = TaskResult<Event>> + Send + 'static {
        let follower = Follower {
            service: Arc::clone(&self.0),
            video: video.to_owned(),
            after,
            changes: self.0.ledger.changes(),
            waiting: VecDeque::new(),
            told: None,
            next: Instant::now(),
            until_ended,
            ended: false,
        };
        stream::unfold(follower, |mut follower| async {
            if follower.ended {
                return None;
            }
            let event = follower.event().await.transpose()?;
            follower.ended = event.is_err();
            Some((event, follower))
        })
    }
}

impl Follower {
    /// The next event; `None` after the last one.
    async fn event(&mut self) -> TaskResult<Option<Event>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                if let Event::Log(entry) = &event {
                    self.after = entry.id;
                }
                return Ok(Some(event));
            }
            // Seen before reading, so that nothing is missed.
            let _ = self.changes.seen();
            let page = self.service.ledger.log(&self.video, self.after, PAGE).await?;
            let more = !page.entries.is_empty();
            // The end is an entry of the log too, written with the state that was delivered: by now it was read.
            if !more && self.until_ended && self.told.as_ref().is_some_and(|told| told.progress.task.state.has_ended())
            {
                return Ok(None);
            }
            self.waiting.extend(page.entries.into_iter().map(Event::Log));
            if !more && let Some(view) = self.progress().await? {
                self.waiting.push_back(Event::Progress(Box::new(view)));
            }
            if self.waiting.is_empty() {
                self.wait().await?;
            }
        }
    }

    /// How far it has come, if it is time to look and something is new.
    async fn progress(&mut self) -> TaskResult<Option<TaskView>> {
        if Instant::now() < self.next {
            return Ok(None);
        }
        self.next = Instant::now() + PACE;
        let progress = self.service.ledger.progress(&self.video).await?;
        if self.told.as_ref().is_some_and(|told| told.progress == progress) {
            return Ok(None);
        }
        let view = self.service.view(progress).await?;
        self.told = Some(view.clone());
        Ok(Some(view))
    }

    /// Waits for a change, or for the time to look at the progress of what runs. Heartbeats are not told of as changes.
    async fn wait(&mut self) -> TaskResult<()> {
        let runs = self.told.as_ref().is_some_and(|told| told.progress.task.state.is_running());
        let at = if runs { self.next } else { self.next + PACE * 20 };
        let open = timeout(at.saturating_duration_since(Instant::now()), self.changes.wait()).await;
        if open == Ok(false) {
            return Err(LedgerError::UnknownTask.into());
        }
        // A change may be another task's; progress has its pace anyway.
        if open.is_ok() && self.told.is_some() {
            sleep_until((Instant::now() + PACE / 10).min(self.next.max(Instant::now()))).await;
        }
        Ok(())
    }
}
