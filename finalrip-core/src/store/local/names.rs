//! Keys as paths below a folder, and back.
//!
//! A file name holds 255 bytes and no slash, a key has 1,024 and may have both `a` and `a/b`. So
//! - what comes before a slash is a folder whose name ends in `%`: `show/01.mkv` is `show%/01.mkv`;
//! - a part of more than 200 bytes goes on in a folder whose name ends in `%+`: `aaaa…%+/aaaa.mkv`;
//! - a `%` is written `%25`, and a `.` at the start of a name `%2E`: no name is hidden, `.` or `..`.
//!
//! Everything else is written as it is, so that people find their files. Each key has exactly one path and each such
//! path one key; other files are no objects.

use std::path::{Component, Path, PathBuf};

/// The most bytes of a key's part in one name; the rest of the 255 is for escapes at its start and the mark at its end.
const LONGEST_PIECE: usize = 200;
const FOLDER: &str = "%";
const GOES_ON: &str = "%+";

/// Where the object of `key` lies, relative to the folder of objects.
pub(super) fn path_of(key: &str) -> PathBuf {
    let mut path = PathBuf::new();
    let mut segments = key.split('/').peekable();
    while let Some(segment) = segments.next() {
        let mut pieces = pieces(segment).into_iter().peekable();
        while let Some(mut name) = pieces.next() {
            if pieces.peek().is_some() {
                name.push_str(GOES_ON);
            } else if segments.peek().is_some() {
                name.push_str(FOLDER);
            }
            path.push(name);
        }
    }
    path
}

/// The key of the object at `path`, if it is the path of one.
pub(super) fn key_of(path: &Path) -> Option<String> {
    let key = text_of(path)?;
    // The comparison of paths does not see a slash at the end.
    (!key.ends_with('/') && path_of(&key) == path).then_some(key)
}

/// What the keys of all objects in the folder `path` start with.
pub(super) fn prefix_of(path: &Path) -> Option<String> {
    text_of(path)
}

fn text_of(path: &Path) -> Option<String> {
    path.components().try_fold(String::new(), |mut text, component| {
        let Component::Normal(name) = component else { return None };
        let name = name.to_str()?;
        let (name, end) = match (name.strip_suffix(GOES_ON), name.strip_suffix(FOLDER)) {
            (Some(piece), _) => (piece, ""),
            (None, Some(folder)) => (folder, "/"),
            (None, None) => (name, ""),
        };
        text.push_str(&percent_encoding::percent_decode_str(name).decode_utf8().ok()?);
        text.push_str(end);
        Some(text)
    })
}

/// `segment` cut into names, greedily, at the bounds of characters and escapes.
fn pieces(segment: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for character in segment.chars() {
        let length = if character == '%' { 3 } else { character.len_utf8() };
        if pieces.last().is_some_and(|piece| piece.len() + length > LONGEST_PIECE) {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            match character {
                '%' => piece.push_str("%25"),
                '.' if piece.is_empty() => piece.push_str("%2E"),
                character => piece.push(character),
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Component;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::store::key::tests::{NASTY, long_keys, random_key};

    fn assert_is_safe(key: &str) -> PathBuf {
        let path = path_of(key);
        assert_eq!(key_of(&path).as_deref(), Some(key), "{path:?}");
        for component in path.components() {
            let Component::Normal(name) = component else { panic!("{key:?} has {component:?} in its path") };
            assert!(name.len() <= 255 && !name.to_string_lossy().starts_with('.'), "{key:?} has {name:?}");
        }
        assert!(path.as_os_str().len() < 3_100);
        path
    }

    #[test]
    fn every_key_has_a_safe_path_of_its_own() {
        let mut random = StdRng::seed_from_u64(1);
        let randoms = (0..5_000).map(|round| random_key(&mut random, 1 + round % 900).to_string());
        let keys: Vec<String> = NASTY.iter().map(ToString::to_string).chain(long_keys()).chain(randoms).collect();
        let mut owners: HashMap<PathBuf, &str> = HashMap::new();
        for key in &keys {
            let other = owners.insert(assert_is_safe(key), key);
            assert!(other.is_none_or(|other| other == key), "{key:?} and {other:?} have one path");
        }
        // No object's file is another object's folder.
        for path in owners.keys() {
            assert!(path.ancestors().skip(1).all(|folder| !owners.contains_key(folder)), "{path:?}");
        }
    }

    #[test]
    fn people_find_their_files() {
        for key in ["[Group] Täst 01 & more (1080p)+x.mkv", "文字列.mkv", "a \"b\" 'c'", "x#1.mkv"] {
            assert_eq!(path_of(key), Path::new(key));
        }
        assert_eq!(path_of("show/01.mkv"), Path::new("show%/01.mkv"));
        assert_eq!(path_of("100%.mkv"), Path::new("100%25.mkv"));
        assert_eq!(path_of(".hidden"), Path::new("%2Ehidden"));
    }

    #[test]
    fn files_that_no_key_leads_to_are_no_objects() {
        let long = "a".repeat(201);
        for path in
            ["a%2Fb", "a%41", "%2e", ".hidden", "a%zz", "a%", "a%+", "show/01.mkv", "b%+/c", &long, "../a", "/a"]
        {
            assert_eq!(key_of(Path::new(path)), None, "{path}");
        }
    }
}
