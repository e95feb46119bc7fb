//! The encoders' own command lines. Each tool is a table of its options, and one walk serves them all: what has a
//! counterpart in libav's options or in the command itself goes there, what the encoder's library parses goes into the
//! wrapper's `…-params`, and what needs a file, a second pass or another input is refused.

mod aomenc;
mod colour;
mod inside;
mod rav1e;
mod svtav1;
mod vpxenc;
mod webm;
mod x264;
mod x265;

pub(super) use self::inside::refuse_inside;
use super::error::CommandError;
use super::params::escape;
use super::suggest::closest;
use super::{EncodeCommand, EncoderChoice, options};
use crate::ffi::options as libav;

/// Reads the words behind a tool's name; `None` when there is no such tool.
pub(super) fn parse(program: &str, words: &[String]) -> Option<Result<EncodeCommand, CommandError>> {
    let name = program.strip_suffix("-10bit").filter(|name| name.starts_with("x26")).unwrap_or(program);
    TOOLS.into_iter().find(|tool| tool.name == name).map(|tool| Reader::new(tool).read(words))
}

static TOOLS: [&Tool; 6] = [&x264::TOOL, &x265::TOOL, &svtav1::TOOL, &rav1e::TOOL, &aomenc::TOOL, &vpxenc::TOOL];

/// A command-line encoder.
struct Tool {
    name: &'static str,
    /// libav's encoder of the same library, or `rav1e`.
    encoder: &'static str,
    /// libav's option that hands parameters to the library.
    params: &'static str,
    /// One-letter options, by their long names.
    short: &'static [(char, &'static str)],
    /// Parameters that are on or off, and can be turned off with `--no-…`.
    flags: &'static [&'static str],
    /// Parameters with a whole number.
    whole: &'static [&'static str],
    /// Parameters with a number.
    numbers: &'static [&'static str],
    /// Parameters with any text.
    texts: &'static [&'static str],
    /// Everything that is not simply handed on.
    special: &'static [(&'static str, Takes, Act)],
    /// Parameters whose value is one of these names, or else the name of a file.
    names_or_files: &'static [(&'static str, &'static [&'static str])],
    /// Whether `-name` means `--name`.
    single_dash_names: bool,
    /// How long names and their values are written.
    long: Long,
    /// What is left to do when all options are read.
    finish: fn(&mut Reader) -> Result<(), CommandError>,
}

/// How a program reads `--name`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Long {
    /// `--name value` or `--name=value`.
    Whole,
    /// The same, and any beginning of the name that no other option shares, as `getopt_long` does.
    Abbreviated,
    /// `--name=value` alone.
    Attached,
}

impl Tool {
    /// The long names of all options.
    fn names(&self) -> impl Iterator<Item = String> {
        let negative = self.flags.iter().map(|flag| format!("no-{flag}"));
        let lists = [self.flags, self.whole, self.numbers, self.texts].into_iter().flatten().copied();
        let special = self.special.iter().map(|&(name, ..)| name);
        negative.chain(lists.chain(special).map(str::to_owned))
    }
}

/// What follows an option.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    /// A whole number, if one follows.
    MaybeWhole,
    /// Any text, if it is attached.
    MaybeText,
    Whole,
    Number,
    Text,
}

