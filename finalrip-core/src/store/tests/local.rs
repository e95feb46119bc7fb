//! What is particular to a folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

#[tokio::test]
async fn a_source_is_opened_where_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(folder.path());
    let key = video("show/[Group] Täst & more+x.mkv").source();
    assert!(store.local_path(&key).await.unwrap_err().is_not_found());
    store.put_stream(&key, pieces(&noise(1_000, 1), 100), None).await.unwrap();
    let path = store.local_path(&key).await.unwrap().unwrap();
    assert!(path.ends_with("objects/show%/[Group] Täst & more+x.mkv"), "{path:?}");
    assert!(fs::read(path).unwrap() == noise(1_000, 1));
    let remote = Store::over(object_store::memory::InMemory::new(), impatient());
    assert_eq!(remote.local_path(&key).await.unwrap(), None);
}

#[tokio::test]
async fn publishing_moves_the_very_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(&folder.path().join("store"));
    let (file, key) = (folder.path().join("made.mkv"), video("a/b/c.mkv").result());
    fs::write(&file, "content").unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    store.publish(&key, &file).await.unwrap();
    assert_eq!(fs::metadata(store.local_path(&key).await.unwrap().unwrap()).unwrap().ino(), inode);
    // Another file system: a copy.
    let shared_memory = std::path::Path::new("/dev/shm");
    let elsewhere = tempfile::tempdir_in(shared_memory).unwrap();
    if fs::metadata(elsewhere.path()).unwrap().dev() != fs::metadata(folder.path()).unwrap().dev() {
        let file = elsewhere.path().join("made.mkv");
        fs::write(&file, "other content").unwrap();
        assert_eq!(store.publish(&key, &file).await.unwrap().size, 13);
        assert!(!file.exists());
    }
    // What is no plain file is no content.
    symlink("/etc/hostname", &file).unwrap();
    assert!(matches!(store.publish(&key, &file).await, Err(StoreError::Refused { .. })));
}

#[tokio::test]
async fn deleting_leaves_no_empty_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(folder.path());
    let (one, two) = (video("a/b/1.mkv").source(), video("a/2.mkv").source());
    for key in [&one, &two] {
        store.put_stream(key, pieces(&noise(10, 1), 10), None).await.unwrap();
    }
    let objects = folder.path().join("objects");
    store.delete(&one).await.unwrap();
    assert!(!objects.join("a%/b%").exists() && objects.join("a%").exists());
    store.delete(&two).await.unwrap();
    assert_eq!(fs::read_dir(&objects).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn writers_and_deleters_of_one_folder_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(folder.path());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (store, key) = (store.clone(), video(&format!("a/b/{number}.mkv")).source());
        tasks.spawn(async move {
            for _ in 0..25 {
                store.put_stream(&key, pieces(&noise(10, number), 10), None).await.unwrap();
                store.delete(&key).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(files_below(folder.path()), ["link-secret"]);
}

#[tokio::test]
async fn symbolic_links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.mkv");
    fs::write(&secret, "secret").unwrap();
    let store = local_store(folder.path());
    let objects = folder.path().join("objects");
    symlink(&secret, objects.join("file.mkv")).unwrap();
    symlink(outside.path(), objects.join("folder%")).unwrap();
    for key in ["file.mkv", "folder/secret.mkv"] {
        let key = video(key).source();
        let refused = |error: StoreError| assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
        refused(store.head(&key).await.unwrap_err());
        refused(store.read(&key, ..).await.unwrap_err());
        refused(store.local_path(&key).await.unwrap_err());
        refused(store.download(&key, &outside.path().join("copy")).await.unwrap_err());
        refused(store.delete(&key).await.unwrap_err());
        assert!(store.task_objects(key.video()).await.unwrap().is_empty());
    }
    let below = video("folder/new.mkv").source();
    assert!(matches!(store.put_stream(&below, pieces(&noise(9, 1), 9), None).await, Err(StoreError::Refused { .. })));
    // A write replaces the link itself.
    store.put_stream(&video("file.mkv").source(), pieces(&noise(9, 1), 9), None).await.unwrap();
    assert_eq!(files_below(outside.path()), ["secret.mkv"]);
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    // The folder itself may be reached through a link.
    let link = outside.path().join("store");
    symlink(folder.path(), &link).unwrap();
    assert!(local_store(&link).head(&video("file.mkv").source()).await.unwrap().is_some());
}

#[tokio::test]
async fn pipes_and_folders_are_no_objects() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(folder.path());
    let pipe = folder.path().join("objects/pipe.mkv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::create_dir(folder.path().join("objects/folder.mkv")).unwrap();
    for key in ["pipe.mkv", "folder.mkv"] {
        let outcome = store.head(&video(key).source()).await;
        assert!(matches!(outcome, Err(StoreError::Refused { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full() {
    let full = tempfile::tempdir().unwrap();
    let store = local_store(full.path());
    // A part that is written to `/dev/full` fails as on a full disk.
    let upload = store.client.objects.begin(&object_store::path::Path::from("a")).await.unwrap();
    let partial = full.path().join("partial").join(&upload);
    fs::remove_file(&partial).unwrap();
    symlink("/dev/full", &partial).unwrap();
    let content = object_store::PutPayload::from_static(b"content");
    let error = store.client.objects.part(&object_store::path::Path::from("a"), &upload, 0, content).await.unwrap_err();
    let error = StoreError::from_backend(crate::store::Operation::Write, "a", 1, error);
    assert!(matches!(error, StoreError::Full { .. }) && !error.is_retriable(), "{error:?}");
    assert_eq!(error.to_string(), "no space is left to write \"a\"");
}

#[tokio::test]
async fn unfinished_uploads_are_removed_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(folder.path());
    let mut upload = store.upload(&video("a.mkv").source(), None).unwrap();
    upload.write(noise(300_000, 1)).await.unwrap();
    assert_eq!(store.remove_unfinished(Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(store.remove_unfinished(Duration::ZERO).await.unwrap(), 1);
    assert!(upload.finish().await.is_err(), "its file is gone");
    assert_eq!(files_below(folder.path()), ["link-secret"]);
    assert_eq!(store.remove_unfinished(Duration::ZERO).await.unwrap(), 0);
}

#[test]
fn an_upload_dropped_outside_of_a_runtime_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut upload = store.upload(&video("a.mkv").source(), None).unwrap();
    runtime.block_on(upload.write(noise(300_000, 1))).unwrap();
    drop(runtime);
    drop(upload);
    assert_eq!(files_below(folder.path()), ["link-secret"]);
}

#[tokio::test]
async fn the_secret_is_its_owners_alone_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("link-secret");
    drop(local_store(folder.path()));
    let first = fs::read(&secret).unwrap();
    assert_eq!((first.len(), fs::metadata(&secret).unwrap().mode() & 0o777), (32, 0o600));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    drop(local_store(folder.path()));
    assert_eq!((fs::read(&secret).unwrap(), fs::metadata(&secret).unwrap().mode() & 0o777), (first, 0o600));
    fs::write(&secret, "short").unwrap();
    let outcome = Store::open(&StoreConfig::Local(LocalConfig { folder: folder.path().to_owned() }));
    assert!(matches!(outcome, Err(StoreError::File { .. })), "a damaged secret is no secret");
}
