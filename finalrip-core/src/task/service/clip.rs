//! The part of the source that a clip covers, as a file, cut when somebody asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use percent_encoding::utf8_percent_encode;

use super::error::{TaskError, TaskResult};
use super::{Inner, Service};
use crate::store::{Access, ObjectKey, STRICT, VideoKey};
use crate::task::error::LedgerError;
use crate::task::process::{EncoderProcess, Order, ProcessError, Scope};
use crate::task::records::{ClipProgress, Failure, TaskProgress};

/// How long a cut may take; it copies at most the whole source.
const LONGEST_CUT: Duration = Duration::from_secs(60 * 60);

/// What is being cut, so that no clip is cut twice at once.
#[derive(Debug, Default)]
pub(super) struct Cuts(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Cuts {
    fn of(&self, key: &ObjectKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.retain(|_, cut| Arc::strong_count(cut) > 1);
        Arc::clone(cuts.entry(key.to_string()).or_default())
    }
}

impl Service {
    /// Sees to it that the part of the source that a clip covers is in the store, and gives its key. It is cut by stream
    /// copy, from the keyframe at or before the clip's start; which part that is follows from the clip's part of all
    /// frames. Encoding never reads it. Clearing the task deletes it.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`], [`LedgerError::NoSuchClip`]; [`TaskError::Uncuttable`] for a source of which no part
    /// can be copied; [`TaskError::Process`] when the process failed; the store failed.
    pub async fn clip(&self, video: &str, index: u32) -> TaskResult<ObjectKey> {
        let progress = self.0.ledger.progress(video).await?;
        let clip = progress.clips.iter().find(|clip| clip.index == index).ok_or(LedgerError::NoSuchClip)?;
        let key = VideoKey::new(video)?.clip(index);
        let cut = self.0.cuts.of(&key);
        let _alone = cut.lock().await;
        if self.0.store.head(&key).await?.is_none() {
            self.0.cut(&progress, clip, &key).await?;
        }
        Ok(key)
    }

    /// A link to the part of the source that a clip covers: [`Service::clip`] behind the route `task/clip` of a server at
    /// `base`, without its token.
    #[must_use]
    pub fn clip_link(&self, video: &VideoKey, index: u32, base: &str) -> String {
        let expires = SystemTime::now() + self.0.options.link_lifetime;
        let query = self.0.links.sign(Access::Download, &video.clip(index).to_string(), expires, None);
        let (base, key) = (base.trim_end_matches('/'), utf8_percent_encode(video.as_str(), STRICT));
        format!("{base}/api/v1/task/clip?video_key={key}&index={index}&{query}")
    }

    /// Whether a request for a clip has the `query` (as it came) of a link that holds.
    #[must_use]
    pub fn check_clip_link(&self, video: &VideoKey, index: u32, query: &str) -> bool {
        self.0.links.verify("GET", &video.clip(index).to_string(), query, SystemTime::now()).is_ok()
    }
}

impl Inner {
    /// Waits until a task is being cleared, or is gone.
    async fn wait_until_cleared(&self, progress: &TaskProgress) {
        let mut changes = self.ledger.changes();
        loop {
            let over = self.is_over(&progress.task.key, progress.task.id).await == Ok(true);
            if over || !changes.wait().await {
                return;
            }
        }
    }

    async fn cut(&self, progress: &TaskProgress, clip: &ClipProgress, key: &ObjectKey) -> TaskResult<()> {
        // Before looking whether it may: clearing waits for whoever has entered.
        let _running = self.running.enter(progress.task.id);
        if self.is_over(&progress.task.key, progress.task.id).await? {
            return Err(LedgerError::UnknownTask.into());
        }
        let cleared = || Err(LedgerError::UnknownTask.into());
        let ready = async {
            let turn = self.cutters.acquire().await;
            Ok::<_, TaskError>((turn, self.place(key.video()).await?))
        };
        let (_turn, place) = tokio::select! {
            ready = ready => ready?,
            () = self.wait_until_cleared(progress) => return cleared(),
        };
        let first = progress.clips.first().map_or(0, |clip| clip.range.start);
        let part = |frame: u32| f64::from(frame - first) / progress.frames_total() as f64;
        let scope = Scope { source: Some(place.file.clone()), read: Vec::new(), cache: None };
        let mut source = place.source.clone();
        let cut = tokio::time::timeout(LONGEST_CUT, async {
            let mut process = EncoderProcess::start(&self.options.process, scope).await?;
            let output = process.scratch().join("cut.mkv");
            let linked = place.link_in(process.scratch());
            source = linked.map_err(|error| ProcessError::Start { reason: error.to_string() })?;
            let (from, to) = (part(clip.range.start), part(clip.range.end));
            let order = Order::Cut { source: source.clone(), from, to, output: output.clone() };
            process.perform(&order, &mut |_| {}).await?;
            let taken = process.take(&output).await?;
            Ok::<_, ProcessError>((process, taken))
        });
        let told = |reason: String| format!("clip {} cannot be cut: {reason}", clip.index);
        let ended = tokio::select! {
            ended = cut => ended,
            () = self.wait_until_cleared(progress) => return cleared(),
        };
        let (process, taken) = match ended {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => {
                let Failure { reason, permanent, .. } = error.into_failure();
                // Where the source lies here is nobody's business.
                let reason = reason.replace(&*source.to_string_lossy(), &progress.task.key);
                return Err(if permanent {
                    TaskError::Uncuttable(told(reason))
                } else {
                    TaskError::Process(told(reason))
                });
            }
            Err(_) => return Err(TaskError::Process(told("it takes too long".to_owned()))),
        };
        let stored = self.store.publish(key, taken.file()).await;
        process.kill().await;
        self.stored(stored?.size);
        Ok(())
    }
}
