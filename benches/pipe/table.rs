//! Ratios, and the tables that are read and pasted.

use std::fmt;

use crate::cases::{CPU_OF_SUM, Case};
use crate::measure::Usage;
use crate::round::Round;
use crate::spread::Spread;

/// A goal and whether the median meets it.
struct Verdict {
    text: String,
    met: bool,
}

/// What the runs of a case come to.
pub(crate) struct CaseResult {
    case: Case,
    library: Medians,
    pipe: Medians,
    graph: Medians,
    encoder: Medians,
    /// The pipe's wall time over the library's.
    speed: Spread,
    /// The library's share of the pipe's CPU time.
    cpu: Spread,
    /// The library's share of the pipe's memory.
    memory: Spread,
    /// Wall time over the longest of what cannot be avoided.
    wall_of_limit: Spread,
    /// CPU time over the sum of both parts.
    cpu_of_sum: Spread,
}

/// The medians of one side.
struct Medians {
    wall: f64,
    cpu: f64,
    mebibytes: f64,
}

impl Medians {
    fn of(rounds: &[Round], side: impl Fn(&Round) -> Usage) -> Self {
        let median = |value: &dyn Fn(Usage) -> f64| Spread::of(rounds, |round| value(side(round))).median;
        Self {
            wall: median(&|usage| usage.wall),
            cpu: median(&|usage| usage.cpu),
            mebibytes: median(&|usage| usage.peak as f64 / f64::from(1 << 20)),
        }
    }
}

impl CaseResult {
    pub(crate) fn new(case: Case, rounds: &[Round]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        Self {
            case,
            library: Medians::of(rounds, |round| round.library),
            pipe: Medians::of(rounds, |round| round.pipe),
            graph: Medians::of(rounds, |round| round.graph),
            encoder: Medians::of(rounds, |round| round.encoder),
            speed: Spread::of(rounds, |round| round.pipe.wall / round.library.wall),
            cpu: Spread::of(rounds, |round| round.library.cpu / round.pipe.cpu),
            memory: Spread::of(rounds, |round| round.library.peak as f64 / round.pipe.peak as f64),
            wall_of_limit: Spread::of(rounds, |round| round.library.wall / limit(round, cores)),
            cpu_of_sum: Spread::of(rounds, |round| round.library.cpu / (round.graph.cpu + round.encoder.cpu)),
        }
    }

    fn fps(&self, side: &Medians) -> f64 {
        f64::from(self.case.frames) / side.wall
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let goal = self.case.goal;
        let speed = Verdict { text: format!("speed ≥ {}", goal.speed), met: self.speed.median >= goal.speed };
        let cpu = goal.cpu.map(|cpu| Verdict { text: format!("CPU ≤ {cpu}"), met: self.cpu.median <= cpu });
        std::iter::once(speed).chain(cpu).collect()
    }

    fn verdict_text(&self) -> String {
        let text = |verdict: &Verdict| format!("{}: {}", verdict.text, if verdict.met { "met" } else { "not met" });
        self.verdicts().iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

/// The wall time below which nothing can get on this machine: the slower part alone, or all the work on all cores.
fn limit(round: &Round, cores: f64) -> f64 {
    let (graph, encoder) = (round.graph, round.encoder);
    graph.wall.max(encoder.wall).max((graph.cpu + encoder.cpu) / cores)
}

impl fmt::Display for CaseResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, side: &Medians| {
            let (fps, memory) = (self.fps(side), side.mebibytes);
            write!(f, "  {name:<14}{fps:>9.1} fps {:>9.2} s wall {:>9.2} s CPU", side.wall, side.cpu)?;
            if memory > 0.0 { writeln!(f, " {memory:>7.0} MiB") } else { writeln!(f) }
        };
        row(f, "library", &self.library)?;
        row(f, "pipe", &self.pipe)?;
        row(f, "graph alone", &self.graph)?;
        row(f, "encoder alone", &self.encoder)?;
        writeln!(f, "  against the pipe:  speed {}, CPU {}, memory {}", self.speed, self.cpu, self.memory)?;
        writeln!(f, "  against the limit: wall {}, CPU {}", self.wall_of_limit, self.cpu_of_sum)?;
        let sum_met = if self.cpu_of_sum.median <= CPU_OF_SUM { "met" } else { "not met" };
        writeln!(f, "  goals: {}, CPU of the parts' sum ≤ {CPU_OF_SUM}: {sum_met}", self.verdict_text())
    }
}

/// The results as the README shows them.
pub(crate) struct Markdown<'a> {
    pub(crate) results: &'a [CaseResult],
    pub(crate) machine: &'a str,
    pub(crate) runs: u32,
}

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}. Medians of {} alternating runs, ratios with their range.\n", self.machine, self.runs)?;
        self.against_the_pipe(f)?;
        writeln!(f)?;
        self.against_the_limit(f)
    }
}

impl Markdown<'_> {
    fn against_the_pipe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| work | frames | fps | pipe's fps | speed | CPU s | pipe's | CPU | MiB | pipe's | memory | goal |"
        )?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")?;
        for result in self.results {
            let (library, pipe) = (&result.library, &result.pipe);
            writeln!(
                f,
                "| {} | {} | {:.0} | {:.0} | {} | {:.1} | {:.1} | {} | {:.0} | {:.0} | {} | {} |",
                result.case.title,
                result.case.frames,
                result.fps(library),
                result.fps(pipe),
                result.speed,
                library.cpu,
                pipe.cpu,
                result.cpu,
                library.mebibytes,
                pipe.mebibytes,
                result.memory,
                result.verdict_text(),
            )?;
        }
        Ok(())
    }

    fn against_the_limit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| work | wall s | graph alone | encoder alone | wall / limit | CPU s | graph + encoder | CPU / sum |"
        )?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for result in self.results {
            writeln!(
                f,
                "| {} | {:.2} | {:.2} | {:.2} | {} | {:.2} | {:.2} | {} |",
                result.case.title,
                result.library.wall,
                result.graph.wall,
                result.encoder.wall,
                result.wall_of_limit,
                result.library.cpu,
                result.graph.cpu + result.encoder.cpu,
                result.cpu_of_sum,
            )?;
        }
        Ok(())
    }
}
