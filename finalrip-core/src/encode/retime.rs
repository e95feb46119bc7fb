//! The end of an encode: what the frames said of their durations, all taken together.

use crate::container::{self, Retimed};
use crate::error::Result;
use crate::report::{Report, bitrate};
use crate::timing::{Claims, Schedule, Verdict, contradiction, variable_tick};

use super::job::Job;
use super::pipeline::{Outcome, Stop, Trace, muxer_settings};

/// Gives the pictures of a clip that turned out to be variable their own times, by writing the file once more from its packets.
/// Durations that contradict a rate which is kept become a note.
///
/// # Errors
/// [`Stop::OffGrid`] where the clip is variable and the file cannot be written anew.
pub(super) fn settle(job: &Job, outcome: Outcome) -> Result<Report, Stop> {
    let Outcome { mut report, trace } = outcome;
    let Some(claims) = &trace.claims else { return Ok(report) };
    if let Verdict::Constant { factor } = claims.verdict() {
        report.notes.extend(contradiction(factor, claims.period));
        return Ok(report);
    }
    match retimed(job, &report, &trace, claims)? {
        Some(retimed) => Ok(retimed),
        None => Err(Stop::OffGrid { frame: report.range.end.saturating_sub(1) }),
    }
}

/// The report of the file written anew; `None` where that cannot be.
fn retimed(job: &Job, report: &Report, trace: &Trace, claims: &Claims) -> Result<Option<Report>> {
    if !job.makes_a_picture_of_each_frame() || !trace.is_frame_by_frame() {
        return Ok(None);
    }
    tracing::info!("the clip's frames are not evenly spaced: they are given their own times");
    let starts = claims.starts();
    let duration = starts.last().map_or(0.0, |&end| end as f64 * variable_tick().as_f64());
    let mut settings = muxer_settings(job, &report.encoder, None, trace.stream.sample_aspect);
    // They have done their work.
    settings.bitstream_filters = None;
    let times = Schedule { starts: Some(starts), delay: Schedule::delay_of(&trace.order) };
    let retimed = Retimed { order: &trace.order, times: &times, time_base: variable_tick() };
    let bytes = container::retime(&job.file, &retimed, &settings, &job.cancel)?;
    Ok(bytes.map(|bytes| Report {
        frame_rate: None,
        duration,
        bytes,
        bitrate: bitrate(bytes, duration),
        ..report.clone()
    }))
}

impl Trace {
    /// Whether each frame became one picture, in its place on the clip's own grid.
    pub(crate) fn is_frame_by_frame(&self) -> bool {
        let Some(claims) = &self.claims else { return false };
        let pictures = self.starts.len();
        let places = self.starts.iter().copied().chain([self.end]);
        self.stream.time_base == claims.period && pictures == claims.durations.len() && places.eq(0..=pictures as i64)
    }
}
