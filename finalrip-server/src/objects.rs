//! The local store's objects under signed links, and the clips of a source.

use std::time::SystemTime;

use finalrip_core::store::{ObjectKey, StoreError, StoredObject, VideoKey, attachment};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPECT,
    HeaderName, HeaderValue, LAST_MODIFIED,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::app::App;
use crate::failure::Failure;
use crate::range::{Asked, Wanted, asked, last_modified, wanted};
use crate::request::Call;
use crate::routes::OBJECTS;
use crate::transfer;
use crate::wire::{self, Answer, bare};

/// How often reading starts again because the object was replaced meanwhile.
const REPLACEMENTS: usize = 3;

impl App {
    /// `GET` and `HEAD` of an object, by a signed link.
    pub(crate) async fn get_object(&self, call: Call) -> Result<Answer, Failure> {
        let (text, disposition) = self.granted(&call.head)?;
        let key = object_key(&text).ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "there is no such object"))?;
        self.send(&key, &call.head, disposition).await
    }

    /// `PUT` of a source, by a signed link.
    pub(crate) async fn put_object(&self, call: Call) -> Result<Answer, Failure> {
        let accepted = self.may_put(&call).await;
        match accepted {
            Ok(video) => self.receive(video, call).await,
            Err(failure) => {
                // Who asks before sending is told, and sends nothing.
                if !call.headers().contains_key(EXPECT) {
                    transfer::drain(call.body).await;
                }
                Err(failure)
            }
        }
    }

    /// Whether a `PUT` may begin.
    async fn may_put(&self, call: &Call) -> Result<VideoKey, Failure> {
        let (text, _) = self.granted(&call.head)?;
        let video = VideoKey::new(text).map_err(|error| Failure::bad(error.to_string()))?;
        self.service.may_upload(&video).await?;
        if call.headers().contains_key(CONTENT_RANGE) {
            return Err(Failure::bad("a part of an object cannot be put; send the whole without Content-Range"));
        }
        if transfer::length(call.headers()).is_some_and(|length| length > self.config.limits.upload_bytes()) {
            return Err(transfer::too_long(self.config.limits.upload_bytes()));
        }
        Ok(video)
    }

    /// Streams a body into the store.
    async fn receive(&self, video: VideoKey, call: Call) -> Result<Answer, Failure> {
        let mut upload = self.service.store().upload(&video.source(), transfer::length(call.headers()))?;
        let received = transfer::receive(&mut upload, call.body, &self.config.limits).await;
        // Much may have happened while the film arrived.
        let outcome = match received {
            Ok(()) => self.service.may_upload(&video).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = outcome {
            upload.abort().await;
            return Err(failure);
        }
        let stored = upload.finish().await?;
        tracing::info!(key = %video, bytes = stored.size, "a source was uploaded");
        let mut answer = wire::done();
        set(answer.headers_mut(), ETAG, stored.e_tag.as_deref());
        Ok(answer)
    }

    /// The key that a request names, and the disposition of its link, if the link holds.
    fn granted(&self, head: &Parts) -> Result<(String, Option<String>), Failure> {
        let path = head.uri.path().strip_prefix(OBJECTS).unwrap_or_default();
        let key = percent_decode_str(path).decode_utf8().map_err(|_| Failure::bad("the object's key is not UTF-8"))?;
        let query = head.uri.query().unwrap_or_default();
        let granted = self.service.store().check_link(head.method.as_str(), &key, query, SystemTime::now());
        let granted = granted.map_err(|refused| Failure::new(StatusCode::FORBIDDEN, refused.to_string()))?;
        Ok((key.into_owned(), granted.disposition))
    }

    /// `GET task/clip`: what a clip covers of its source, as a file.
    pub(crate) async fn clip(&self, call: Call, has_token: bool) -> Result<Answer, Failure> {
        let fields = call.query()?;
        let (video, index) = (fields.required("video_key")?, fields.index()?);
        let has_link = |video| self.service.check_clip_link(&video, index, call.raw_query());
        if !has_token && !VideoKey::new(video).is_ok_and(has_link) {
            return Err(crate::app::no_token());
        }
        let key = self.service.clip(video, index).await?;
        let disposition = attachment(file_name(&key.to_string()));
        self.send(&key, &call.head, Some(disposition)).await
    }

    /// An object, or the part of it that was asked for.
    async fn send(&self, key: &ObjectKey, head: &Parts, disposition: Option<String>) -> Result<Answer, Failure> {
        let store = self.service.store();
        for _ in 0..REPLACEMENTS {
            let whole_object = store.read(key, ..).await?;
            let object = whole_object.object().clone();
            let mut answer = match wanted(&head.headers, &object) {
                Wanted::NotModified => bare(StatusCode::NOT_MODIFIED),
                Wanted::Failed => {
                    return Err(Failure::new(StatusCode::PRECONDITION_FAILED, "the object is another one"));
                }
                Wanted::Yes if head.method == Method::HEAD => sized(bare(StatusCode::OK), object.size),
                Wanted::Yes => match asked(&head.headers, &object) {
                    Asked::Unsatisfiable => return Ok(unsatisfiable(&object)),
                    Asked::Whole => sized(Answer::new(transfer::body(whole_object)), object.size),
                    Asked::Part(range) => {
                        let part = store.read(key, range.clone()).await?;
                        if *part.object() != object {
                            continue;
                        }
                        let (start, last) = (range.start, range.end - 1);
                        let mut answer = sized(Answer::new(transfer::body(part)), range.end - range.start);
                        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
                        let covered = format!("bytes {start}-{last}/{}", object.size);
                        set(answer.headers_mut(), CONTENT_RANGE, Some(&covered));
                        answer
                    }
                },
            };
            describe(answer.headers_mut(), &object, disposition.as_deref());
            return Ok(answer);
        }
        Err(StoreError::Changed { key: key.to_string() }.into())
    }
}

