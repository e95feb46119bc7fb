//! The routes that are one call of the service.

use std::time::Duration;

use finalrip_core::store::{Access, VideoKey};
use finalrip_core::task::{CheckRequest, Overrides, Queue, StartRequest, TaskResult, TaskView, WorkState};
use serde::Serialize;
use tracing::Instrument;

use crate::app::App;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::request::Call;
use crate::wire::{self, Answer, Checked, Clip, Figures, Progress, Task};

/// The least number of minutes that is taken for a time limit.
const LEAST_MINUTES: i64 = 2;
/// The most: a year.
const MOST_MINUTES: i64 = 366 * 24 * 60;

impl App {
    pub(crate) async fn presigned(&self, call: Call) -> Result<Answer, Failure> {
        #[derive(Serialize)]
        struct Presigned {
            url: String,
            exist: bool,
        }
        let fields = call.query()?;
        let base = self.objects_base(&call.head);
        let presigned = self.service.presign(fields.required("video_key")?, &base).await?;
        Ok(wire::with(Presigned { url: presigned.url, exist: presigned.exist }))
    }

    pub(crate) async fn new_task(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.form(&self.config.limits).await?;
        let (service, video) = (self.service.clone(), video_key(&fields)?);
        to_the_end(async move { service.create(&video).await }).await?;
        Ok(wire::done())
    }

    pub(crate) async fn start(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.form(&self.config.limits).await?;
        let (service, video) = (self.service.clone(), video_key(&fields)?);
        let slice = fields.flag("slice")?.unwrap_or(true);
        // Clients send the time for a clip along; it says nothing about the whole film.
        let timeout = minutes(&fields)?.filter(|_| slice);
        let request = StartRequest {
            script: script(fields.required("script")?),
            command: command(fields.required("encode_param")?)?,
            slice,
            timeout,
            queue: queue(&fields)?.unwrap_or_default(),
        };
        to_the_end(async move { service.start(&video, request).await }).await?;
        Ok(wire::done())
    }

    /// What a start would be refused for, before anything is uploaded. Nothing is changed, and no task is needed.
    pub(crate) async fn check(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.form(&self.config.limits).await?;
        let request = CheckRequest {
            script: fields.text("script")?.map(script),
            command: fields.text("encode_param")?.map(|text| text.trim_end().to_owned()),
            video: fields.text("video_key")?.map(ToOwned::to_owned),
        };
        let problems = self.service.examine(request).await?;
        Ok(wire::with(Checked { errors: problems.iter().map(wire::Problem::new).collect() }))
    }

    pub(crate) async fn retry_encode(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.form(&self.config.limits).await?;
        let (service, video, index) = (self.service.clone(), video_key(&fields)?, fields.index()?);
        let overrides = Overrides {
            script: fields.text("script")?.map(script),
            command: fields.text("encode_param")?.map(command).transpose()?,
            timeout: self.retry_time(&video, &fields).await?,
            queue: queue(&fields)?,
        };
        to_the_end(async move { service.retry_encode(&video, index, overrides).await }).await?;
        Ok(wire::done())
    }

    /// The time limit of a retry: nothing for an unsliced task, as at its start.
    async fn retry_time(&self, video: &str, fields: &Fields) -> Result<Option<Duration>, Failure> {
        let Some(timeout) = minutes(fields)? else { return Ok(None) };
        let sliced = match self.service.ledger().task(video).await {
            Ok(task) => task.job.is_none_or(|job| job.slice),
            // Whether there is such a task, and such a clip, is the retry's to say.
            Err(_) => true,
        };
        Ok(sliced.then_some(timeout))
    }

    pub(crate) async fn retry_merge(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.form(&self.config.limits).await?;
        let (service, video) = (self.service.clone(), video_key(&fields)?);
        to_the_end(async move { service.retry_merge(&video).await }).await?;
        Ok(wire::done())
    }

