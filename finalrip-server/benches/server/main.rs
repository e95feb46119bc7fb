//! The server under load: the real program, over real sockets, in a folder of its own.
//!
//! ```text
//! cargo bench -p finalrip-server --bench server -- [load|slow|uploads|scheduling|overhead] [--runs N] [--quick]
//! ```
//!
//! - **load**: a task encodes while 10,000 others are in the ledger and 50 clients ask for the list of all of them and for
//!   the task's progress: as pages in browsers (which keep the list and ask whether it is still the same), as scripts, and
//!   as scripts that do not take gzip, each every five seconds, and as pages that ask again at once. The first list after
//!   the start, which is made from the ledger, is told apart. Each run encodes the same source under each load, in an order
//!   that turns from run to run; the ratio to the task alone is taken within a run, and its median counts.
//! - **slow**: 600 connections that send or take a byte a second; what others wait with and without them, and what the
//!   server holds.
//! - **uploads**: 200 uploads by signed links at once; the most memory that was ever resident.
//! - **scheduling**: workers that encode nothing lease, renew and complete clips of a ledger on the disk.
//! - **overhead**: a task against the same rip by the library in a process of its own, with one worker each, the source's
//!   index made beforehand; ratios of the wall time within pairs, whose order turns.
//!
//! Clients and server share the machine: what the clients take counts against the server. A request's time runs from
//! before it is sent until its answer has been read to the end. Nothing fails because it is slow.

#![allow(clippy::print_stdout, reason = "a bench is read on standard output")]

#[path = "../../../benches/shared/amount.rs"]
mod amount;
mod client;
#[path = "../../../benches/shared/content.rs"]
mod content;
mod latency;
mod load;
#[path = "../../../benches/shared/machine.rs"]
mod machine;
mod overhead;
mod scheduling;
mod server;
mod slow;
#[path = "../../../benches/shared/spread.rs"]
mod spread;
mod tasks;
mod uploads;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use amount::Amount;
use content::Content;
use load::{Answered, Load};
use server::Server;
use spread::Spread;

/// Tasks in the ledger.
const TASKS: u32 = 10_000;

/// Runs of a part that show what is to be seen.
const RUNS: u32 = 3;

/// The parts, in the order in which they run.
const PARTS: [&str; 5] = ["slow", "load", "uploads", "scheduling", "overhead"];

/// Measures the server under load.
#[derive(Parser)]
struct Arguments {
    /// Run the parts whose name begins with this.
    filter: Option<String>,
    #[command(flatten)]
    amount: Amount,
}

impl Arguments {
    fn runs(&self) -> u32 {
        self.amount.runs(RUNS)
    }

    /// So many, or a tenth.
    fn many(&self, count: u32) -> u32 {
        if self.amount.quick { count / 10 } else { count }
    }
}

fn main() -> ExitCode {
    let result = match overhead::requested() {
        Some((source, output)) => overhead::serve(source, output),
        None => measure(&Arguments::parse()),
    };
    amount::end(result)
}

fn measure(arguments: &Arguments) -> Result<()> {
    let wanted = |part: &&str| arguments.filter.as_ref().is_none_or(|filter| part.starts_with(filter.as_str()));
    let parts: Vec<&str> = PARTS.into_iter().filter(wanted).collect();
    if parts.is_empty() {
        bail!("no part begins like that; there are {}", PARTS.join(", "));
    }
    let folder = tempfile::Builder::new().prefix("bench-server-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for part in parts {
        let site = folder.path().join(part);
        std::fs::create_dir_all(&site)?;
        match part {
            "slow" => runtime.block_on(slow(arguments, &site))?,
            "load" => runtime.block_on(load(arguments, &site))?,
            "uploads" => runtime.block_on(uploads(arguments, &site))?,
            "scheduling" => runtime.block_on(scheduling(arguments, &site))?,
            _ => runtime.block_on(overhead(arguments, &site))?,
        }
        std::fs::remove_dir_all(&site)?;
    }
    println!("{}; source index warm, medians of {} runs.", machine::describe()?, arguments.runs());
    Ok(())
}

