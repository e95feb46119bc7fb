//! What an encoder's own command line refuses is refused inside `-x264-params` and its like as well: the library does
//! the same with it, whichever way it is asked.

use super::super::params::{self, Param};
use super::{Act, CommandError, READS_FILE, Takes, Tool, WRITES_FILE, aomenc, svtav1, x264, x265};

/// Refuses an option of libav's whose value, or what stands in its list, asks for what is not done here: files that are
/// read or written beside the output, several passes, parts of the clip, what is known to crash the library.
///
/// # Errors
/// [`CommandError::NotHere`], which names the parameter and why.
pub(in crate::encoder::command) fn refuse_inside(typed: &str, option: &str, value: &str) -> Result<(), CommandError> {
    if LIBRARY_OPTIONS.contains(&option) {
        return Err(CommandError::not_here(typed, READS_FILE));
    }
    if !params::is_list(option) {
        return Ok(());
    }
    let refused = params::split(option, value).into_iter().find_map(|param| {
        let reason = match tool_of(option) {
            Some(tool) => by_tool(tool, &param),
            None => by_name(&param),
        };
        reason.map(|reason| (param, reason))
    });
    let Some((param, reason)) = refused else { return Ok(()) };
    Err(CommandError::not_here(&format!("{} in {typed}", param.key.escape_debug()), reason))
}

/// Options that name a library to load.
const LIBRARY_OPTIONS: [&str; 2] = ["omx_libname", "omx_libprefix"];

fn tool_of(option: &str) -> Option<&'static Tool> {
    match option {
        "x264-params" | "x264opts" => Some(&x264::TOOL),
        "x265-params" => Some(&x265::TOOL),
        "svtav1-params" => Some(&svtav1::TOOL),
        "aom-params" => Some(&aomenc::TOOL),
        _ => None,
    }
}

/// Why the tool refuses the parameter. A number of 0, and a flag that is turned off, ask for nothing.
fn by_tool(tool: &'static Tool, param: &Param<'_>) -> Option<&'static str> {
    let (name, is_off) = param.meaning();
    let refused = |wanted: &str| {
        tool.special.iter().find_map(|&(known, takes, act)| match act {
            Act::Refuse(reason) | Act::RefuseUnlessZero(reason) if known == wanted => Some((takes, reason)),
            _ => None,
        })
    };
    if let Some((takes, reason)) = refused(&name) {
        let is_nothing = match takes {
            Takes::Nothing => is_off,
            Takes::Whole | Takes::Number | Takes::MaybeWhole => param.bare_value().parse() == Ok(0.0),
            Takes::Text | Takes::MaybeText => false,
        };
        return (!is_nothing).then_some(reason);
    }
    if is_off && let Some((_, reason)) = refused(&format!("no-{name}")) {
        return Some(reason);
    }
    tool.names_or_files
        .iter()
        .find(|(known, _)| *known == name)
        .and_then(|(_, names)| foreign(param.bare_value(), names))
}

/// Why a value that is none of the names is refused: the library takes any other for a file.
pub(super) fn foreign(value: &str, names: &[&str]) -> Option<&'static str> {
    (!names.contains(&value)).then_some(READS_FILE)
}

/// Why a parameter of a library is refused whose command line is not known here: by what its name says.
fn by_name(param: &Param<'_>) -> Option<&'static str> {
    const WRITTEN: [&str; 8] = ["output", "recon", "trace", "stat", "summary", "dump", "log", "outdir"];
    const READ: [&str; 5] = ["input", "config", "roi", "table", "cqm"];
    let name = param.key.to_ascii_lowercase();
    let is_file = name.contains("file") || name.contains("path");
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let is_number = param.value.parse::<f64>().is_ok();
    // A profile is no file, and a level of logging none either.
    if name.contains("profile") || is_number {
        return None;
    }
    if has(&WRITTEN) && (is_file || !name.contains("loglevel")) {
        return Some(WRITES_FILE);
    }
    (is_file || has(&READ)).then_some(READS_FILE)
}
