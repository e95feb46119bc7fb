//! What every store does, whatever is behind it.

use std::fs;
use std::path::Path;

use object_store::memory::InMemory;

use super::*;
use crate::store::ObjectKey;
use crate::store::key::tests::{NASTY, long_keys};

/// Runs all behaviours. `part` is about the length of a part: what is longer is uploaded in several.
pub(super) async fn all(store: &Store, part: usize) {
    let scratch = tempfile::tempdir().unwrap();
    absence(store).await;
    nasty_keys(store).await;
    sizes(store, part).await;
    replacement(store).await;
    wrong_lengths(store, part).await;
    broken_content(store, part).await;
    ranges(store, part).await;
    downloads(store, scratch.path(), part).await;
    files(store, scratch.path(), part).await;
    tasks(store).await;
    store.probe().await.unwrap();
}

#[tokio::test]
async fn a_folder_behaves() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(folder.path());
    all(&store, 128 << 10).await;
    assert_eq!(files_below(&folder.path().join("partial")), [""; 0]);
}

#[tokio::test]
async fn memory_behaves() {
    all(&Store::over(InMemory::new(), Retries::default()), 8 << 20).await;
}

async fn put(store: &Store, key: &ObjectKey, content: &Bytes) {
    let stored = store.put_stream(key, pieces(content, 100_000), Some(content.len() as u64)).await.unwrap();
    assert_eq!((stored.key, stored.size), (key.to_string(), content.len() as u64));
}

async fn get(store: &Store, key: &ObjectKey) -> Bytes {
    all_of(store.read(key, ..).await.unwrap()).await.unwrap()
}

async fn absence(store: &Store) {
    let video = video("not/there.mkv");
    let key = video.source();
    assert_eq!(store.head(&key).await.unwrap(), None);
    assert!(store.read(&key, ..).await.unwrap_err().is_not_found());
    assert!(store.download(&key, Path::new("/nowhere")).await.unwrap_err().is_not_found());
    store.delete(&key).await.unwrap();
    assert_eq!(store.delete_task(&video).await.unwrap(), 0);
    assert!(store.task_objects(&video).await.unwrap().is_empty());
}

async fn nasty_keys(store: &Store) {
    let keys: Vec<String> = NASTY.iter().map(ToString::to_string).chain(long_keys()).collect();
    for (round, key) in keys.iter().enumerate() {
        let video = video(key);
        put(store, &video.source(), &noise(100 + round, 1)).await;
        put(store, &video.encoded_clip(round as u32), &noise(1_000 + round, 2)).await;
    }
    // All are there at the same time: none has taken another one's place.
    for (round, key) in keys.iter().enumerate() {
        let video = video(key);
        assert_eq!(get(store, &video.source()).await, noise(100 + round, 1), "{key}");
        let mut found = store.task_objects(&video).await.unwrap();
        found.sort_by_key(|(_, object)| object.size);
        let found: Vec<_> = found.into_iter().map(|(key, object)| (key, object.size)).collect();
        let (source, clip) = (100 + round as u64, 1_000 + round as u64);
        assert_eq!(found, [(video.source(), source), (video.encoded_clip(round as u32), clip)], "{key}");
    }
    for key in &keys {
        assert_eq!(store.delete_task(&video(key)).await.unwrap(), 2, "{key}");
        assert_eq!(store.head(&video(key).source()).await.unwrap(), None);
    }
}

async fn sizes(store: &Store, part: usize) {
    let key = video("sizes.mkv").source();
    for length in [0, 1, part - 1, part, part + 1, 2 * part, 3 * part + 7] {
        let content = noise(length, 3);
        put(store, &key, &content).await;
        assert!(get(store, &key).await == content, "{length} bytes");
        let unknown = store.put_stream(&key, pieces(&content, 70_001), None).await.unwrap();
        assert_eq!(unknown.size, length as u64);
        assert!(get(store, &key).await == content, "{length} bytes, not told before");
    }
    store.delete(&key).await.unwrap();
}

async fn replacement(store: &Store) {
    let key = video("replaced.mkv").source();
    put(store, &key, &noise(50_000, 4)).await;
    let first = store.head(&key).await.unwrap().unwrap();
    let mut reader = store.read(&key, ..).await.unwrap();
    put(store, &key, &noise(50_000, 5)).await;
    let second = store.head(&key).await.unwrap().unwrap();
    assert_ne!(first.e_tag, second.e_tag);
    // Never a mixture: the reader that had not asked for anything yet learns that its object is gone.
    assert!(matches!(reader.next().await, Err(StoreError::Changed { .. })));
    assert!(get(store, &key).await == noise(50_000, 5));
    store.delete(&key).await.unwrap();
}

async fn wrong_lengths(store: &Store, part: usize) {
    let key = video("length.mkv").source();
    let old = noise(10, 6);
    put(store, &key, &old).await;
    for length in [5, 2 * part + 5] {
        let content = noise(length, 7);
        for expected in [length as u64 - 1, length as u64 + 1] {
            let outcome = store.put_stream(&key, pieces(&content, 50_000), Some(expected)).await;
            assert!(matches!(outcome, Err(StoreError::Length { .. })), "{length} for {expected}: {outcome:?}");
            assert_eq!(get(store, &key).await, old);
        }
    }
    store.delete(&key).await.unwrap();
}

