//! `finalrip._finalrip`: the door between Python and `finalrip-core`. What users see is written in Python, in
//! `python/finalrip`, and comes here with plain values: text, numbers, and a live node.
//!
//! Reports, events and progress leave as JSON, which is what an encoder process would write as well, so that Python makes
//! its classes of them in one place.

mod door;
mod errors;
mod node;
mod options;
mod properties;
mod thread_state;

use pyo3::prelude::*;

/// The compiled half of the package `finalrip`.
#[pymodule]
mod _finalrip {
    use std::path::PathBuf;

    use finalrip_core::encoder::{available, libav_version as version_of_libav};
    use finalrip_core::{EncodeCommand, Rip, Script, encode_source};
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::door::CancelToken;
    use super::door::{self, json};
    use super::errors;
    #[pymodule_export]
    use super::node::Source;
    use super::options::{EncodeSettings, RipSettings};

    /// Encodes a live node into a file; returns the report as JSON.
    ///
    /// `settings` is JSON. `listen` is called with the progress as JSON, on the calling thread.
    #[pyfunction]
    #[pyo3(signature = (source, command, output, settings, cancel, listen=None))]
    fn encode(
        py: Python<'_>,
        source: &Source,
        command: &str,
        output: PathBuf,
        settings: &str,
        cancel: &CancelToken,
        listen: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        let command = parsed(py, command)?;
        // The caller's token is the caller's to use.
        let stop = cancel.inner.child();
        let options = EncodeSettings::read(py, settings)?.options(stop.clone());
        let frames = source.frames();
        let ended = door::run(py, &stop, listen, source.releaser(), move |tell| {
            let report = encode_source(frames, &command, output, &options, |progress| tell(json(progress)))?;
            Ok(json(&report))
        })?;
        ended.map_err(|error| source.raise(py, &error))
    }

    /// Makes a whole rip of a script whose output is a live node; returns the report as JSON.
    ///
    /// `script` is the script's text, `arguments` what it was evaluated with; they tell a later run whether it is the same
    /// rip. `listen` is called with each event as JSON, on the calling thread.
    #[pyfunction]
    #[pyo3(signature = (source, script, arguments, command, output, settings, cancel, listen=None))]
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
        listen: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        let command = parsed(py, command)?;
        let settings = RipSettings::read(py, settings)?;
        let script = Script::evaluated(script, source.version(), source.frames());
        let mut script = script.map_err(|error| source.raise(py, &error))?;
        for (name, value) in arguments {
            script = script.arg(name, value);
        }
        let video = settings.source.clone();
        let stop = cancel.inner.child();
        let mut rip = Rip::new(script, command, output).options(settings.options(stop.clone()));
        if let Some(video) = video {
            rip = rip.source(video);
        }
        let ended = door::run(py, &stop, listen, source.releaser(), move |tell| {
            rip.run(|event| tell(json(event))).map(|report| json(&report))
        })?;
        ended.map_err(|error| source.raise(py, &error))
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
