//! The whole job, from script and source to finished file, against what does it today.
//!
//! ```text
//! cargo bench --bench rip -- [filter] [--runs N] [--warm] [--quick]
//! ```
//!
//! Each run of a case does the same job once on each side, in an order that turns from run to run:
//! - **rip**: this library's `Rip`, in one process;
//! - **pipe**: one `vspipe -c y4m SCRIPT - | ffmpeg -i - … video`, then `ffmpeg` merges the source's other streams;
//! - **segments**: what FinalRip's Go program runs, one after the other: `ffmpeg -f segment` cuts the source, each segment
//!   goes through `vspipe | ffmpeg`, `mkvmerge` appends, `ffmpeg` merges, `mkvmerge` and `mkvpropedit` tidy up;
//! - **av1an**, when it is on PATH, with two workers;
//! - and for the limit, the filter graph alone (`vspipe SCRIPT --`) and the encoder alone, which reads frames from a file
//!   of raw video that is not counted.
//!
//! A source's index is cold for every side (an empty cache folder each time), or with `--warm` made beforehand. Ratios are
//! taken within a run; their median counts. CPU time is that of all processes, memory that of those that run side by side,
//! bytes written are the kernel's count. Each side's file must have every frame. Nothing fails because it is slow.

#![allow(clippy::print_stdout, reason = "a bench is read on standard output")]

#[path = "../shared/amount.rs"]
mod amount;
mod cases;
#[path = "../shared/content.rs"]
mod content;
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/measure.rs"]
mod measure;
mod sides;
#[path = "../shared/spread.rs"]
mod spread;
mod table;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use amount::Amount;
use cases::Case;
use content::Content;
use sides::{Job, Side};
use table::{CaseResult, Round};

/// Runs of a case that show what is to be seen.
const RUNS: u32 = 3;

/// Compares a rip with the chains of commands that do the same.
#[derive(Parser)]
struct Arguments {
    /// Run the cases whose name contains this.
    filter: Option<String>,
    /// The source's index is there before the clock starts.
    #[arg(long)]
    warm: bool,
    #[command(flatten)]
    amount: Amount,
}

fn main() -> ExitCode {
    let result = match sides::requested() {
        Some(request) => request.serve(),
        None => compare(&Arguments::parse()),
    };
    amount::end(result)
}

fn compare(arguments: &Arguments) -> Result<()> {
    let frames = if arguments.amount.quick { content::FRAMES / 8 } else { content::FRAMES };
    let content = Content::prepare(frames)?;
    let runs = arguments.amount.runs(RUNS);
    let mut results = Vec::new();
    for case in cases::matching(arguments.filter.as_deref()) {
        println!("{}: {}", case.name, case.title);
        let rounds = measure_case(&case, &content, arguments.warm, runs).with_context(|| case.name.to_owned())?;
        let result = CaseResult::new(case, &rounds, frames);
        println!("{result}");
        results.push(result);
    }
    anyhow::ensure!(!results.is_empty(), "no case has that in its name");
    let index = if arguments.warm { "warm" } else { "cold" };
    println!("{}. {frames} frames, source index {index}, medians of {runs} runs.\n", machine::describe()?);
    println!("{}", table::Markdown(&results));
    Ok(())
}

fn measure_case(case: &Case, content: &Content, warm: bool, runs: u32) -> Result<Vec<Round>> {
    let job = Job::new(case, content, warm)?;
    let mut sides = vec![Side::Rip, Side::Pipe, Side::Segments];
    sides.extend(sides::av1an().then_some(Side::Av1an));
    (0..runs)
        .map(|run| {
            let mut round = Round::default();
            sides.rotate_left(usize::from(run > 0));
            for &side in sides.iter().chain(&[Side::Graph, Side::Encoder]) {
                let usage = job.run(side).with_context(|| format!("{side:?}"))?;
                println!(
                    "  run {}: {side:?} {:.2} s, CPU {:.2} s, {:.0} MiB, {:.1} MB written",
                    run + 1,
                    usage.wall,
                    usage.cpu,
                    usage.peak as f64 / f64::from(1 << 20),
                    usage.written as f64 / 1e6,
                );
                round.set(side, usage);
            }
            Ok(round)
        })
        .collect()
}
