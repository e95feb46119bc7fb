//! From the library's error to Python's exceptions, which `finalrip._errors` makes: the same function makes them of what an
//! encoder process reports.

use finalrip_core::Error;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The exception that says what the error says.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    match exception(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(problem) => problem,
    }
}

/// The exception for a setting whose value has the wrong type.
pub(crate) fn unusable_setting(py: Python<'_>, reason: &str) -> PyErr {
    let module = py.import("finalrip._errors");
    let made = module.and_then(|module| {
        module.call_method1("make", ("SettingError", format!("a setting cannot be used: {reason}")))
    });
    made.map_or_else(|problem| problem, PyErr::from_value)
}

/// The library's error for what Python raised while a script was evaluated.
pub(crate) fn of_script(py: Python<'_>, error: &PyErr) -> Error {
    let value = error.value(py);
    let text = |name: &str| value.getattr(name).and_then(|value| value.extract::<String>());
    Error::Script {
        script: text("script").unwrap_or_else(|_| "<string>".to_owned()),
        traceback: text("traceback").unwrap_or_else(|_| error.to_string()),
    }
}

fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    let kind = describe(error, &fields)?;
    let module = py.import("finalrip._errors")?;
    let exception = module.call_method1("make", (kind, error.to_string(), fields))?;
    if let Error::Chunk { source, .. } = error {
        exception.setattr("__cause__", self::exception(py, source)?)?;
    }
    Ok(exception)
}

/// The name of the exception's class, and its attributes.
fn describe(error: &Error, fields: &Bound<'_, PyDict>) -> PyResult<&'static str> {
    let kind = match error {
        Error::Setup { fix, .. } => {
            fields.set_item("fix", fix)?;
            "SetupError"
        }
        Error::Script { script, traceback } => {
            fields.set_item("script", script)?;
            fields.set_item("traceback", traceback)?;
            "ScriptError"
        }
        Error::Clip { .. } => "ClipError",
        Error::Frame { frame, message } => {
            fields.set_item("frame", frame)?;
            fields.set_item("traceback", message)?;
            "FrameError"
        }
        Error::Command(_) => "CommandError",
        Error::Encoder { stage, log, .. } => {
            fields.set_item("stage", stage)?;
            fields.set_item("log", log)?;
            "EncoderError"
        }
        Error::Source { path, .. } => {
            fields.set_item("path", path)?;
            "SourceError"
        }
        Error::Output { path, .. } | Error::State { path, .. } => {
            fields.set_item("path", path)?;
            "OutputError"
        }
        Error::Busy { output, .. } => {
            fields.set_item("path", output)?;
            "BusyError"
        }
        Error::Chunk { chunk, .. } => {
            fields.set_item("chunk", chunk)?;
            "ChunkError"
        }
        Error::Setting { .. } => "SettingError",
        Error::Cancelled => "Cancelled",
        _ => "Error",
    };
    Ok(kind)
}
