//! What can be wrong with an encode command, told so that it can be mended.

/// Why an encode command was refused. Options are named as the user typed them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is nothing in the command.
    #[error("it is empty; give an encoder and its options, such as `-c:v libx265 -crf 16`")]
    Empty,

    /// The command is longer than any real one.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// The longest command that is read, in bytes.
        limit: usize,
    },

    /// A line break inside the command.
    #[error("it has a line break inside; write it on one line")]
    LineBreak,

    /// A NUL character inside the command.
    #[error("it has a NUL character inside; remove it")]
    Nul,

    /// A quote without its partner, or a backslash at the end.
    #[error(
        "it has a quote without its partner, or ends in a backslash; close the quote, or write \\\" for the character"
    )]
    UnbalancedQuotes,

    /// Something that only a shell would understand.
    #[error(
        "{found} is shell syntax, and no shell runs this command; leave it out, or quote it where it belongs to a value"
    )]
    ShellSyntax {
        /// The characters.
        found: String,
    },

    /// The command begins with the program that used to make the frames.
    #[error("the frames come straight from the script; leave out `{program} … |` and give only the encoder's command")]
    Pipeline {
        /// The program that is not needed.
        program: String,
    },

    /// The first word is neither an option nor a program whose options are understood.
    #[error(
        "it begins with `{name}`, which is not understood{}; begin with ffmpeg, x264, x265, SvtAv1EncApp, rav1e, aomenc, \
         vpxenc, or ffmpeg's options such as `-c:v libx265 -crf 16`", did_you_mean(.suggestion)
    )]
    UnknownProgram {
        /// The first word.
        name: String,
        /// A program of a similar name.
        suggestion: Option<String>,
    },

    /// No program, encoder or container has an option of this name.
    #[error("unknown option {option}{}", did_you_mean(.suggestion))]
    UnknownOption {
        /// The option as typed.
        option: String,
        /// An option of a similar name.
        suggestion: Option<String>,
    },

    /// The option exists, but not for the encoder that the command chooses.
    #[error("{option} is not an option of {encoder}{}", did_you_mean(.suggestion))]
    NotOfEncoder {
        /// The option as typed.
        option: String,
        /// The encoder's name.
        encoder: String,
        /// An option of that encoder of a similar name.
        suggestion: Option<String>,
    },

    /// An option that needs a value stands at the end, or in front of nothing.
    #[error("{option} needs a value after it")]
    MissingValue {
        /// The option as typed.
        option: String,
    },

    /// The option does not take this value.
    #[error("{option} cannot be `{value}`; allowed: {allowed}")]
    BadValue {
        /// The option as typed.
        option: String,
        /// The value as typed.
        value: String,
        /// What is allowed.
        allowed: String,
    },

    /// The option is known, but means nothing here, or asks for something that is not done here.
    #[error("{option} cannot be used here: {reason}")]
    NotHere {
        /// The option as typed.
        option: String,
        /// Why, and what to do instead.
        reason: String,
    },

    /// The linked libav has no video encoder of this name.
    #[error("unknown video encoder `{name}`{}", did_you_mean(.suggestion))]
    UnknownEncoder {
        /// The name as typed.
        name: String,
        /// An encoder of a similar name.
        suggestion: Option<String>,
    },

    /// The linked libav cannot write this container format.
    #[error("unknown container format `{name}`{}", did_you_mean(.suggestion))]
    UnknownFormat {
        /// The name as typed.
        name: String,
        /// A format of a similar name.
        suggestion: Option<String>,
    },

    /// An input that is not the script's clip.
    #[error("the input can only be the script's clip (`-`), not `{input}`")]
    Input {
        /// The input as typed.
        input: String,
    },

    /// More than one output file.
    #[error(
        "there can be only one output, but `{first}` and `{second}` are both named; does one of them lack its option?"
    )]
    SecondOutput {
        /// The first file name.
        first: String,
        /// The second file name.
        second: String,
    },
}

impl CommandError {
    pub(crate) fn bad_value(option: &str, value: &str, allowed: impl Into<String>) -> Self {
        Self::BadValue { option: option.to_owned(), value: value.to_owned(), allowed: allowed.into() }
    }

    pub(crate) fn not_here(option: &str, reason: impl Into<String>) -> Self {
        Self::NotHere { option: option.to_owned(), reason: reason.into() }
    }

    pub(crate) fn missing_value(option: &str) -> Self {
        Self::MissingValue { option: option.to_owned() }
    }
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}
