//! The header that makes a browser save an object under its name.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 8187 leaves as it is in `filename*`: its `attr-char`.
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `Content-Disposition` in the form of RFC 6266: the name in ASCII for old clients, with `_` for what it cannot hold, and
/// as it is for all others.
///
/// ```
/// # use finalrip_core::store::attachment;
/// assert_eq!(attachment("Tä st.mkv"), "attachment; filename=\"T_ st.mkv\"; filename*=UTF-8''T%C3%A4%20st.mkv");
/// ```
#[must_use]
pub fn attachment(name: &str) -> String {
    // Quotes and backslashes would need escapes that not every client undoes; some decode `%` even there (RFC 6266, D).
    let plain = |character: char| match character {
        '"' | '\\' | '%' | '/' => '_',
        ' '..='~' => character,
        _ => '_',
    };
    let ascii: String = name.chars().map(plain).collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{}", utf8_percent_encode(name, EXTENDED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::{file_name, tests::NASTY};

    #[test]
    fn any_name_survives() {
        for name in NASTY.iter().map(|key| file_name(key)) {
            let header = attachment(name);
            assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header}");
            let (ascii, extended) = header
                .strip_prefix("attachment; filename=\"")
                .and_then(|rest| rest.split_once("\"; filename*=UTF-8''"))
                .expect("both forms");
            assert_eq!(ascii.chars().count(), name.chars().count());
            assert!(!ascii.contains(['"', '\\', '%', '/']));
            assert_eq!(percent_encoding::percent_decode_str(extended).decode_utf8().unwrap(), name);
            assert!(!extended.contains([' ', '"', '\'', '(', ')', ',', '/', ';', '@']));
        }
    }

    #[test]
    fn a_plain_name_stays_plain() {
        assert_eq!(attachment("a-1.mkv"), "attachment; filename=\"a-1.mkv\"; filename*=UTF-8''a-1.mkv");
    }
}