/// What is done with an option.
#[derive(Clone, Copy)]
enum Act {
    /// It is handed to the library, under this name if not its own.
    Param(Option<&'static str>),
    /// It is an option of libav's.
    Option(&'static str),
    /// It describes colours, in libav's option of this name and in the library's own parameter of that name.
    Colour(&'static str, Option<&'static str>),
    /// It changes nothing here.
    Unused,
    /// It means something else than its text.
    Do(fn(&mut Reader, &Given<'_>) -> Result<(), CommandError>),
    /// It would do what is not done here.
    Refuse(&'static str),
    /// Likewise, unless its number is 0.
    RefuseUnlessZero(&'static str),
}

/// An option as it was given.
struct Given<'a> {
    /// With its dashes.
    typed: &'a str,
    /// The long name, without dashes.
    name: &'a str,
    /// Empty for flags.
    value: &'a str,
}

impl Given<'_> {
    fn bad_value(&self, allowed: &str) -> CommandError {
        CommandError::bad_value(self.typed, self.value, allowed)
    }

    fn whole<T: std::str::FromStr>(&self) -> Result<T, CommandError> {
        self.value.parse().map_err(|_| self.bad_value("a whole number"))
    }
}

/// The state of reading one command line.
struct Reader {
    tool: &'static Tool,
    command: EncodeCommand,
    /// What goes to the library, each name once, the last given last.
    params: Vec<(String, String)>,
    has_input: bool,
    /// x264's `--output-csp`, which means a pixel format only together with the depth.
    colour_family: Option<String>,
    /// rav1e's `--frame-rate` and `--time-scale`, which make one rate.
    frame_rate: Option<i64>,
    time_scale: Option<i64>,
    /// aomenc's and vpxenc's, of which libav's options are made when all of it is known.
    rate_control: webm::RateControl,
}

impl Reader {
    fn new(tool: &'static Tool) -> Self {
        Self {
            tool,
            command: EncodeCommand::default(),
            params: Vec::new(),
            has_input: false,
            colour_family: None,
            frame_rate: None,
            time_scale: None,
            rate_control: webm::RateControl::default(),
        }
    }

    fn read(mut self, words: &[String]) -> Result<EncodeCommand, CommandError> {
        self.command.encoder = match self.tool.name {
            "vpxenc" => vpxenc::encoder(words)?,
            name => options::choose_encoder(name, self.tool.encoder)?,
        };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match word.strip_prefix('-') {
                None | Some("") => self.file(word)?,
                Some(option) => match option.strip_prefix('-') {
                    Some(long) => self.long(word, long, &mut rest)?,
                    None => self.short(word, option, &mut rest)?,
                },
            }
        }
        (self.tool.finish)(&mut self)?;
        self.hand_over_params()?;
        Ok(self.command)
    }

    /// A word that is no option: the input first, then the output.
    fn file(&mut self, word: &str) -> Result<(), CommandError> {
        if self.has_input { self.command.set_output(word) } else { self.input(word) }
    }

    fn input(&mut self, name: &str) -> Result<(), CommandError> {
        if self.has_input || !["-", "stdin", "/dev/stdin"].contains(&name) {
            return Err(CommandError::Input { input: name.to_owned() });
        }
        self.has_input = true;
        Ok(())
    }

    /// `--name value`, `--name=value` or `--flag`.
    fn long<'a>(
        &mut self,
        typed: &str,
        option: &'a str,
        rest: &mut std::slice::Iter<'a, String>,
    ) -> Result<(), CommandError> {
        let (name, attached) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let typed = typed.split('=').next().unwrap_or(typed);
        let mut none = [].iter();
        match self.tool.long {
            Long::Whole => self.option(typed, name, attached, rest),
            Long::Attached => self.option(typed, name, attached, &mut none),
            Long::Abbreviated if self.find(name).is_none() => {
                let full = self.abbreviated(typed, name)?;
                self.option(typed, &full, attached, rest)
            }
            Long::Abbreviated => self.option(typed, name, attached, rest),
        }
    }

    /// The one option whose name begins so.
    fn abbreviated(&self, typed: &str, beginning: &str) -> Result<String, CommandError> {
        let mut names: Vec<String> = self.tool.names().filter(|name| name.starts_with(beginning)).collect();
        names.sort_unstable();
        names.dedup();
        match names.as_slice() {
            [name] => Ok(name.clone()),
            [] => Err(self.unknown(typed, beginning)),
            names => {
                let shown: Vec<String> = names.iter().take(4).map(|name| format!("--{name}")).collect();
                let more = if names.len() > shown.len() { " or others" } else { "" };
                let reason = format!("it may mean {}{more}; write the name out", shown.join(" or "));
                Err(CommandError::not_here(typed, reason))
            }
        }
    }

    /// `-x value`, `-xvalue` or `-x`.
    fn short<'a>(
        &mut self,
        typed: &str,
        option: &'a str,
        rest: &mut std::slice::Iter<'a, String>,
    ) -> Result<(), CommandError> {
        if self.tool.single_dash_names && self.find(option).is_some() {
            return self.option(typed, option, None, rest);
        }
        let mut characters = option.chars();
        let letter = characters.next();
        let found = self.tool.short.iter().find(|&&(short, _)| Some(short) == letter);
        let Some(&(letter, name)) = found else { return Err(self.unknown(typed, option)) };
        let attached = Some(characters.as_str()).filter(|value| !value.is_empty());
        self.option(&format!("-{letter}"), name, attached, rest)
    }

    fn option<'a>(
        &mut self,
        typed: &str,
        name: &str,
        attached: Option<&'a str>,
        rest: &mut std::slice::Iter<'a, String>,
    ) -> Result<(), CommandError> {
        let Some((takes, act)) = self.find(name) else { return Err(self.unknown(typed, name)) };
        if let Act::Refuse(reason) = act {
            return Err(CommandError::not_here(typed, reason));
        }
        let value = match (takes, attached) {
            (Takes::Nothing, Some(value)) => {
                return Err(CommandError::bad_value(typed, value, "no value; it is a flag"));
            }
            (Takes::Nothing, None) => "",
            (_, Some(value)) => value,
            (Takes::MaybeWhole, None) => {
                let is_number = rest.as_slice().first().is_some_and(|word| word.parse::<u32>().is_ok());
                if is_number { rest.next().map_or("", String::as_str) } else { "" }
            }
            (Takes::MaybeText, None) => "",
            (_, None) => rest.next().ok_or_else(|| CommandError::missing_value(typed))?,
        };
        let given = Given { typed, name, value };
        check_number(takes, &given)?;
        self.apply(act, &given)
    }