    pub(crate) async fn clear(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.form(&self.config.limits).await?;
        let (service, video) = (self.service.clone(), video_key(&fields)?);
        let keeps = fields.flag("keep_source")?.unwrap_or(false);
        to_the_end(
            async move { if keeps { service.clear_results(&video).await } else { service.clear(&video).await } },
        )
        .await?;
        Ok(wire::done())
    }

    pub(crate) async fn cancel(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.form(&self.config.limits).await?;
        let (service, video) = (self.service.clone(), video_key(&fields)?);
        to_the_end(async move { service.cancel(&video).await }).await?;
        Ok(wire::done())
    }

    pub(crate) async fn progress(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.query()?;
        let view = self.service.progress(fields.required("video_key")?).await?;
        self.show(&view, &self.base(&call.head)).await
    }

    /// A task's progress with its links.
    async fn show(&self, view: &TaskView, base: &str) -> Result<Answer, Failure> {
        let task = &view.progress.task;
        let video = VideoKey::new(task.key.clone()).map_err(|error| Failure::bad(error.to_string()))?;
        let mut clips = Vec::with_capacity(view.progress.clips.len());
        for clip in &view.progress.clips {
            let encoded = video.encoded_clip(clip.index);
            let encode_url = self.link_if(clip.state == WorkState::Completed, &encoded, base).await?;
            let clip_url = match view.source_bytes {
                Some(_) => self.service.clip_link(&video, clip.index, base),
                None => String::new(),
            };
            clips.push(Clip::new(&video, clip, clip_url, encode_url));
        }
        let url = self.link_if(view.source_bytes.is_some(), &video.source(), base).await?;
        let encode_url = self.link_if(view.result_bytes.is_some(), &video.result(), base).await?;
        Ok(wire::with(Progress {
            progress: clips,
            task: Task::new(task, &url, &video.result(), &encode_url),
            size: view.source_bytes.map(wire::size).unwrap_or_default(),
            encode_size: view.result_bytes.map(wire::size).unwrap_or_default(),
            figures: Figures::new(&view.progress),
        }))
    }

    /// A link to an object that is there; nothing otherwise.
    async fn link_if(&self, there: bool, key: &finalrip_core::store::ObjectKey, base: &str) -> Result<String, Failure> {
        if !there {
            return Ok(String::new());
        }
        let (objects, expires) = (format!("{base}{}", crate::routes::OBJECTS), self.links.expiry());
        Ok(self.service.store().link(key, Access::Download, expires, &objects).await?)
    }
}

/// Runs a call that changes something to its end, also when the client goes away in the middle of it.
async fn to_the_end<T: Send + 'static>(
    call: impl Future<Output = TaskResult<T>> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::spawn(call.in_current_span()).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => {
            tracing::error!(%error, "a call did not come to its end");
            Err(Failure::internal())
        }
    }
}

fn video_key(fields: &Fields) -> Result<String, Failure> {
    fields.required("video_key").map(ToOwned::to_owned)
}

/// A script with the line ends of the machine that it runs on. Forms carry CRLF.
fn script(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// A command: one line.
fn command(text: &str) -> Result<String, Failure> {
    let text = text.trim_end();
    if text.contains(['\n', '\r']) {
        return Err(Failure::bad("`encode_param` has a line break in it; it is one line"));
    }
    if text.is_empty() {
        return Err(Failure::bad("`encode_param` is empty"));
    }
    Ok(text.to_owned())
}

/// The time limit for a clip; nothing if there is none, or one that means the default.
fn minutes(fields: &Fields) -> Result<Option<Duration>, Failure> {
    match fields.number("timeout")? {
        Some(minutes) if minutes > MOST_MINUTES => {
            Err(Failure::bad(format!("`timeout` is more than {MOST_MINUTES} minutes")))
        }
        Some(minutes) if minutes >= LEAST_MINUTES => Ok(Some(Duration::from_secs(minutes.unsigned_abs() * 60))),
        _ => Ok(None),
    }
}

fn queue(fields: &Fields) -> Result<Option<Queue>, Failure> {
    let parse = |text: &str| text.parse().map_err(|_| Failure::bad("`queue` is neither `default` nor `priority`"));
    fields.text("queue")?.map(parse).transpose()
}
