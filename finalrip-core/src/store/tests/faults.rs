//! The store over one that fails.

use std::time::Instant;

use super::faulty::{Fault, Faulty, Plan};
use super::*;

const PART: usize = 8 << 20;

#[tokio::test]
async fn it_behaves_over_a_store_that_fails_now_and_then() {
    for seed in 0..3 {
        let faulty = Faulty::random(seed, 0.1);
        kit::all(&Store::over(faulty.clone(), impatient()), PART).await;
        assert!(faulty.faults() > 20, "{} faults", faulty.faults());
        settled(&faulty).await;
    }
}

/// Dropped uploads are removed in the background.
async fn settled(faulty: &Faulty) {
    let start = Instant::now();
    while faulty.open_uploads() > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "{} uploads are left", faulty.open_uploads());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_store_that_goes_on_failing_is_unavailable_and_nothing_stays() {
    let key = video("a.mkv").source();
    let content = noise(2 * PART + 5, 1);
    for fault in [Fault::Before, Fault::Silence] {
        // `head` is asked before the first part.
        for call in ["create", "part", "complete", "head"] {
            let faulty = Faulty::new(Plan::Always(call, fault));
            let retries = Retries { attempts: 3, time_out: Duration::from_millis(20), ..impatient() };
            let store = Store::over(faulty.clone(), retries);
            let error = store.put_stream(&key, pieces(&content, 1 << 20), None).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable { attempts: 3, .. }), "{call}: {error:?}");
            assert!(error.is_retriable());
            settled(&faulty).await;
            faulty.set(Plan::Never);
            assert_eq!(store.head(&key).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_last_request_is_no_failure() {
    let faulty = Faulty::new(Plan::Always("complete", Fault::After));
    let store = Store::over(faulty.clone(), impatient());
    let key = video("a.mkv").source();
    for seed in 0..2 {
        let content = noise(2 * PART + 5, seed);
        store.put_stream(&key, pieces(&content, 1 << 20), Some(content.len() as u64)).await.unwrap();
        assert!(all_of(store.read(&key, ..).await.unwrap()).await.unwrap() == content);
    }
    // The object that was there before is not taken for the new one.
    faulty.set(Plan::Always("complete", Fault::Before));
    let content = noise(2 * PART + 5, 3);
    let outcome = store.put_stream(&key, pieces(&content, 1 << 20), Some(content.len() as u64)).await;
    assert!(outcome.is_err_and(|error| error.is_retriable()));
    settled(&faulty).await;
}

#[tokio::test]
async fn reading_goes_on_where_it_broke() {
    let faulty = Faulty::new(Plan::Never);
    let store = Store::over(faulty.clone(), impatient());
    let key = video("a.mkv").source();
    let content = noise(3_000_000, 2);
    store.put_stream(&key, pieces(&content, 1 << 20), None).await.unwrap();
    for fault in [Fault::Break, Fault::Short] {
        // Each answer holds half of what is left, down to the last piece, which does not come at all.
        faulty.set(Plan::Always("get", fault));
        let mut reader = store.read(&key, ..).await.unwrap();
        let mut read = Vec::new();
        let error = loop {
            match reader.next().await {
                Ok(piece) => read.extend_from_slice(&piece.unwrap()),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Unavailable { attempts: 10, .. }), "{error:?}");
        assert!(read[..] == content[..read.len()] && read.len() > 2_900_000, "{}", read.len());
        faulty.set(Plan::Never);
        assert!(all_of(reader).await.unwrap() == content[read.len()..], "it can be asked again");
    }
}

#[tokio::test]
async fn a_download_that_failed_is_continued() {
    let faulty = Faulty::new(Plan::Never);
    let store = Store::over(faulty.clone(), impatient());
    let key = video("a.mkv").source();
    let content = noise(3_000_000, 3);
    store.put_stream(&key, pieces(&content, 1 << 20), None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a.mkv");
    faulty.set(Plan::Always("get", Fault::Break));
    assert!(store.download(&key, &target).await.unwrap_err().is_retriable());
    assert!(!target.exists());
    faulty.set(Plan::Never);
    let done = store.download(&key, &target).await.unwrap();
    assert!(done.continued > 2_900_000, "{}", done.continued);
    assert!(std::fs::read(&target).unwrap() == content);
    assert_eq!(files_below(folder.path()), ["a.mkv"]);
}

#[tokio::test]
async fn a_dropped_future_leaves_no_upload() {
    let faulty = Faulty::new(Plan::Always("part", Fault::Silence));
    let store = Store::over(faulty.clone(), Retries::default());
    let key = video("a.mkv").source();
    let put = store.put_stream(&key, pieces(&noise(3 * PART, 4), 1 << 20), None);
    assert!(tokio::time::timeout(Duration::from_millis(100), put).await.is_err());
    settled(&faulty).await;
    assert_eq!(store.head(&key).await.unwrap(), None);
}

#[tokio::test]
async fn no_link_is_made_to_a_store_without_links() {
    let store = Store::over(Faulty::new(Plan::Never), impatient());
    let outcome =
        store.link(&video("a").source(), crate::store::Access::Download, std::time::SystemTime::now(), "").await;
    assert!(matches!(outcome, Err(StoreError::Unsupported { .. })));
    assert!(store.check_link("GET", "a", "", std::time::SystemTime::now()).is_err());
}