    fn find(&self, name: &str) -> Option<(Takes, Act)> {
        if let Some(&(_, takes, act)) = self.tool.special.iter().find(|&&(known, ..)| known == name) {
            return Some((takes, act));
        }
        let positive = name.strip_prefix("no-").unwrap_or(name);
        let lists = [
            (self.tool.flags, positive, Takes::Nothing),
            (self.tool.whole, name, Takes::Whole),
            (self.tool.numbers, name, Takes::Number),
            (self.tool.texts, name, Takes::Text),
        ];
        let found = lists.into_iter().find(|(list, name, _)| list.contains(name));
        found.map(|(_, _, takes)| (takes, Act::Param(None)))
    }

    fn apply(&mut self, act: Act, given: &Given<'_>) -> Result<(), CommandError> {
        match act {
            Act::Param(name) => self.param(given.typed, name.unwrap_or(given.name), given.value),
            Act::Option(name) => self.libav_option(given.typed, name, given.value),
            Act::Colour(option, param) => {
                self.libav_option(given.typed, option, &colour::libav_value(option, given.value))?;
                param.map_or(Ok(()), |param| self.param(given.typed, param, given.value))
            }
            Act::RefuseUnlessZero(_) if given.value.parse() == Ok(0) => Ok(()),
            Act::Unused => Ok(()),
            Act::Do(action) => action(self, given),
            Act::Refuse(reason) | Act::RefuseUnlessZero(reason) => Err(CommandError::not_here(given.typed, reason)),
        }
    }

