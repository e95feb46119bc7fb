//! What stands inside `-x264-params` and its like: keys and values, as the encoder's library will see them.

/// One entry of such a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Param<'a> {
    /// As it was written; the entries' texts with `:` between them are the list again.
    pub(super) text: &'a str,
    /// Without quotes and escapes.
    pub(super) key: String,
    /// Without quotes and escapes; empty where there is none.
    pub(super) value: String,
}

/// Whether libav's option of this name hands a list of parameters to an encoder's library.
pub(crate) fn is_list(option: &str) -> bool {
    option.ends_with("-params") || option == "x264opts"
}

/// The names in the list that are not turned off, as a command line spells them.
pub(crate) fn turned_on(option: &str, text: &str) -> Vec<String> {
    let meanings = split(option, text).into_iter().map(|param| param.meaning());
    meanings.filter(|(_, is_off)| !is_off).map(|(name, _)| name).collect()
}

/// The entries of the list `text` of libav's option `option`.
pub(super) fn split<'a>(option: &str, text: &'a str) -> Vec<Param<'a>> {
    if option == "x264opts" {
        return text.split(':').map(plain).collect();
    }
    let mut params = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        // libav ends a key at the `=` alone, and a value at the `:` alone.
        let (key, behind) = token(rest, '=');
        let behind = behind.strip_prefix('=').unwrap_or(behind);
        let (value, behind) = token(behind, ':');
        let length = rest.len() - behind.len();
        params.push(Param { text: &rest[..length], key, value });
        rest = behind.strip_prefix(':').unwrap_or(behind);
    }
    params
}

/// An entry of `-x264opts`, where nothing can be escaped.
fn plain(text: &str) -> Param<'_> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Param { text, key: key.to_owned(), value: value.to_owned() }
}

/// The text up to `end`, read as libav reads it, and what stands behind it, `end` included.
fn token(text: &str, end: char) -> (String, &str) {
    let is_space = |character: char| matches!(character, ' ' | '\t' | '\r' | '\n');
    let mut token = String::new();
    // White space that is neither quoted nor escaped ends up in no token where it stands at one of its ends.
    let mut kept = 0;
    let mut characters = text.trim_start_matches(is_space).chars();
    let mut quoted = false;
    loop {
        let rest = characters.as_str();
        match characters.next() {
            None => return (finished(token, kept, is_space), ""),
            Some('\'') => {
                quoted = !quoted;
                kept = token.len();
            }
            Some(character) if quoted => {
                token.push(character);
                kept = token.len();
            }
            Some(character) if character == end => return (finished(token, kept, is_space), rest),
            Some('\\') => {
                token.push(characters.next().unwrap_or('\\'));
                kept = token.len();
            }
            Some(character) => token.push(character),
        }
    }
}

fn finished(mut token: String, kept: usize, is_space: impl Fn(char) -> bool) -> String {
    let length = token.trim_end_matches(is_space).len().max(kept);
    token.truncate(length);
    token
}

/// Writes a key or value so that libav's dictionary parser reads it back.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '\'' | ':' | '=') || character.is_ascii_whitespace() {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

impl Param<'_> {
    /// The parameter's name as x264 and x265 look it up, and whether they turn it off: `_` is `-` to them, and `no-name=1`
    /// or `noname=1` is `name=0`. Other libraries know the very names of their command lines, for which this changes nothing.
    pub(super) fn meaning(&self) -> (String, bool) {
        let name = self.key.replace('_', "-");
        let is_off = ["0", "false", "no"].contains(&self.bare_value());
        match name.strip_prefix("no-").or_else(|| name.strip_prefix("no")) {
            Some(rest) => (rest.to_owned(), !is_off),
            None => (name, is_off),
        }
    }

    /// The value as x264 and x265 take it: they pass over a second `=`.
    pub(super) fn bare_value(&self) -> &str {
        self.value.strip_prefix('=').unwrap_or(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(option: &str, text: &str) -> Vec<(String, String)> {
        let params = split(option, text);
        assert_eq!(params.iter().map(|param| param.text).collect::<Vec<_>>().join(":"), text.trim_end_matches(':'));
        params.into_iter().map(|param| (param.key, param.value)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lists_are_read_as_libav_reads_them() {
        for (text, expected) in [
            ("crf=18", vec![("crf", "18")]),
            (r"crf=18:deblock=-1\:-1:sao=0", vec![("crf", "18"), ("deblock", "-1:-1"), ("sao", "0")]),
            (r"zones=0,9,q\=20/10\,19,b=2", vec![("zones", "0,9,q=20/10,19,b=2")]),
            (" key = 'a : b' : x=y ", vec![("key", "a : b"), ("x", "y")]),
            ("p'as's=1", vec![("pass", "1")]),
            // libav looks for the `=` first, wherever it is.
            ("sao:crf=18", vec![("sao:crf", "18")]),
            (r"a=b\", vec![("a", "b\\")]),
            ("a='b", vec![("a", "b")]),
            ("a=", vec![("a", "")]),
            ("é=ü:日=本", vec![("é", "ü"), ("日", "本")]),
        ] {
            assert_eq!(read("x265-params", text), pairs(&expected), "{text}");
        }
        assert_eq!(read("x264opts", r"a\:b=c:d"), pairs(&[(r"a\", ""), ("b", "c"), ("d", "")]));
    }

    #[test]
    fn what_was_escaped_is_read_back() {
        for text in ["", "a", "-1:-1", "q=1", r"a\b", "it's", " a b ", ":::"] {
            let list = format!("key={}:x=1", escape(text));
            assert_eq!(split("x265-params", &list)[0].value, text);
        }
    }

    #[test]
    fn a_parameter_is_turned_off_in_several_ways() {
        for (text, name, is_off) in [
            ("sao=1", "sao", false),
            ("sao=0", "sao", true),
            ("no-sao=1", "sao", true),
            ("nosao=1", "sao", true),
            ("no_sao=0", "sao", false),
            ("frame_dup==false", "frame-dup", true),
            ("qp=30", "qp", false),
        ] {
            assert_eq!(split("x265-params", text)[0].meaning(), (name.to_owned(), is_off), "{text}");
        }
    }
}