/// The key of an object, whatever it is: those that were made from a long key are longer than a video's may be.
fn object_key(text: &str) -> Option<ObjectKey> {
    if let Ok(video) = VideoKey::new(text) {
        return Some(video.source());
    }
    let stem = ["-Encoded.mkv", "-clip-"].iter().filter_map(|mark| text.rfind(mark)).max()?;
    let video = VideoKey::new(&text[..stem]).ok()?;
    ObjectKey::of(&video, text)
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn sized(mut answer: Answer, length: u64) -> Answer {
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    answer
}

fn unsatisfiable(object: &StoredObject) -> Answer {
    let message = format!("the object has {} bytes", object.size);
    let failure = Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, message);
    let mut answer = wire::refused(&failure, crate::routes::Errors::ByStatus);
    set(answer.headers_mut(), CONTENT_RANGE, Some(&format!("bytes */{}", object.size)));
    set(answer.headers_mut(), ACCEPT_RANGES, Some("bytes"));
    answer
}

/// What an answer says of its object.
fn describe(headers: &mut HeaderMap, object: &StoredObject, disposition: Option<&str>) {
    set(headers, ACCEPT_RANGES, Some("bytes"));
    set(headers, ETAG, object.e_tag.as_deref());
    set(headers, LAST_MODIFIED, last_modified(object.modified).as_deref());
    set(headers, CONTENT_DISPOSITION, disposition);
    set(headers, CACHE_CONTROL, Some("private, no-cache"));
    set(headers, CONTENT_TYPE, Some(content_type(&object.key)));
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}

/// By the name: what is stored is what clients sent, and nobody looks into it here.
fn content_type(key: &str) -> &'static str {
    let extension = key.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("mkv") => "video/x-matroska",
        Some("mp4" | "m4v") => "video/mp4",
        Some("webm") => "video/webm",
        Some("mov") => "video/quicktime",
        Some("ts" | "m2ts") => "video/mp2t",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_objects_are_found_whatever_their_length() {
        let long = "x".repeat(VideoKey::LONGEST);
        for text in ["a.mkv", "a.mkv-Encoded.mkv", &long] {
            assert_eq!(object_key(text).unwrap().to_string(), text);
        }
        for suffix in ["-Encoded.mkv", "-clip-7.mkv", "-clip-encoded-7.mkv"] {
            let text = format!("{long}{suffix}");
            assert_eq!(object_key(&text).unwrap().to_string(), text);
        }
        for text in ["", "../a", &format!("{long}y"), &format!("{long}-clip-x.mkv")] {
            assert!(object_key(text).is_none(), "{text}");
        }
    }
}