    /// Hands a parameter to the library. A flag's value is 1, also that of `no-…`, which the libraries turn round.
    fn param(&mut self, typed: &str, name: &str, value: &str) -> Result<(), CommandError> {
        let value = if value.is_empty() { "1" } else { value };
        let known = self.tool.names_or_files.iter().find(|(known, _)| *known == name);
        if let Some(reason) = known.and_then(|(_, names)| inside::foreign(value, names)) {
            return Err(CommandError::not_here(typed, reason));
        }
        if self.command.encoder == EncoderChoice::Rav1e {
            super::rav1e_options::Rav1eOptions::default().set_key(typed, name, value)?;
        }
        self.params.retain(|(key, _)| key != name);
        self.params.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn libav_option(&mut self, typed: &str, name: &str, value: &str) -> Result<(), CommandError> {
        if options::route_to_encoder(&mut self.command, typed, name, value)? {
            return Ok(());
        }
        let encoder = self.command.encoder_name().unwrap_or(self.tool.encoder);
        Err(CommandError::not_here(typed, format!("this build's {encoder} has no -{name}")))
    }

    fn hand_over_params(&mut self) -> Result<(), CommandError> {
        if self.params.is_empty() {
            return Ok(());
        }
        let pairs: Vec<_> =
            self.params.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
        self.libav_option(self.tool.name, self.tool.params, &pairs.join(":"))
    }

    fn unknown(&self, typed: &str, name: &str) -> CommandError {
        let tool = self.tool;
        let special = tool
            .special
            .iter()
            .filter(|(.., act)| !matches!(act, Act::Refuse(_) | Act::RefuseUnlessZero(_)))
            .map(|&(name, ..)| name);
        let lists = [tool.flags, tool.whole, tool.numbers, tool.texts].into_iter().flatten().copied();
        // Of `--no-…` the rest is compared, and `no-` kept.
        let (no, wanted) = name.strip_prefix("no-").map_or(("", name), |rest| ("no-", rest));
        let suggestion = closest(wanted, special.chain(lists)).map(|name| format!("--{no}{name}"));
        CommandError::UnknownOption { option: typed.to_owned(), suggestion }
    }
}

fn check_number(takes: Takes, given: &Given<'_>) -> Result<(), CommandError> {
    match takes {
        Takes::Whole => given.whole::<i64>().map(|_| ()),
        Takes::Number if given.value.parse().is_ok_and(f64::is_finite) => Ok(()),
        Takes::Number => Err(given.bad_value("a number")),
        Takes::Text if given.value.is_empty() => Err(CommandError::missing_value(given.typed)),
        Takes::Text | Takes::Nothing | Takes::MaybeWhole | Takes::MaybeText => Ok(()),
    }
}

// What several tools have in common.

const SEVERAL_PASSES: &str = "an encode reads the script once, so there is one pass; choose a quality or a bitrate";
const READS_FILE: &str = "no other files are read";
const WRITES_FILE: &str = "no file is written beside the output";
const PART_OF_CLIP: &str =
    "a part of the clip is chosen in the script (`clip[100:200]`) or by the frame range of the call";
const PRINTS: &str = "it only prints information";

fn input(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    reader.input(given.value)
}

fn output(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    reader.command.set_output(given.value)
}

/// The most frames to encode; 0 for all.
fn frames(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    reader.command.frame_limit = Some(given.whole()?).filter(|&limit: &u64| limit > 0);
    Ok(())
}

fn rate(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let rate = libav::parse_rate(given.value);
    let allowed = "frames per second, such as 24, 24000/1001 or 23.976";
    reader.command.input_rate = Some(rate.ok_or_else(|| given.bad_value(allowed))?);
    Ok(())
}

fn depth(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let depth = given.value.parse().ok().filter(|depth: &u8| [8, 10, 12].contains(depth));
    reader.command.bit_depth = Some(depth.ok_or_else(|| given.bad_value("8, 10 or 12"))?);
    Ok(())
}

/// `--passes=1`, which is what happens anyway.
fn one_pass(_: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    if given.value == "1" { Ok(()) } else { Err(CommandError::not_here(given.typed, SEVERAL_PASSES)) }
}

/// A flag with a container's name.
fn container(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    reader.command.format = Some(given.name.to_owned());
    Ok(())
}

/// One pass is what happens anyway.
fn passes(_: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let once = if given.name == "passes" { "1" } else { "0" };
    if given.value == once { Ok(()) } else { Err(CommandError::not_here(given.typed, SEVERAL_PASSES)) }
}

#[cfg(test)]
mod tests;
