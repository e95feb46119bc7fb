//! `finalrip._finalrip`: the door between Python and `finalrip-core`. What users see is written in Python, in
//! `python/finalrip`, and comes here with plain values: text, numbers, and a live node.
//!
//! Reports, events and progress leave as JSON, which is what an encoder process would write as well, so that Python makes
//! its classes of them in one place.

mod door;
mod errors;
mod log;
mod node;
mod options;
mod output;
mod properties;
mod thread_state;

use pyo3::prelude::*;

/// The compiled half of the package `finalrip`.
#[pymodule]
mod _finalrip {
    use std::path::PathBuf;

    use finalrip_core::encoder::{available, libav_version as version_of_libav};
    use finalrip_core::{CancelToken as Token, EncodeCommand, Options, Rip, RipOptions, Script, encode_source};
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::door::CancelToken;
    use super::door::{self, Listeners, json};
    use super::errors;
    use super::node;
    #[pymodule_export]
    use super::node::Source;
    use super::options::{EncodeSettings, RipSettings};

    /// Encodes a live node into a file; returns the report as JSON.
    ///
    /// `settings` is JSON. `log` is called with a level and a line for what is logged, `listen` with the progress as JSON, both
    /// on the calling thread. `inputs` are files that the node reads, as far as the caller knows. With a `descriptor` the bytes go
    /// there, and `output` is its name.
    #[pyfunction]
    #[pyo3(signature = (source, command, output, settings, cancel, log, listen=None, inputs=Vec::new(), descriptor=None))]
    #[allow(clippy::too_many_arguments, reason = "one door, called from one place in Python")]
    fn encode(
        py: Python<'_>,
        source: &Source,
        command: &str,
        output: PathBuf,
        settings: &str,
        cancel: &CancelToken,
        log: Py<PyAny>,
        listen: Option<Py<PyAny>>,
        inputs: Vec<PathBuf>,
        descriptor: Option<i32>,
    ) -> PyResult<String> {
        let command = parsed(py, command)?;
        let output = super::output::output(output, descriptor)?;
        // The caller's token is the caller's to use.
        let stop = cancel.inner.child();
        let options = Options { inputs, ..EncodeSettings::read(py, settings)?.options(stop.clone()) };
        let frames = source.frames();
        let ended = door::run(py, &stop, Listeners { log, listen }, source.releaser(), move |tell| {
            let report = encode_source(frames, &command, output, &options, |progress| tell(json(progress)))?;
            Ok(json(&report))
        })?;
        ended.map_err(|error| source.raise(py, &error))
    }

    /// Makes a whole rip of a script whose output is a live node; returns the report as JSON.
    ///
    /// `script` is the script's text, or says what the node is, and `arguments` are what it was evaluated with; they tell a
    /// later run whether it is the same rip. `log` is called with a level and a line for what is logged, `listen` with each
    /// event as JSON, both on the calling thread. `again` makes another `Source` of the script, on a worker's thread. `inputs`
    /// are files that the script reads, and its own.
    #[pyfunction]
    #[pyo3(signature = (source, script, arguments, command, output, settings, cancel, log, listen=None, again=None, inputs=Vec::new()))]
    #[allow(clippy::too_many_arguments, reason = "one door, called from one place in Python")]
    fn rip(
        py: Python<'_>,
        source: &Source,
        script: &str,
        arguments: Vec<(String, String)>,
        command: &str,
        output: PathBuf,
        settings: &str,
        cancel: &CancelToken,
        log: Py<PyAny>,
        listen: Option<Py<PyAny>>,
        again: Option<Py<PyAny>>,
        inputs: Vec<PathBuf>,
    ) -> PyResult<String> {
        let mut script = evaluated(py, source, script, arguments)?;
        if let Some(again) = again {
            script = script.evaluated_again_by(move || node::made_by(&again));
        }
        let stop = cancel.inner.child();
        let (rip, options) = prepared(py, script, (command, output), settings, stop.clone())?;
        let rip = rip.options(RipOptions { inputs, ..options });
        let ended = door::run(py, &stop, Listeners { log, listen }, source.releaser(), move |tell| {
            rip.run(|event| tell(json(event))).map(|report| json(&report))
        })?;
        ended.map_err(|error| source.raise(py, &error))
    }

    /// Makes the plan that `rip` would make without an earlier run's state; returns it as JSON. The arguments are those of
    /// `rip`.
    #[pyfunction]
    #[allow(clippy::too_many_arguments, reason = "one door, called from one place in Python")]
    fn plan(
        py: Python<'_>,
        source: &Source,
        script: &str,
        arguments: Vec<(String, String)>,
        command: &str,
        output: PathBuf,
        settings: &str,
        cancel: &CancelToken,
        log: Py<PyAny>,
    ) -> PyResult<String> {
        let script = evaluated(py, source, script, arguments)?;
        let stop = cancel.inner.child();
        let (rip, options) = prepared(py, script, (command, output), settings, stop.clone())?;
        let rip = rip.options(options);
        let listeners = Listeners { log, listen: None };
        let ended = door::run(py, &stop, listeners, source.releaser(), move |_| rip.plan().map(|plan| json(&plan)))?;
        ended.map_err(|error| source.raise(py, &error))
    }

    fn evaluated(py: Python<'_>, source: &Source, text: &str, arguments: Vec<(String, String)>) -> PyResult<Script> {
        let script = Script::evaluated(text, source.version(), source.frames());
        let script = script.map_err(|error| source.raise(py, &error))?;
        Ok(arguments.into_iter().fold(script, |script, (name, value)| script.arg(name, value)))
    }

    fn prepared(
        py: Python<'_>,
        script: Script,
        (command, output): (&str, PathBuf),
        settings: &str,
        stop: Token,
    ) -> PyResult<(Rip, RipOptions)> {
        let command = parsed(py, command)?;
        let settings = RipSettings::read(py, settings)?;
        let video = settings.source.clone();
        let rip = Rip::new(script, command, output);
        let rip = match video {
            Some(video) => rip.source(video),
            None => rip,
        };
        Ok((rip, settings.options(stop)))
    }

    /// Reads an encode command; returns what it means as JSON.
    #[pyfunction]
    fn parse_command(py: Python<'_>, text: &str) -> PyResult<String> {
        parsed(py, text).map(|command| json(&command))
    }

    /// The names of all encoders that a command can choose.
    #[pyfunction]
    fn encoders() -> Vec<String> {
        available()
    }

    /// The version of the libav that is linked.
    #[pyfunction]
    fn libav_version() -> String {
        version_of_libav()
    }

    /// The version of the library.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn parsed(py: Python<'_>, text: &str) -> PyResult<EncodeCommand> {
        EncodeCommand::parse(text).map_err(|error| errors::raise(py, &error.into()))
    }
}
