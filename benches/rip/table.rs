//! Ratios, and the table that is read and pasted.

use std::fmt;

use crate::cases::Case;
use crate::measure::Usage;
use crate::sides::Side;
use crate::spread::Spread;

/// One run of every side.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Round {
    rip: Usage,
    pipe: Usage,
    segments: Usage,
    av1an: Option<Usage>,
    graph: Usage,
    encoder: Usage,
}

impl Round {
    pub(crate) fn set(&mut self, side: Side, usage: Usage) {
        match side {
            Side::Rip => self.rip = usage,
            Side::Pipe => self.pipe = usage,
            Side::Segments => self.segments = usage,
            Side::Av1an => self.av1an = Some(usage),
            Side::Graph => self.graph = usage,
            Side::Encoder => self.encoder = usage,
        }
    }

    /// The wall time below which nothing can get: the filters' and the encoder's work on all cores, or the slower one.
    fn limit(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        self.graph.wall.max(self.encoder.wall).max((self.graph.cpu + self.encoder.cpu) / cores)
    }
}

/// The rip against one other side.
struct Against {
    name: &'static str,
    wall: Spread,
    cpu: Spread,
    memory: Spread,
    written: Spread,
}

impl Against {
    fn of(name: &'static str, rounds: &[Round], other: impl Fn(&Round) -> Usage) -> Self {
        Self {
            name,
            wall: Spread::of(rounds, |round| round.rip.wall / other(round).wall),
            cpu: Spread::of(rounds, |round| round.rip.cpu / other(round).cpu),
            memory: Spread::of(rounds, |round| round.rip.peak as f64 / other(round).peak as f64),
            written: Spread::of(rounds, |round| round.rip.written as f64 / other(round).written.max(1) as f64),
        }
    }
}

/// What the runs of a case come to.
pub(crate) struct CaseResult {
    case: Case,
    fps: f64,
    wall: Spread,
    cpu: Spread,
    limit: Spread,
    others: Vec<Against>,
}

impl CaseResult {
    pub(crate) fn new(case: Case, rounds: &[Round], frames: u32) -> Self {
        let wall = Spread::of(rounds, |round| round.rip.wall);
        let mut others = vec![
            Against::of("one pipe", rounds, |round| round.pipe),
            Against::of("segments", rounds, |round| round.segments),
        ];
        if rounds.iter().all(|round| round.av1an.is_some()) {
            others.push(Against::of("av1an", rounds, |round| round.av1an.unwrap_or_default()));
        }
        Self {
            case,
            fps: f64::from(frames) / wall.median,
            wall,
            cpu: Spread::of(rounds, |round| round.rip.cpu),
            limit: Spread::of(rounds, |round| round.rip.wall / round.limit()),
            others,
        }
    }
}

impl fmt::Display for CaseResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  rip: {:.1} fps, {} s wall, {} s CPU; wall against the limit {}",
            self.fps, self.wall, self.cpu, self.limit
        )?;
        for other in &self.others {
            let Against { name, wall, cpu, memory, written } = other;
            writeln!(f, "  against {name}: wall {wall}, CPU {cpu}, memory {memory}, written {written}")?;
        }
        Ok(())
    }
}

/// The results as the README shows them.
pub(crate) struct Markdown<'a>(pub(crate) &'a [CaseResult]);

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| job | fps | wall / limit | against | wall | CPU | memory | written |")?;
        writeln!(f, "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |")?;
        for result in self.0 {
            for (index, other) in result.others.iter().enumerate() {
                if index == 0 {
                    write!(f, "| {} | {:.1} | {} ", result.case.title, result.fps, result.limit)?;
                } else {
                    write!(f, "| | | ")?;
                }
                let Against { name, wall, cpu, memory, written } = other;
                writeln!(f, "| {name} | {wall} | {cpu} | {memory} | {written} |")?;
            }
        }
        Ok(())
    }
}
