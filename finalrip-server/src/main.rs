//! `finalrip-server`: serves the FinalRip task API, and encodes.

use std::error::Error;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, value_parser};
use finalrip_core::task::EncoderProgram;
use finalrip_server::config::{Config, ConfigError, Kind, Layers, SETTINGS, Setting};
use finalrip_server::{Opened, Server, log, open};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The subcommand under which the server starts itself as an encoder process.
const ENCODER_PROCESS: &str = "encoder-process";

/// The file that is read if none is named.
const USUAL_FILE: &str = "finalrip.toml";

fn main() -> ExitCode {
    // Before anything else: this one speaks on standard input and output, and takes no settings.
    if std::env::args_os().nth(1).is_some_and(|first| first == ENCODER_PROCESS) {
        return finalrip_core::task::encoder_process();
    }
    let matches = command().get_matches();
    let outcome = match matches.subcommand() {
        Some(("check", matches)) => check(matches),
        Some((_, matches)) => hide_secrets(matches).map_err(Into::into).and_then(|()| serve(matches)),
        None => return ExitCode::FAILURE,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be reading it any more, which changes nothing.
            let _ = writeln!(std::io::stderr(), "finalrip-server: {}", finalrip_server::chain(&*error));
            // A wrong configuration is not to be tried again by a supervisor.
            if error.is::<ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Starts this program again, as the same process, with the secrets that are among its arguments in its environment instead:
/// everybody on the machine can read a process's arguments, and its environment only its own user.
///
/// # Errors
/// The program cannot be started again. Without secrets among the arguments nothing happens.
fn hide_secrets(matches: &ArgMatches) -> std::io::Result<()> {
    let given = |setting: &&Setting| matches.value_source(setting.path) == Some(ValueSource::CommandLine);
    let secrets: Vec<&Setting> = SETTINGS.iter().filter(|setting| setting.secret).filter(given).collect();
    if secrets.is_empty() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(std::env::current_exe()?);
    again.arg0(arguments.next().unwrap_or_default());
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let name = text.split_once('=').map_or(&*text, |(name, _)| name);
        match secrets.iter().any(|secret| name.strip_prefix("--") == Some(&secret.flag())) {
            // Its value is the next argument.
            true if name.len() == text.len() => drop(arguments.next()),
            true => {}
            false => {
                again.arg(argument);
            }
        }
    }
    for secret in secrets {
        let value = matches.get_one::<String>(secret.path);
        again.env(secret.variable(), value.map_or("", String::as_str));
    }
    Err(again.exec())
}

fn command() -> Command {
    let with_settings = |command: Command| {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(std::path::PathBuf))
            .help("Settings as TOML (default: finalrip.toml if it is there; FINALRIP_CONFIG)");
        command.arg(file).args(SETTINGS.iter().map(argument))
    };
    Command::new("finalrip-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves the FinalRip task API, and encodes with VapourSynth")
        .after_help("Settings come from the file, then FINALRIP_* variables, then flags; the later wins.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(Command::new("serve").about("Serve until a signal")))
        .subcommand(with_settings(
            Command::new("check").about("Print the settings that serve would use, secrets hidden"),
        ))
}

/// A setting as a flag.
fn argument(setting: &'static finalrip_server::config::Setting) -> Arg {
    let help = match setting.default {
        Some(default) => format!("{} [{}; default: {default}]", setting.help, setting.variable()),
        None => format!("{} [{}]", setting.help, setting.variable()),
    };
    let argument = Arg::new(setting.path).long(setting.flag()).help(help).hide_possible_values(true);
    match setting.kind {
        Kind::Text => argument.value_name("TEXT"),
        Kind::Number | Kind::Fraction => argument.value_name("N"),
        Kind::List => argument.value_name("A,B,..."),
        Kind::Switch => argument
            .value_name("true|false")
            .value_parser(PossibleValuesParser::new(["true", "false"]))
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

/// The settings, from everywhere.
fn layers(matches: &ArgMatches) -> Result<Layers, ConfigError> {
    let mut layers = Layers::default();
    let named = matches.get_one::<std::path::PathBuf>("config").cloned();
    let named = named.or_else(|| std::env::var_os("FINALRIP_CONFIG").map(Into::into));
    match named {
        Some(file) => layers = layers.file(&file)?,
        None if Path::new(USUAL_FILE).exists() => layers = layers.file(Path::new(USUAL_FILE))?,
        None => {}
    }
    layers = layers.environment(std::env::vars_os())?;
    for setting in SETTINGS {
        if let Some(text) = matches.get_one::<String>(setting.path) {
            layers = layers.set(setting, text, &format!("--{}", setting.flag()))?;
        }
    }
    Ok(layers)
}

fn check(matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let layers = layers(matches)?;
    layers.config()?;
    std::io::stdout().write_all(layers.shown().as_bytes())?;
    Ok(())
}

fn serve(matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let layers = layers(matches)?;
    let config = layers.config()?;
    log::start(&config)?;
    for name in layers.unknown_variables() {
        tracing::warn!(name, "this variable is no setting; `finalrip-server help serve` lists them all");
    }
    // The usual soft limit of 1,024 is too small for many uploads.
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!(files, "files that may be open"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(config));
    // What did not end in time is left behind.
    runtime.shutdown_background();
    outcome
}

async fn run(config: Config) -> Result<(), Box<dyn Error>> {
    let (stopper, stop) = watch::channel(false);
    let program = EncoderProgram { program: std::env::current_exe()?, arguments: vec![ENCODER_PROCESS.into()] };
    let Opened { app, token_file } = open(config, program, stop.clone()).await?;
    let server = Server::bind(app).await?;
    tracing::info!(address = %server.address()?, version = env!("CARGO_PKG_VERSION"), "serving");
    if let Some(file) = token_file {
        tracing::info!("no token is configured; clients need the one in {}", file.display());
    }
    let mut serving = std::pin::pin!(server.run(stop));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    for last in [false, true] {
        tokio::select! {
            outcome = &mut serving => return Ok(outcome?),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if !last {
            stopper.send_replace(true);
        }
    }
    tracing::warn!("stopped at once by a second signal");
    Ok(())
}
