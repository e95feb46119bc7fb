//! What S3 answers when asked for its objects and unfinished uploads.
//!
//! Names are asked for in their URL-encoded form: XML cannot hold every character, and readers of XML drop the spaces at
//! either end of a text.

use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::objects::Unfinished;

/// A part of a list, and the query that asks for the next one; none at the end.
pub(super) struct Page<T> {
    pub(super) entries: Vec<T>,
    pub(super) next: Vec<(&'static str, String)>,
}

/// `ListObjectsV2`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ObjectList {
    #[serde(default)]
    contents: Vec<Object>,
    next_continuation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    size: u64,
    last_modified: DateTime<Utc>,
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
}

/// `ListMultipartUploads`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadList {
    #[serde(default)]
    upload: Vec<Upload>,
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: DateTime<Utc>,
}

/// Reads a list of objects.
pub(super) fn objects(body: &[u8]) -> Result<Page<ObjectMeta>> {
    let list: ObjectList = parse(body)?;
    let entry = |object: Object| {
        Some(ObjectMeta {
            // What is no possible path was put there by somebody else.
            location: Path::parse(decode(&object.key)?).ok()?,
            last_modified: object.last_modified,
            size: object.size,
            e_tag: object.e_tag,
            version: None,
        })
    };
    let next = list.next_continuation_token.filter(|token| !token.is_empty());
    Ok(Page {
        entries: list.contents.into_iter().filter_map(entry).collect(),
        next: next.map(|token| ("continuation-token", token)).into_iter().collect(),
    })
}

/// Reads a list of unfinished uploads.
pub(super) fn uploads(body: &[u8]) -> Result<Page<Unfinished>> {
    let list: UploadList = parse(body)?;
    let entry = |upload: Upload| {
        let path = Path::parse(decode(&upload.key)?).ok()?;
        Some(Unfinished { path, upload: upload.upload_id, begun: upload.initiated.into() })
    };
    let mut next = Vec::new();
    if list.is_truncated {
        // Markers without which the same page would come again.
        let missing =
            || Error::Generic { store: "S3", source: "a part of a list without a marker for the next".into() };
        let key = list.next_key_marker.as_deref().and_then(decode).ok_or_else(missing)?;
        next.push(("key-marker", key));
        next.extend(list.next_upload_id_marker.map(|marker| ("upload-id-marker", marker)));
    }
    Ok(Page { entries: list.upload.into_iter().filter_map(entry).collect(), next })
}

/// What an error's body says, or nothing.
pub(super) fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Failure {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    parse::<Failure>(body).map(|failure| format!("{} {}", failure.code, failure.message)).unwrap_or_default()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    quick_xml::de::from_reader(body).map_err(|source| Error::Generic { store: "S3", source: source.into() })
}

/// Amazon writes a space as `+`, others as `%20`; all write a plus as `%2B`.
fn decode(name: &str) -> Option<String> {
    let name = name.replace('+', " ");
    percent_encoding::percent_decode_str(&name).decode_utf8().ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_with_any_name() {
        let body = br#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Name>b</Name><Prefix>%20a</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys>
              <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
              <NextContinuationToken>1/abc+d==</NextContinuationToken>
              <Contents><Key>%20a%2B+b%26%E7%89%87%20</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>
                <ETag>&quot;abc-2&quot;</ETag><Size>12</Size><StorageClass>STANDARD</StorageClass></Contents>
              <Contents><Key>a//b</Key><LastModified>2026-01-02T03:04:05Z</LastModified><Size>1</Size></Contents>
            </ListBucketResult>"#;
        let page = objects(body).unwrap();
        assert_eq!(page.next, [("continuation-token", "1/abc+d==".to_owned())]);
        let [object] = &page.entries[..] else { panic!("{:?}", page.entries) };
        assert_eq!(object.location.as_ref(), " a+ b&片 ");
        assert_eq!((object.size, object.e_tag.as_deref()), (12, Some("\"abc-2\"")));
    }

    #[test]
    fn unfinished_uploads_are_read() {
        let body = br"<ListMultipartUploadsResult>
              <Bucket>b</Bucket><KeyMarker></KeyMarker><NextKeyMarker>c%20d</NextKeyMarker>
              <NextUploadIdMarker>two</NextUploadIdMarker><IsTruncated>true</IsTruncated>
              <Upload><Key>a%20b</Key><UploadId>one</UploadId><Initiated>2026-01-02T03:04:05Z</Initiated></Upload>
              <Upload><Key>c%20d</Key><UploadId>two</UploadId><Initiated>2026-01-02T03:04:05Z</Initiated></Upload>
            </ListMultipartUploadsResult>";
        let page = uploads(body).unwrap();
        let ids: Vec<_> = page.entries.iter().map(|found| (found.path.as_ref(), found.upload.as_str())).collect();
        assert_eq!(ids, [("a b", "one"), ("c d", "two")]);
        assert_eq!(page.next, [("key-marker", "c d".to_owned()), ("upload-id-marker", "two".to_owned())]);
    }

    #[test]
    fn an_empty_bucket_and_an_error_are_read() {
        let page = objects(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>").unwrap();
        assert!(page.entries.is_empty() && page.next.is_empty());
        assert_eq!(message(b"<Error><Code>NoSuchBucket</Code><Message>gone</Message></Error>"), "NoSuchBucket gone");
        assert_eq!(message(b"<html>502"), "");
    }
}
