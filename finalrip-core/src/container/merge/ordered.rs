//! Ordered chapters: a Matroska file that asks to be played in another order than it is written in.
//!
//! libav does not tell, so that the flag is read here, from the file's own elements (RFC 9559). Whatever is not as it
//! should be ends the search without an answer: it is for a note, not for the merge.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::ffi::input::Chapter;

const SEGMENT: u64 = 0x1853_8067;
const SEEK_HEAD: u64 = 0x114D_9B74;
const SEEK: u64 = 0x4DBB;
const SEEK_ID: u64 = 0x53AB;
const SEEK_POSITION: u64 = 0x53AC;
const CLUSTER: u64 = 0x1F43_B675;
const CHAPTERS: u64 = 0x1043_A770;
const EDITION: u64 = 0x45B9;
const EDITION_ORDERED: u64 = 0x45DD;
const CHAPTER_ATOM: u64 = 0xB6;
const CHAPTER_UID: u64 = 0x73C4;
const CHAPTER_START: u64 = 0x91;
const CHAPTER_END: u64 = 0x92;
const CHAPTER_SEGMENT: u64 = 0x6E67;
const CHAPTER_DISPLAY: u64 = 0x80;
const CHAPTER_STRING: u64 = 0x85;

/// More than any real table of chapters.
const LARGEST_ELEMENT: u64 = 8 << 20;
/// Elements looked at before the search is given up: one a cluster, in a file without a table of contents.
const MOST_ELEMENTS: usize = 100_000;

/// What a file's ordered chapters ask of a player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ordered {
    /// How many chapters lie in other files.
    pub(super) elsewhere: usize,
    /// Those that lie in this one, sorted by time. libav drops what is not in ascending order.
    pub(super) chapters: Vec<Chapter>,
}

/// Whether the file has ordered chapters; `None` when it has none, or is no Matroska file, or is damaged.
pub(super) fn find(path: &Path) -> Option<Ordered> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let chapters = chapters_of(&mut file).ok()??;
    let ordered = children(&chapters)
        .filter(|(id, _)| *id == EDITION)
        .find(|(_, edition)| children(edition).any(|(id, value)| id == EDITION_ORDERED && number(value) == 1))?;
    let atoms = children(ordered.1).filter(|(id, _)| *id == CHAPTER_ATOM);
    let (elsewhere, here): (Vec<_>, Vec<_>) =
        atoms.map(|(_, atom)| atom).partition(|atom| children(atom).any(|(id, _)| id == CHAPTER_SEGMENT));
    let mut chapters: Vec<Chapter> = here.into_iter().map(chapter).collect();
    chapters.sort_by_key(|chapter| (chapter.start, chapter.end));
    chapters.dedup_by_key(|chapter| (chapter.start, chapter.end));
    Some(Ordered { elsewhere: elsewhere.len(), chapters })
}

fn chapter(atom: &[u8]) -> Chapter {
    let value = |wanted| children(atom).find(|(id, _)| *id == wanted).map(|(_, value)| value);
    let integer = |wanted| value(wanted).and_then(|value| i64::try_from(number(value)).ok());
    let start = integer(CHAPTER_START).unwrap_or(0);
    let title = value(CHAPTER_DISPLAY)
        .and_then(|display| children(display).find(|(id, _)| *id == CHAPTER_STRING))
        .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    Chapter {
        id: integer(CHAPTER_UID).unwrap_or(0),
        start,
        end: integer(CHAPTER_END).unwrap_or(start),
        metadata: title.into_iter().map(|title| ("title".to_owned(), title)).collect(),
    }
}

/// The bytes of the element `Chapters`, wherever in the file it lies.
fn chapters_of(file: &mut (impl Read + Seek)) -> io::Result<Option<Vec<u8>>> {
    // The EBML header, whatever it says.
    let Some((_, size)) = element(file)? else { return Ok(None) };
    skip(file, size)?;
    let Some((SEGMENT, _)) = element(file)? else { return Ok(None) };
    let segment = file.stream_position()?;
    let mut has_table = false;
    for _ in 0..MOST_ELEMENTS {
        let Some((id, size)) = element(file)? else { return Ok(None) };
        match id {
            CHAPTERS => return body(file, size).map(Some),
            SEEK_HEAD => {
                has_table = true;
                let end = file.stream_position()?.saturating_add(size);
                if let Some(position) = position_of_chapters(&body(file, size)?) {
                    file.seek(SeekFrom::Start(segment.saturating_add(position)))?;
                } else {
                    file.seek(SeekFrom::Start(end))?;
                }
            }
            // A table of contents without chapters: what comes after the first cluster is none either.
            CLUSTER if has_table => return Ok(None),
            _ => skip(file, size)?,
        }
    }
    Ok(None)
}

/// Where the table of contents says that the chapters are.
fn position_of_chapters(table: &[u8]) -> Option<u64> {
    let entries = children(table).filter(|(id, _)| *id == SEEK);
    entries
        .filter(|(_, entry)| children(entry).any(|(id, value)| id == SEEK_ID && number(value) == CHAPTERS))
        .find_map(|(_, entry)| children(entry).find(|(id, _)| *id == SEEK_POSITION).map(|(_, value)| number(value)))
}

/// An element's identifier and the size of its body; `None` at the end of the file or where a size is unknown.
fn element(file: &mut impl Read) -> io::Result<Option<(u64, u64)>> {
    let Some((id, _)) = variable(file, true)? else { return Ok(None) };
    let Some((size, length)) = variable(file, false)? else { return Ok(None) };
    let unknown = size == (1 << (7 * length)) - 1;
    // A segment of unknown size is one that was written in one go.
    Ok((!unknown || id == SEGMENT).then_some((id, size)))
}

/// A number of one to eight bytes, with its length marker or without; and its length.
fn variable(file: &mut impl Read, marked: bool) -> io::Result<Option<(u64, u32)>> {
    let mut first = [0];
    if file.read(&mut first)? == 0 || first[0] == 0 {
        return Ok(None);
    }
    let length = first[0].leading_zeros() + 1;
    let mut value = u64::from(first[0]);
    if !marked {
        value &= (1 << (8 - length)) - 1;
    }
    for _ in 1..length {
        let mut next = [0];
        file.read_exact(&mut next)?;
        value = value << 8 | u64::from(next[0]);
    }
    Ok(Some((value, length)))
}

fn skip(file: &mut impl Seek, size: u64) -> io::Result<()> {
    let size = i64::try_from(size).map_err(|_| io::ErrorKind::InvalidData)?;
    file.seek_relative(size)
}

fn body(file: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > LARGEST_ELEMENT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The elements inside an element, up to the first that is not whole.
fn children(mut body: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let (id, size) = element(&mut body).ok()??;
        let (child, rest) = body.split_at_checked(usize::try_from(size).ok()?)?;
        body = rest;
        Some((id, child))
    })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_make_it_fail() {
        let header =
            [0x1A, 0x45, 0xDF, 0xA3, 0x80, 0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        for tail in [&[][..], &[0], &[0xFF; 40], &[0x10, 0x43, 0xA7, 0x70, 0x08, 0xFF], &[0x11, 0x4D, 0x9B, 0x74, 0x84]]
        {
            let bytes = [&header[..], tail].concat();
            let found = chapters_of(&mut io::Cursor::new(bytes));
            assert!(!matches!(found, Ok(Some(bytes)) if bytes.len() > 40));
        }
    }
}