async fn load(arguments: &Arguments, site: &Path) -> Result<()> {
    let content = Content::prepare(arguments.many(1000))?;
    let count = arguments.many(TASKS);
    tasks::make(count, &site.join("data")).await?;
    let server = Server::start(site)?;
    println!("load: one task of {} frames, {count} others in the ledger", content.frames);
    println!("  first list after the start: {}", load::first_lists(&server).await?);
    let mut rounds = Vec::new();
    let mut order = Load::ALL;
    for run in 0..arguments.runs() {
        let mut round = Vec::new();
        for load in order {
            let done = load::run(&server, &content, &format!("film {run} {load}.mkv"), load).await?;
            println!(
                "  run {}: {load}: {:.2} s wall, CPU {:.2} s server, {:.2} s clients",
                run + 1,
                done.wall,
                done.server,
                done.clients
            );
            round.push((load, done));
        }
        rounds.push(round);
        order.rotate_left(1);
    }
    for load in Load::ALL {
        report(load, &rounds);
    }
    println!("  resident at most {} MiB\n", server.process().resident()?.1 >> 20);
    server.stop()
}

/// What all runs under a load come to.
fn report(load: Load, rounds: &[Vec<(Load, load::Run)>]) {
    let of = |round: &[(Load, load::Run)], wanted: Load| {
        round.iter().find(|(load, _)| *load == wanted).map(|(_, run)| run.clone())
    };
    let pairs: Vec<_> = rounds.iter().filter_map(|round| Some((of(round, Load::None)?, of(round, load)?))).collect();
    let wall = Spread::of(&pairs, |(alone, under)| under.wall / alone.wall);
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    // What the encoder could not have.
    let server = Spread::of(&pairs, |(_, under)| 100.0 * under.server / under.wall / cores);
    let clients = Spread::of(&pairs, |(_, under)| 100.0 * under.clients / under.wall / cores);
    println!("  {load}: wall {wall} of the task alone; % of all cores: server {server}, clients {clients}");
    let mut all = Answered::default();
    pairs.iter().for_each(|(_, under)| all.extend(&under.answered));
    let mebibytes = all.list_bytes as f64 / f64::from(1 << 20);
    for (what, latencies) in [
        ("progress", &all.progress),
        ("list, not changed", &all.same),
        (&*format!("list, all {mebibytes:.1} MiB of it"), &all.whole),
    ] {
        if latencies.count() > 0 {
            println!("    {what}: {latencies}");
        }
    }
}

async fn slow(arguments: &Arguments, site: &Path) -> Result<()> {
    tasks::make(arguments.many(TASKS), &site.join("data")).await?;
    let server = Server::start(site)?;
    println!("slow: {} connections that send or take a byte a second", slow::OF_EACH * slow::KINDS);
    let key = "[Group] A film of many parts - 00001 (BD 1920x1080 x265 FLAC).mkv";
    let mut rounds = Vec::new();
    for run in 0..arguments.runs() {
        let round = slow::round(&server, key).await?;
        println!("  run {}: without them {}", run + 1, round.alone);
        println!("         with them    {}", round.beside);
        let [before, there, end, after] = round.held;
        println!("         the server holds {before}; with them {there}; at their end {end}; then {after}");
        rounds.push(round);
    }
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let alone = Spread::of(&rounds, |round| round.alone.percentile(share));
        let beside = Spread::of(&rounds, |round| round.beside.percentile(share));
        println!("  {name}: {alone} ms without them, {beside} ms with them");
    }
    println!();
    server.stop()
}

async fn uploads(arguments: &Arguments, site: &Path) -> Result<()> {
    let server = Server::start(site)?;
    let uploaded = uploads::run(&server, 200, if arguments.amount.quick { 1 } else { 16 }).await?;
    println!("uploads: {uploaded}\n");
    server.stop()
}

async fn scheduling(arguments: &Arguments, site: &Path) -> Result<()> {
    println!("scheduling: workers that encode nothing lease, renew and complete");
    for workers in [1, 8] {
        println!("  {}", scheduling::drain(arguments.many(100), workers, site).await?);
    }
    println!();
    Ok(())
}

async fn overhead(arguments: &Arguments, site: &Path) -> Result<()> {
    let content = Content::prepare(if arguments.amount.quick { content::FRAMES / 8 } else { content::FRAMES })?;
    let server = Server::start(site)?;
    println!("overhead: one task of {} frames", content.frames);
    let mut pairs = Vec::new();
    for run in 0..arguments.runs() {
        let pair = overhead::pair(&server, &content, run).await?;
        let overhead::Pair { server, library } = pair;
        println!(
            "  run {}: server {:.2} s wall, {:.2} s CPU; library {:.2} s wall, {:.2} s CPU",
            run + 1,
            server.wall,
            server.cpu,
            library.wall,
            library.cpu
        );
        pairs.push(pair);
    }
    let wall = Spread::of(&pairs, |pair| pair.server.wall / pair.library.wall);
    let cpu = Spread::of(&pairs, |pair| pair.server.cpu / pair.library.cpu);
    println!("  server against library: wall {wall}, CPU {cpu}\n");
    server.stop()
}
