//! Tags: which of the source's still hold in the merged file.

use crate::container::StreamKind;

/// Tags of a file as text, in order.
pub(super) type Tags = Vec<(String, String)>;

/// What describes the source file and how it was made, not what is in it.
const OF_THE_FILE: [&str; 14] = [
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "encoding_tool",
    "creation_time",
    "date_utc",
    "company_name",
    "product_name",
    "product_version",
    "duration",
    "wmfsdkversion",
    "wmfsdkneeded",
    "isvbr",
];

/// What mkvmerge and libav count while they write a Matroska file; `BPS-eng` and the like are older spellings.
const STATISTICS: [&str; 5] = ["bps", "duration", "number_of_frames", "number_of_bytes", "source_id"];

/// What the source file says of itself, without what no longer holds.
pub(super) fn of_file(source: Tags) -> Tags {
    source.into_iter().filter(|(key, _)| !is_one_of(key, &OF_THE_FILE)).collect()
}

/// What the source says of a stream, without what no longer holds. `converted` streams have another encoder, and
/// no transparency.
pub(super) fn of_stream(source: &[(String, String)], converted: bool) -> Tags {
    let mut tags: Tags = Vec::new();
    for (key, value) in source {
        let lower = key.to_ascii_lowercase();
        let made_anew = converted && ["encoder", "encoder_settings", "alpha_mode"].contains(&lower.as_str());
        if is_statistic(&lower) || made_anew || ["creation_time", "vendor_id", "handler_name"].contains(&lower.as_str())
        {
            continue;
        }
        tags.push((key.clone(), value.clone()));
    }
    // MP4 files often have a track's title where the name of the software belongs.
    if find(&tags, "title").is_none()
        && let Some(name) = find(source, "handler_name").filter(|name| is_meaningful(name))
    {
        tags.push(("title".to_owned(), name.to_owned()));
    }
    tags
}

/// Tags as MP4 and its kin keep them: older versions of libav write a track's title only as the handler's name.
pub(super) fn with_handler(mut tags: Tags) -> Tags {
    if let Some(title) = find(&tags, "title").map(str::to_owned) {
        tags.push(("handler_name".to_owned(), title));
    }
    tags
}

/// Of a stream's tags those that are kept when tags are not asked for: they tell streams apart.
pub(super) fn only_names(tags: Tags) -> Tags {
    let names = ["language", "title", "filename", "mimetype"];
    tags.into_iter().filter(|(key, _)| is_one_of(key, &names)).collect()
}

/// Of a stream's tags the names of attachments, without which they are none.
pub(super) fn only_file_names(tags: Tags) -> Tags {
    tags.into_iter().filter(|(key, _)| is_one_of(key, &["filename", "mimetype"])).collect()
}

/// Lays the command's tags over the source's: the command wins, and an empty value takes a tag away, as in ffmpeg.
pub(super) fn overlaid(mut tags: Tags, command: &[(String, String)]) -> Tags {
    for (key, value) in command {
        tags.retain(|(known, _)| !known.eq_ignore_ascii_case(key));
        if !value.is_empty() {
            tags.push((key.clone(), value.clone()));
        }
    }
    tags
}

/// The value of a tag, whatever the case of its name.
pub(super) fn find<'a>(tags: &'a [(String, String)], key: &str) -> Option<&'a str> {
    tags.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
}

/// How a stream is called in a report.
pub(super) fn title(tags: &[(String, String)], kind: StreamKind) -> Option<String> {
    let file_name = || find(tags, "filename");
    let title = find(tags, "title");
    match kind {
        StreamKind::Attachment => file_name().or(title),
        _ => title.or_else(file_name),
    }
    .map(str::to_owned)
}

fn is_one_of(key: &str, keys: &[&str]) -> bool {
    keys.iter().any(|known| known.eq_ignore_ascii_case(key))
}

fn is_statistic(lower: &str) -> bool {
    let name = lower.rsplit_once('-').filter(|(_, language)| language.len() == 3).map_or(lower, |(name, _)| name);
    STATISTICS.contains(&name) || name.starts_with("_statistics_")
}

/// Whether a handler's name was given by a person: software has set phrases.
fn is_meaningful(name: &str) -> bool {
    const PHRASES: [&str; 12] = [
        "handler",
        "core media",
        "iso media",
        "gpac",
        "l-smash",
        "mainconcept",
        "bento4",
        "apple",
        "google",
        "lavf",
        "mp4box",
        "#trackid",
    ];
    let lower = name.trim().to_lowercase();
    !lower.is_empty() && !PHRASES.iter().any(|phrase| lower.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn statistics_of_every_spelling_go_and_the_rest_stays() {
        let source = tags(&[
            ("BPS", "1"),
            ("BPS-eng", "1"),
            ("NUMBER_OF_FRAMES-jpn", "1"),
            ("_STATISTICS_WRITING_APP", "mkvmerge"),
            ("_STATISTICS_TAGS-eng", "BPS"),
            ("SOURCE_ID", "001122"),
            ("DURATION", "00:00:01"),
            ("language", "jpn"),
            ("title", "Commentary"),
            ("ENCODER", "Lavc59 aac"),
            ("vendor_id", "[0][0][0][0]"),
            ("handler_name", "SoundHandler"),
        ]);
        let kept = tags(&[("language", "jpn"), ("title", "Commentary"), ("ENCODER", "Lavc59 aac")]);
        assert_eq!(of_stream(&source, false), kept);
        assert_eq!(of_stream(&source, true), kept[..2]);
    }

    #[test]
    fn a_handlers_name_that_a_person_gave_is_the_title() {
        assert_eq!(of_stream(&tags(&[("handler_name", "Director")]), false), tags(&[("title", "Director")]));
        assert_eq!(of_stream(&tags(&[("handler_name", "GPAC ISO Audio Handler")]), false), tags(&[]));
    }

    #[test]
    fn the_command_wins_and_an_empty_value_removes() {
        let source = of_file(tags(&[("TITLE", "old"), ("major_brand", "isom"), ("comment", "c"), ("artist", "a")]));
        let merged = overlaid(source, &tags(&[("title", "new"), ("comment", "")]));
        assert_eq!(merged, tags(&[("artist", "a"), ("title", "new")]));
    }
}
