//! This library against `vspipe -c y4m SCRIPT - | ffmpeg -i - … OUT`, on the same work.
//!
//! ```text
//! cargo bench --bench pipe -- [filter] [--runs N] [--quick]
//! ```
//!
//! Each run of a case does the same work four times, one after the other, so that what else the machine does meets all
//! of them alike: this library; the pipe; the filter graph alone (`vspipe SCRIPT --`); the encoder alone, fed with
//! frames that lie in memory. The first two change places from run to run. Ratios are taken within a run, and their
//! median is what counts. Before anything is timed, each case runs once on both sides, and their files must hold the
//! same packets: a comparison of different work is refused.
//!
//! Every side is a process of its own, start-up included: this program starts itself again for the library. Wall time
//! runs from the first start to the last end; CPU time is user and system time of all processes of a side; memory is
//! the sum of the processes' largest resident sets. Both sides write a file to the same folder. Nothing fails because
//! it is slow.

#![allow(clippy::print_stdout, reason = "a bench is read on standard output")]

#[path = "../shared/amount.rs"]
mod amount;
mod cases;
mod child;
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/measure.rs"]
mod measure;
mod round;
mod scratch;
mod sides;
#[path = "../shared/spread.rs"]
mod spread;
mod table;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use amount::Amount;
use cases::Case;
use round::Round;
use scratch::Scratch;
use sides::Side;

/// Runs of a case that show what is to be seen.
const RUNS: u32 = 5;

/// Compares this library with vspipe | ffmpeg.
#[derive(Parser)]
struct Arguments {
    /// Run the cases whose name contains this.
    filter: Option<String>,
    #[command(flatten)]
    amount: Amount,
}

fn main() -> ExitCode {
    let result = match child::requested() {
        Some(request) => child::serve(&request),
        None => compare(&Arguments::parse()),
    };
    amount::end(result)
}

fn compare(arguments: &Arguments) -> Result<()> {
    let scratch = Scratch::prepare()?;
    let mut results = Vec::new();
    for case in cases::matching(arguments.filter.as_deref(), arguments.amount.quick) {
        let rounds =
            measure_case(&case, &scratch, arguments.amount.runs(RUNS)).with_context(|| case.name.to_owned())?;
        let result = table::CaseResult::new(case, &rounds);
        println!("{result}");
        results.push(result);
    }
    anyhow::ensure!(!results.is_empty(), "no case has that in its name");
    println!(
        "{}",
        table::Markdown { results: &results, machine: &machine::describe()?, runs: arguments.amount.runs(RUNS) }
    );
    Ok(())
}

fn measure_case(case: &Case, scratch: &Scratch, runs: u32) -> Result<Vec<Round>> {
    let job = scratch.job(case)?;
    println!("{}: {}", case.name, case.title);
    job.check_same_work()?;
    (0..runs)
        .map(|run| {
            let (first, second) = if run % 2 == 0 { (Side::Library, Side::Pipe) } else { (Side::Pipe, Side::Library) };
            let (first_usage, second_usage) = (job.run(first)?, job.run(second)?);
            let (library, pipe) =
                if first == Side::Library { (first_usage, second_usage) } else { (second_usage, first_usage) };
            let round = Round { library, pipe, graph: job.run(Side::Graph)?, encoder: job.run(Side::Encoder)? };
            println!("  run {}: {round}", run + 1);
            Ok(round)
        })
        .collect()
}
