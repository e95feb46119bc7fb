//! From the text of a command to its words, split as a POSIX shell would split them, without any shell.

use super::error::CommandError;

/// No real command comes near; what is longer is not worth the time.
const LONGEST: usize = 16 * 1024;

/// Splits a command into words.
pub(crate) fn split(text: &str) -> Result<Vec<String>, CommandError> {
    let text = text.trim_end();
    if text.trim_start().is_empty() {
        return Err(CommandError::Empty);
    }
    if text.len() > LONGEST {
        return Err(CommandError::TooLong { limit: LONGEST });
    }
    if text.contains('\0') {
        return Err(CommandError::Nul);
    }
    if text.contains(['\n', '\r']) {
        return Err(CommandError::LineBreak);
    }
    refuse_frame_server(text)?;
    refuse_shell_syntax(text)?;
    shlex::split(text).ok_or(CommandError::UnbalancedQuotes)
}

/// What the scanner is inside of.
#[derive(Clone, Copy, PartialEq)]
enum Quote {
    None,
    Single,
    Double,
}

/// Refuses what a shell would act on: operators and comments outside quotes, expansions outside single quotes. Left
/// alone they would become part of a value, or silently end the command.
fn refuse_shell_syntax(text: &str) -> Result<(), CommandError> {
    let mut quote = Quote::None;
    let mut at_word_start = true;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let found = match (character, quote) {
            ('\\', Quote::None | Quote::Double) => rest.next().and(None),
            ('\'', Quote::None) => change(&mut quote, Quote::Single),
            ('"', Quote::None) => change(&mut quote, Quote::Double),
            ('\'', Quote::Single) | ('"', Quote::Double) => change(&mut quote, Quote::None),
            ('|' | '&' | ';' | '<' | '>', Quote::None) => Some(format!("`{character}`")),
            ('#', Quote::None) if at_word_start => Some("`#`, which begins a comment,".to_owned()),
            ('`', Quote::None | Quote::Double) => Some("a backtick".to_owned()),
            ('$', Quote::None | Quote::Double) if rest.peek().copied().is_some_and(begins_expansion) => {
                Some("`$…`, which stands for something else,".to_owned())
            }
            _ => None,
        };
        if let Some(found) = found {
            return Err(CommandError::ShellSyntax { found });
        }
        at_word_start = quote == Quote::None && character.is_whitespace();
    }
    Ok(())
}

fn change(quote: &mut Quote, to: Quote) -> Option<String> {
    *quote = to;
    None
}

fn begins_expansion(next: char) -> bool {
    next.is_ascii_alphabetic() || matches!(next, '_' | '{' | '(')
}

/// The last part of a path, without `.exe`: the name of the program that a first word names.
pub(crate) fn program_name(word: &str) -> &str {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
    name.strip_suffix(".exe").unwrap_or(name)
}

/// Refuses a pipeline whose first half made the frames, and says so rather than complain about its `|`.
fn refuse_frame_server(text: &str) -> Result<(), CommandError> {
    let program = program_name(text.split_whitespace().next().unwrap_or_default());
    let known = ["vspipe", "avs2yuv", "avs2pipemod", "avs2y4m"].contains(&program);
    if known { Err(CommandError::Pipeline { program: program.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (text, words) in [
            ("-crf 16", vec!["-crf", "16"]),
            ("  -crf\t16  \n", vec!["-crf", "16"]),
            (
                r#"-x265-params "ctu=64:me=umh:deblock=0,0:crf=19""#,
                vec!["-x265-params", "ctu=64:me=umh:deblock=0,0:crf=19"],
            ),
            (r"-metadata title=It\'s\ here", vec!["-metadata", "title=It's here"]),
            (r#"-metadata 'title="a" | b; c $x #1'"#, vec!["-metadata", r#"title="a" | b; c $x #1"#]),
            (r#"-metadata "costs 5$ \$x""#, vec!["-metadata", "costs 5$ $x"]),
            ("-vf '' a#b", vec!["-vf", "", "a#b"]),
            ("--master-display G(1,2)B(3,4)", vec!["--master-display", "G(1,2)B(3,4)"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_or_an_editor_would_understand_is_refused() {
        let shell = |found: &str| CommandError::ShellSyntax { found: found.to_owned() };
        for (text, error) in [
            ("", CommandError::Empty),
            (" \n\t", CommandError::Empty),
            ("-crf 16\n-preset slow", CommandError::LineBreak),
            ("-crf 16\r\n-preset slow", CommandError::LineBreak),
            ("-crf 1\x006", CommandError::Nul),
            ("-vf \"scale", CommandError::UnbalancedQuotes),
            ("-vf 'scale", CommandError::UnbalancedQuotes),
            ("-crf 16 \\", CommandError::UnbalancedQuotes),
            ("-crf 16 | tee", shell("`|`")),
            ("-crf 16 2>&1", shell("`>`")),
            ("-crf 16; rm -rf /", shell("`;`")),
            ("-crf `id`", shell("a backtick")),
            ("-crf \"$(id)\"", shell("`$…`, which stands for something else,")),
            ("-crf 16 # good", shell("`#`, which begins a comment,")),
            ("/usr/bin/vspipe -c y4m a.vpy - | ffmpeg -i - o.mkv", CommandError::Pipeline { program: "vspipe".into() }),
        ] {
            assert_eq!(split(text), Err(error), "{text:?}");
        }
        assert_eq!(split(&"a".repeat(70_000)), Err(CommandError::TooLong { limit: LONGEST }));
    }

    #[test]
    fn a_program_is_named_by_the_end_of_its_path() {
        assert_eq!(program_name("/static-ffmpeg/ffmpeg"), "ffmpeg");
        assert_eq!(program_name(r"C:\tools\x265.exe"), "x265");
    }
}
