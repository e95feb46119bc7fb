//! What only another process can show: its memory, and its sudden end.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use object_store::path::Path as ObjectPath;

use super::*;
use crate::store::objects::Parts;

/// Says to a child what to do, and in which folder.
const ROLE: &str = "FINALRIP_TEST_STORE_ROLE";
const FOLDER: &str = "FINALRIP_TEST_STORE_FOLDER";

const STREAM_LENGTH: u64 = 300 << 20;

fn child(role: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::process::the_child", "--ignored", "--nocapture"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "it is started by the other tests, with a role"]
async fn the_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let folder = std::path::PathBuf::from(std::env::var_os(FOLDER).unwrap());
    match role.as_str() {
        "local" => stream_through(&local_store(&folder), &folder).await,
        "remote" => stream_into(&Store::over(Nowhere::default(), impatient())).await,
        "endless" => drop(local_store(&folder).put_stream(&video("a.mkv").source(), endless(u64::MAX), None).await),
        role => panic!("{role}?"),
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
}

/// `length` bytes in pieces as a socket gives them.
fn endless(length: u64) -> impl Stream<Item = std::io::Result<Bytes>> {
    let piece = noise(64 << 10, 1);
    futures_util::stream::unfold(length, move |left| {
        let piece = piece.slice(..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        async move { (left > 0).then(|| (Ok(piece.clone()), left - piece.len() as u64)) }
    })
}

async fn stream_through(store: &Store, folder: &Path) {
    let key = video("a.mkv").source();
    stream_into(store).await;
    let mut read = 0;
    let mut reader = store.read(&key, ..).await.unwrap();
    while let Some(piece) = reader.next().await.unwrap() {
        read += piece.len() as u64;
    }
    assert_eq!(read, STREAM_LENGTH);
    let target = folder.join("copy.mkv");
    store.download(&key, &target).await.unwrap();
    store.put_file(&key, &target).await.unwrap();
}

async fn stream_into(store: &Store) {
    let stored = store.put_stream(&video("a.mkv").source(), endless(STREAM_LENGTH), None).await.unwrap();
    assert_eq!(stored.size, STREAM_LENGTH);
}

/// The most memory that the child ever had, in MiB.
fn peak(role: &str, folder: &Path) -> u64 {
    let output = child(role, folder).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let peak = text.lines().find_map(|line| line.split_once("VmHWM:")).expect("the child prints it").1;
    peak.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn memory_is_constant_however_long_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let (local, remote) = (peak("local", folder.path()), peak("remote", folder.path()));
    println!("{STREAM_LENGTH} bytes through a folder: {local} MiB; into a store of parts: {remote} MiB");
    // The test program itself, with the libraries that it is linked to, has about 30 MiB.
    assert!(local < 80, "{local} MiB");
    assert!(remote < 160, "{remote} MiB");
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_that_is_seen_or_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(folder.path());
    let old = noise(10, 2);
    let key = video("a.mkv").source();
    store.put_stream(&key, pieces(&old, 10), None).await.unwrap();
    let mut child = child("endless", folder.path());
    let partial = folder.path().join("partial");
    let start = Instant::now();
    while !fs::read_dir(&partial).unwrap().any(|entry| entry.unwrap().metadata().unwrap().len() > 1 << 20) {
        assert!(start.elapsed() < Duration::from_secs(20), "the child writes nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(all_of(store.read(&key, ..).await.unwrap()).await.unwrap() == old);
    assert_eq!(store.remove_unfinished(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(files_below(folder.path()), ["link-secret", "objects/a.mkv"]);
}

/// A store that takes uploads and keeps nothing but their length.
#[derive(Debug, Default)]
struct Nowhere(std::sync::atomic::AtomicU64);

impl std::fmt::Display for Nowhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nowhere")
    }
}

mod nowhere {
    use std::sync::atomic::Ordering;

    use async_trait::async_trait;
    use futures_util::stream::BoxStream;
    use object_store::multipart::{MultipartStore, PartId};
    use object_store::{
        CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload, ObjectMeta,
        ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    };

    use super::{Duration, Nowhere, ObjectPath};

    fn done() -> PutResult {
        PutResult { e_tag: None, version: None, extensions: Default::default() }
    }

    #[async_trait]
    impl ObjectStore for Nowhere {
        async fn put_opts(&self, _: &ObjectPath, _: PutPayload, _: PutOptions) -> Result<PutResult> {
            Ok(done())
        }
        async fn put_multipart_opts(&self, _: &ObjectPath, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
            unimplemented!()
        }
        async fn get_opts(&self, path: &ObjectPath, _: GetOptions) -> Result<GetResult> {
            let (location, size) = (path.clone(), self.0.load(Ordering::Relaxed));
            let last_modified = std::time::SystemTime::now().into();
            Ok(GetResult {
                payload: GetResultPayload::Stream(Box::pin(futures_util::stream::empty())),
                meta: ObjectMeta { location, last_modified, size, e_tag: None, version: None },
                range: 0..size,
                attributes: Default::default(),
                extensions: Default::default(),
            })
        }
        fn delete_stream(
            &self,
            paths: BoxStream<'static, Result<ObjectPath>>,
        ) -> BoxStream<'static, Result<ObjectPath>> {
            paths
        }
        fn list(&self, _: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
            Box::pin(futures_util::stream::empty())
        }
        async fn list_with_delimiter(&self, _: Option<&ObjectPath>) -> Result<ListResult> {
            unimplemented!()
        }
        async fn copy_opts(&self, _: &ObjectPath, _: &ObjectPath, _: CopyOptions) -> Result<()> {
            unimplemented!()
        }
    }

    #[async_trait]
    impl MultipartStore for Nowhere {
        async fn create_multipart(&self, _: &ObjectPath) -> Result<MultipartId> {
            Ok("one".to_owned())
        }
        async fn put_part(&self, _: &ObjectPath, _: &MultipartId, _: usize, data: PutPayload) -> Result<PartId> {
            // Slower than the source, so that parts would pile up.
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.0.fetch_add(data.content_length() as u64, Ordering::Relaxed);
            Ok(PartId { content_id: String::new() })
        }
        async fn complete_multipart(&self, _: &ObjectPath, _: &MultipartId, _: Vec<PartId>) -> Result<PutResult> {
            Ok(done())
        }
        async fn abort_multipart(&self, _: &ObjectPath, _: &MultipartId) -> Result<()> {
            Ok(())
        }
    }
}

#[test]
fn a_part_of_an_unknown_length_holds_much() {
    assert_eq!(Parts::REMOTE.cut_for(None).length, 16 << 20);
}
