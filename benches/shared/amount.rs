//! How much a bench measures, and how it ends.

use std::process::ExitCode;

use anyhow::Result;

/// What every bench can be told.
#[derive(clap::Args)]
pub(crate) struct Amount {
    /// Runs of what is compared, instead of the usual number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// One run of a part of the work: shows that it works, measures little.
    #[arg(long)]
    pub(crate) quick: bool,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Amount {
    /// How many runs there are to be, where `usual` many show what is to be seen.
    pub(crate) fn runs(&self, usual: u32) -> u32 {
        if self.quick { 1 } else { self.runs.unwrap_or(usual) }
    }
}

/// What the bench ends with; it says what went wrong.
pub(crate) fn end(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
