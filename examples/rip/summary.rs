//! What a person wants to know of a finished rip.

use std::fmt;

use finalrip_core::{RipReport, StreamReport};
use indicatif::HumanBytes;

use crate::common::clock;

/// Prints a report: the file, its video, the work, and what became of each stream of the source.
pub(crate) struct Summary<'a>(pub(crate) &'a RipReport);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        writeln!(f, "{}", report.output.display())?;
        self.file(f)?;
        self.video(f)?;
        self.work(f)?;
        for stream in &report.streams {
            writeln!(f, "  {:<10} {}", stream.kind.to_string(), about(stream))?;
        }
        if report.chapters > 0 {
            writeln!(f, "  {:<10} {}", "chapters", report.chapters)?;
        }
        report.notes.iter().try_for_each(|note| writeln!(f, "  {:<10} {note}", "note"))
    }
}

impl Summary<'_> {
    fn file(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let length = clock(std::time::Duration::try_from_secs_f64(report.duration).unwrap_or_default());
        let kilobits = report.bytes as f64 * 8.0 / 1000.0 / report.duration.max(1e-9);
        let (bytes, container) = (HumanBytes(report.bytes), &report.container);
        writeln!(f, "  {:<10} {bytes} of {container}, {length} long, {kilobits:.0} kb/s", "file")
    }

    fn video(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let rate =
            report.frame_rate.map_or("variable frame rate".to_owned(), |rate| format!("{:.3} fps", rate.as_f64()));
        let (codec, encoder, pixels) = (&report.codec, &report.encoder, &report.pixel_format);
        let (width, height, pictures) = (report.width, report.height, report.pictures);
        writeln!(f, "  {:<10} {codec} by {encoder}, {width}x{height} {pixels}, {pictures} pictures, {rate}", "picture")
    }

    fn work(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let plural = if report.chunks == 1 { "" } else { "s" };
        write!(f, "  {:<10} {} chunk{plural}", "work", report.chunks)?;
        if report.chunks_resumed > 0 {
            write!(f, ", {} from an earlier run", report.chunks_resumed)?;
        }
        if report.failures > 0 {
            write!(f, ", {} tried again", report.failures)?;
        }
        writeln!(f, ", {} at {:.1} fps", spent(report.elapsed), report.fps)
    }
}

/// A time that is read at a glance: tenths while it is short.
fn spent(time: std::time::Duration) -> String {
    if time.as_secs() < 60 { format!("{:.1} s", time.as_secs_f64()) } else { clock(time) }
}

fn about(stream: &StreamReport) -> String {
    let mut text = format!("{:>2}: {}", stream.source_index, stream.codec);
    if let Some(language) = &stream.language {
        text += &format!(", {language}");
    }
    if let Some(title) = &stream.title {
        text += &format!(", \"{title}\"");
    }
    format!("{text}: {}", stream.action)
}
