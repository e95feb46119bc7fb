//! What is shown while a rip runs: bars on a terminal, lines elsewhere, JSON for programs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use finalrip_core::{Plan, RipEvent, RipProgress};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use crate::common::clock;

/// The least time between two lines of progress.
const LINES: Duration = Duration::from_secs(5);

const WHOLE: &str = "{prefix:>9} {wide_bar} {pos:>7}/{len:<7} {msg:<36}";
const WORKER: &str = "{prefix:>9} {wide_bar:.dim} {pos:>7}/{len:<7} {msg:<36}";

/// Shows a rip's events.
pub(crate) enum Show {
    Bars(Box<Bars>),
    Lines(Lines),
    Json,
}

impl Show {
    pub(crate) fn new(json: bool, bars: MultiProgress) -> Self {
        match json {
            true => Self::Json,
            false if std::io::stderr().is_terminal() => Self::Bars(Box::new(Bars::new(bars))),
            false => Self::Lines(Lines { told: Instant::now() }),
        }
    }

    pub(crate) fn event(&mut self, event: &RipEvent) {
        match self {
            Self::Bars(bars) => bars.event(event),
            Self::Lines(lines) => lines.event(event),
            Self::Json => print_json(event),
        }
    }

    /// Takes the bars away.
    pub(crate) fn end(&mut self) {
        if let Self::Bars(bars) = self {
            drop(bars.all.clear());
        }
    }
}

/// One object a line. Whoever reads them may have gone, which is no reason to stop.
fn print_json(event: &RipEvent) {
    if let Ok(line) = serde_json::to_string(event) {
        drop(writeln!(std::io::stdout().lock(), "{line}"));
    }
}

/// A bar for each worker and one for the whole.
pub(crate) struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    workers: BTreeMap<usize, ProgressBar>,
}

impl Bars {
    fn new(all: MultiProgress) -> Self {
        let whole = all.add(bar(WHOLE, "whole"));
        Self { all, whole, workers: BTreeMap::new() }
    }

    fn event(&mut self, event: &RipEvent) {
        match event {
            RipEvent::Progress(progress) => self.progress(progress),
            RipEvent::ChunkStarted { chunk, range, worker, .. } => {
                let bar = self.worker(*worker);
                bar.set_length(range.len().into());
                bar.set_position(0);
                bar.set_message(format!("chunk {chunk}"));
            }
            RipEvent::ChunkFinished { worker, .. } => self.worker(*worker).set_message("idle"),
            RipEvent::MergeStarted { bytes } => self.merge(*bytes),
            RipEvent::Merging { bytes, pictures, pictures_total } => {
                self.whole.set_length(*pictures_total);
                self.whole.set_position(*pictures);
                self.whole.set_message(HumanBytes(*bytes).to_string());
            }
            _ => {}
        }
        // What is not shown by a bar stays on the screen above them.
        if let Some(line) = lasting(event) {
            self.all.suspend(|| eprintln!("{line}"));
        }
    }

    fn progress(&mut self, progress: &RipProgress) {
        self.whole.set_length(progress.frames_total.into());
        self.whole.set_position(progress.frames.into());
        self.whole.set_message(totals(progress));
        for worker in &progress.workers {
            let bar = self.worker(worker.worker);
            bar.set_length(worker.frames_total.into());
            bar.set_position(worker.frames.into());
            bar.set_message(format!("chunk {}  {:.1} fps", worker.chunk, worker.fps));
        }
    }

    /// The worker's bar, in the order of their numbers.
    fn worker(&mut self, number: usize) -> &ProgressBar {
        let (all, above) = (&self.all, self.workers.range(..number).count());
        self.workers.entry(number).or_insert_with(|| all.insert(above, bar(WORKER, &format!("worker {number}"))))
    }

    fn merge(&mut self, bytes: u64) {
        for bar in std::mem::take(&mut self.workers).into_values() {
            bar.finish_and_clear();
        }
        self.whole.set_prefix("merge");
        self.whole.set_message(format!("of {}", HumanBytes(bytes)));
        self.whole.set_position(0);
    }
}

fn bar(template: &str, name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // Hidden until it is given its place.
    ProgressBar::hidden().with_style(style).with_prefix(name.to_owned())
}

/// A line for whatever happens, for a log.
pub(crate) struct Lines {
    told: Instant,
}

impl Lines {
    fn event(&mut self, event: &RipEvent) {
        let line = match event {
            RipEvent::Progress(progress) if self.is_due() => {
                let RipProgress { frames, frames_total, chunks, chunks_total, .. } = progress;
                let totals = totals(progress);
                Some(format!("{frames} of {frames_total} frames, {chunks} of {chunks_total} chunks: {totals}"))
            }
            RipEvent::Merging { bytes, pictures, pictures_total } if self.is_due() => {
                Some(format!("merged {pictures} of {pictures_total} pictures, {}", HumanBytes(*bytes)))
            }
            RipEvent::ChunkStarted { chunk, range, worker, attempt } => {
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                Some(format!("chunk {chunk}: frames {range} on worker {worker}{again}"))
            }
            RipEvent::ChunkFinished { chunk, frames, bytes, elapsed, .. } => {
                let fps = f64::from(*frames) / elapsed.as_secs_f64().max(1e-9);
                let (bytes, seconds) = (HumanBytes(*bytes), elapsed.as_secs_f64());
                Some(format!("chunk {chunk}: finished, {frames} frames, {bytes}, {seconds:.1} s, {fps:.1} fps"))
            }
            RipEvent::MergeStarted { bytes } => Some(format!("merging {}", HumanBytes(*bytes))),
            other => lasting(other),
        };
        if let Some(line) = line {
            eprintln!("{line}");
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.told.elapsed() >= LINES;
        if due {
            self.told = Instant::now();
        }
        due
    }
}

fn totals(progress: &RipProgress) -> String {
    let left = progress.eta.map_or_else(|| "-".to_owned(), clock);
    format!("{:.1} fps  {}  {left} left", progress.fps, HumanBytes(progress.bytes))
}

/// What a person wants to find again after a rip, whatever else was shown.
fn lasting(event: &RipEvent) -> Option<String> {
    match event {
        RipEvent::StartedAfresh { changed } => {
            Some(format!("An earlier run's chunks are not used; changed: {}", changed.join(", ")))
        }
        RipEvent::Planned { plan, finished } => Some(planned(plan, finished)),
        RipEvent::ChunkFailed { chunk, attempt, attempts_left, reason } => {
            Some(format!("chunk {chunk}: attempt {attempt} failed, {attempts_left} left: {reason}"))
        }
        RipEvent::TimingChanged { chunk } => {
            Some(format!("Chunk {chunk} shows a variable frame rate: starting again with the frames' own durations"))
        }
        RipEvent::LengthDiffers(differs) => Some(format!("Warning: {differs}")),
        _ => None,
    }
}

fn planned(plan: &Plan, finished: &[usize]) -> String {
    // The table of chunks is for --plan-only.
    let text = plan.to_string();
    let head = text.lines().next().unwrap_or_default();
    match finished.len() {
        0 => head.to_owned(),
        count => format!("{head}\n{count} of them finished by an earlier run: {}", spans(finished)),
    }
}

/// Chunk numbers in ascending order, as `0-3, 5`.
fn spans(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let text = |run: &[usize]| match run {
        [first, .., last] => format!("{first}-{last}"),
        [only] => only.to_string(),
        [] => String::new(),
    };
    runs.map(text).collect::<Vec<_>>().join(", ")
}
