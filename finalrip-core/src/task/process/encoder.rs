//! The encoder: moves its pipes out of the script's reach, confines itself, and carries out orders.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::sync::Mutex;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::orders::Bench;
use super::protocol::{Message, Setup, line};
use super::{Confined, Order, confine, log};

/// Where the pipes are moved to: above what scripts take for their own.
const OUT_OF_REACH: i32 = 200;

/// The way to and from the worker.
pub(super) struct Pipes {
    orders: BufReader<File>,
    messages: File,
    errors: File,
}

impl Pipes {
    /// Takes the standard streams over. A script then reads nothing from its standard input, and what it prints arrives
    /// where its errors do.
    fn take() -> io::Result<Self> {
        let orders = BufReader::new(File::from(fcntl_dupfd_cloexec(stdin(), OUT_OF_REACH)?));
        let messages = File::from(fcntl_dupfd_cloexec(stdout(), OUT_OF_REACH)?);
        let errors = File::from(fcntl_dupfd_cloexec(stderr(), OUT_OF_REACH)?);
        dup2_stdin(OpenOptions::new().read(true).open("/dev/null")?)?;
        dup2_stdout(stderr())?;
        Ok(Self { orders, messages, errors })
    }

    /// The next order; `None` when there will be none.
    fn next(&mut self) -> io::Result<Option<Order>> {
        let mut line = Vec::new();
        self.orders.read_until(b'\n', &mut line)?;
        if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&line)?)) }
    }

    pub(super) fn send(&mut self, message: &Message) -> io::Result<()> {
        self.messages.write_all(&line(message).map_err(io::Error::other)?)
    }

    /// After a mark, so that what was logged so far belongs to it.
    fn send_failure(&mut self, reason: String, permanent: bool) -> io::Result<()> {
        // It may be closed: the script can do that.
        let _ = self.errors.write_all(log::MARK);
        self.send(&Message::Failed { reason, permanent })
    }
}

/// Carries out orders until none will come any more.
pub(super) fn encode(setup: Setup) -> ExitCode {
    let work = || {
        let mut pipes = Pipes::take()?;
        // The program may have greeted.
        pipes.messages.write_all(b"\n")?;
        match make_ready(&setup, &pipes.errors) {
            Ok(confined) => {
                pipes.send(&Message::Ready { id: std::process::id(), confined })?;
                carry_out(pipes, setup)
            }
            Err(reason) => pipes.send_failure(reason, false),
        }
    };
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Perhaps nobody reads that either.
            let _ = writeln!(std::io::stderr(), "the way to the worker is gone: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Before anything foreign runs, and while there is only this thread.
fn make_ready(setup: &Setup, errors: &File) -> Result<Confined, String> {
    // Should somebody kill the guardian. Its one thread lives as long as it does.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    log_into(errors.try_clone().map_err(|error| error.to_string())?);
    confine::limit(&setup.limits)?;
    confine::confine(setup)
}

/// Sends what is logged to the worker, warnings and worse unless `RUST_LOG` asks for more.
fn log_into(errors: File) {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let wanted = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(Mutex::new(errors));
    // The program may log in a way of its own.
    let _ = tracing_subscriber::registry().with(lines).with(wanted).try_init();
}

fn carry_out(mut pipes: Pipes, setup: Setup) -> io::Result<()> {
    let mut bench = Bench::new(setup.scratch);
    while let Some(order) = pipes.next()? {
        // Nobody may be listening: then this process is about to be killed.
        let mut tell = |progress| drop(pipes.send(&Message::Progress(progress)));
        match bench.perform(&order, &mut tell) {
            Ok(answer) => pipes.send(&Message::Done(answer))?,
            Err((reason, permanent)) => pipes.send_failure(reason, permanent)?,
        }
    }
    Ok(())
}