async fn broken_content(store: &Store, part: usize) {
    let key = video("broken.mkv").source();
    for length in [5, 2 * part + 5] {
        let gone = futures_util::stream::iter([Err(std::io::Error::other("the client went away"))]);
        let content = futures_util::StreamExt::chain(pieces(&noise(length, 8), 50_000), gone);
        let outcome = store.put_stream(&key, content, None).await;
        assert!(matches!(outcome, Err(StoreError::Content { .. })), "{outcome:?}");
        assert_eq!(store.head(&key).await.unwrap(), None);
    }
    // Given up on purpose, and by being dropped.
    for abort in [true, false] {
        let mut upload = store.upload(&key, None).unwrap();
        upload.write(noise(2 * part + 5, 9)).await.unwrap();
        if abort {
            upload.abort().await
        } else {
            drop(upload)
        }
        assert_eq!(store.head(&key).await.unwrap(), None);
    }
}

async fn ranges(store: &Store, part: usize) {
    let key = video("ranges.mkv").source();
    let content = noise(part + 1_000, 10);
    put(store, &key, &content).await;
    let size = content.len() as u64;
    for range in [0..size, 0..1, 1..2, size - 1..size, 999..part as u64 + 1, 5..5, 0..u64::MAX, size - 3..size + 3] {
        let reader = store.read(&key, range.clone()).await.unwrap();
        assert_eq!(reader.object().size, size);
        let end = range.end.min(size) as usize;
        assert!(all_of(reader).await.unwrap() == content.slice(range.start as usize..end), "{range:?}");
    }
    for start in [size, size + 1, u64::MAX] {
        let outcome = store.read(&key, start..).await;
        assert!(matches!(outcome, Err(StoreError::Range { size: told, .. }) if told == size), "{start}: {outcome:?}");
    }
    store.delete(&key).await.unwrap();
}

async fn downloads(store: &Store, scratch: &Path, part: usize) {
    let key = video("download.mkv").source();
    let target = scratch.join("download.mkv");
    for length in [0, 1, 2 * part + 5] {
        let content = noise(length, 11);
        put(store, &key, &content).await;
        let done = store.download(&key, &target).await.unwrap();
        assert_eq!((done.continued, done.object.size), (0, length as u64));
        assert!(fs::read(&target).unwrap() == content);
    }
    // What another version has left is not continued, and goes away; what this one has left is.
    let old = crate::store::download::partial_of(&store.head(&key).await.unwrap().unwrap(), &target);
    fs::write(&old, "of the old version").unwrap();
    let content = noise(2 * part + 6, 12);
    put(store, &key, &content).await;
    let partial = crate::store::download::partial_of(&store.head(&key).await.unwrap().unwrap(), &target);
    fs::write(&partial, &content[..part + 3]).unwrap();
    let done = store.download(&key, &target).await.unwrap();
    assert_eq!(done.continued, part as u64 + 3);
    assert!(fs::read(&target).unwrap() == content);
    assert_eq!(files_below(scratch), ["download.mkv"]);
    // Longer than the object: no beginning of it.
    fs::write(&partial, noise(2 * part + 7, 13)).unwrap();
    assert_eq!(store.download(&key, &target).await.unwrap().continued, 0);
    assert!(fs::read(&target).unwrap() == content);
    let held = fs::File::create(&partial).unwrap();
    held.try_lock().unwrap();
    assert!(matches!(store.download(&key, &target).await, Err(StoreError::Busy { .. })));
    fs::remove_file(partial).unwrap();
    store.delete(&key).await.unwrap();
}

async fn files(store: &Store, scratch: &Path, part: usize) {
    let file = scratch.join("file.mkv");
    for length in [0, 10, 2 * part + 5] {
        let (copied, moved) = (video("copied.mkv").result(), video("moved.mkv").result());
        let content = noise(length, 14);
        fs::write(&file, &content).unwrap();
        assert_eq!(store.put_file(&copied, &file).await.unwrap().size, length as u64);
        assert_eq!(store.publish(&moved, &file).await.unwrap().size, length as u64);
        assert!(!file.exists());
        assert!(get(store, &copied).await == content && get(store, &moved).await == content);
        store.delete(&copied).await.unwrap();
        store.delete(&moved).await.unwrap();
    }
    let outcome = store.put_file(&video("none.mkv").source(), &scratch.join("none")).await;
    assert!(matches!(outcome, Err(StoreError::File { .. })), "{outcome:?}");
}

async fn tasks(store: &Store) {
    let (video, other) = (video("task/a.mkv"), video("task/a.mkv-clip-x.mkv"));
    let nested = VideoKey::new(video.result().to_string()).unwrap();
    let objects = [video.source(), video.clip(0), video.encoded_clip(0), video.encoded_clip(11), video.result()];
    for key in objects.iter().chain(&[other.source(), other.result(), nested.clip(1)]) {
        put(store, key, &noise(20, 15)).await;
    }
    let mut found: Vec<_> = store.task_objects(&video).await.unwrap().into_iter().map(|(key, _)| key).collect();
    found.sort_by_key(|key| objects.iter().position(|known| known == key));
    assert_eq!(found, objects);
    assert_eq!(store.delete_task(&video).await.unwrap(), objects.len());
    assert!(store.task_objects(&video).await.unwrap().is_empty());
    // What belongs to others is as it was.
    assert_eq!(store.delete_task(&other).await.unwrap(), 2);
    assert_eq!(store.delete_task(&nested).await.unwrap(), 1);
}
