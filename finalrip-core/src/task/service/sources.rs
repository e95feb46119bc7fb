//! Where the sources of tasks lie on this machine, and the folders that keep their indexes.
//!
//! A source of a local store is opened where it lies; one of a remote store is downloaded once, and given up when space
//! is needed. Each version of a source has a folder in `cache`: it holds a link to the source, under a name with the
//! source's extension, and whatever filters keep about it. They write it beside the link, or into `XDG_CACHE_HOME`,
//! which is this folder. It is the same for every process that reads the source, so an index is made once.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::error::{TaskError, TaskResult};
use super::version::{self, SourceVersion};
use crate::store::{Store, StoredObject, VideoKey, short_digest};
use crate::task::folders;

/// Finds and keeps sources. One for a service.
#[derive(Debug)]
pub(super) struct Sources {
    store: Store,
    /// Folders that filters write to, one a version of a source.
    cache: PathBuf,
    /// Downloads, which filters only read.
    downloads: PathBuf,
    /// The most that downloads may take, in bytes, unless one alone is larger.
    limit: u64,
    used: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A source on this machine. It stays there while this is held.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// What scripts open: the link in the cache folder.
    pub(super) source: PathBuf,
    /// The file itself.
    pub(super) file: PathBuf,
    /// Where filters may write about it.
    pub(super) cache: PathBuf,
    /// Which version it is.
    pub(super) version: SourceVersion,
    /// How many bytes had to be fetched for it.
    pub(super) fetched: u64,
    /// Keeps it from being given up.
    _held: Arc<tokio::sync::Mutex<()>>,
}

impl Place {
    /// A link to the source in another folder, for a process that runs no script: those that do may have replaced the one
    /// in the cache folder since.
    pub(super) fn link_in(&self, folder: &Path) -> TaskResult<PathBuf> {
        let link = folder.join(self.source.file_name().unwrap_or_default());
        std::os::unix::fs::symlink(&self.file, &link).map_err(TaskError::at("cannot write to", folder))?;
        Ok(link)
    }
}

/// The sample of a source, read where that may block.
async fn sampled(file: &Path) -> TaskResult<String> {
    let of = file.to_owned();
    let read = tokio::task::spawn_blocking(move || version::sample(&of)).await;
    read.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(TaskError::at("cannot read the source", file))
}

impl Sources {
    /// Makes the folders in `data`.
    pub(super) fn open(store: Store, data: &Path, limit: u64) -> TaskResult<Self> {
        let (cache, downloads) = (data.join("cache"), data.join("sources"));
        for folder in [&cache, &downloads] {
            fs::create_dir_all(folder).map_err(TaskError::at("cannot make the folder", folder))?;
        }
        let absolute = |path: PathBuf| fs::canonicalize(&path).map_err(TaskError::at("cannot open the folder", &path));
        let (cache, downloads) = (absolute(cache)?, absolute(downloads)?);
        Ok(Self { store, cache, downloads, limit, used: Mutex::default() })
    }

    /// The source of a task, brought here if need be.
    pub(super) async fn place(&self, video: &VideoKey) -> TaskResult<Place> {
        let object = self.store.head(&video.source()).await?.filter(|object| object.size > 0);
        let object = object.ok_or(TaskError::NoSource)?;
        let name = format!("{}{}", prefix(video), short(object.e_tag.as_deref().unwrap_or_default()));
        let held = self.hold(&name);
        let _alone = held.lock().await;
        let local = self.store.local_path(&video.source()).await?;
        let (file, fetched) = match local {
            Some(file) => (file, 0),
            None => self.download(video, &name, &object).await?,
        };
        let cache = self.cache.join(&name);
        let source = cache.join(file_name(video));
        link(&cache, &source, &file).map_err(TaskError::at("cannot write to", &cache))?;
        drop(_alone);
        let version = SourceVersion { e_tag: object.e_tag, sample: Some(sampled(&file).await?) };
        Ok(Place { source, file, cache, version, fetched, _held: held })
    }

    fn hold(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(used.entry(name.to_owned()).or_default())
    }

    /// Gives the file, and how many bytes of it were fetched now.
    async fn download(&self, video: &VideoKey, name: &str, object: &StoredObject) -> TaskResult<(PathBuf, u64)> {
        let folder = self.downloads.join(name);
        let file = folder.join(file_name(video));
        let size = fs::metadata(&file).map(|about| about.len());
        if size.is_ok_and(|size| size == object.size) {
            // What was used last is given up last.
            let touch = || fs::File::open(&folder)?.set_modified(SystemTime::now());
            touch().map_err(TaskError::at("cannot write to", &folder))?;
            return Ok((file, 0));
        }
        self.make_room(object.size, name).map_err(TaskError::at("cannot make room in", &self.downloads))?;
        fs::create_dir_all(&folder).map_err(TaskError::at("cannot make the folder", &folder))?;
        let downloaded = self.store.download(&video.source(), &file).await?;
        Ok((file, downloaded.object.size - downloaded.continued))
    }

    /// Gives up downloads that nobody uses, the ones used longest ago first, until `more` bytes fit in.
    fn make_room(&self, more: u64, keep: &str) -> io::Result<()> {
        let mut found = Vec::new();
        let mut total = more;
        for entry in fs::read_dir(&self.downloads)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = size_of(&entry.path())?;
            total = total.saturating_add(bytes);
            if name != keep {
                found.push((entry.metadata()?.modified()?, name, bytes));
            }
        }
        found.sort();
        for (_, name, bytes) in found {
            if total <= self.limit {
                break;
            }
            if self.give_up(&name)? {
                tracing::info!(source = name, bytes, "a downloaded source was given up to make room");
                total = total.saturating_sub(bytes);
            }
        }
        Ok(())
    }

    /// Removes a version of a source and what is known about it, unless it is being used.
    fn give_up(&self, name: &str) -> io::Result<bool> {
        // The lock is kept: nobody can take up in between what is being removed.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.get(name).is_some_and(|held| Arc::strong_count(held) > 1) {
            return Ok(false);
        }
        used.remove(name);
        remove(&self.downloads.join(name))?;
        remove(&self.cache.join(name))?;
        Ok(true)
    }

    /// Removes everything of a video that nobody uses.
    pub(super) fn forget(&self, video: &VideoKey) -> TaskResult<()> {
        self.forget_where(|name| name.starts_with(&prefix(video))).map(drop)
    }

    /// Removes everything of videos that are not among these: what a process left that was killed while it cleared. `false`
    /// when some of it is being used.
    pub(super) fn keep_only<'a>(&self, videos: impl Iterator<Item = &'a VideoKey>) -> TaskResult<bool> {
        let kept: Vec<String> = videos.map(prefix).collect();
        self.forget_where(|name| !kept.iter().any(|prefix| name.starts_with(prefix)))
    }

    /// What can be removed is, whatever cannot.
    fn forget_where(&self, which: impl Fn(&str) -> bool) -> TaskResult<bool> {
        let (mut all, mut failed) = (true, None);
        for folder in [&self.downloads, &self.cache] {
            let entries = fs::read_dir(folder).map_err(TaskError::at("cannot list", folder))?;
            for entry in entries.filter_map(Result::ok) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if which(&name) {
                    match self.give_up(&name).map_err(TaskError::at("cannot remove", &entry.path())) {
                        Ok(given_up) => all &= given_up,
                        Err(error) => failed = Some(error),
                    }
                }
            }
        }
        failed.map_or(Ok(all), Err)
    }
}

/// What the folders of every version of a video's source begin with.
fn prefix(video: &VideoKey) -> String {
    format!("{}-", short(video.as_str()))
}

fn short(text: &str) -> String {
    short_digest(text, 12)
}

/// `source` and the key's extension, if it is one that demuxers know things by.
fn file_name(video: &VideoKey) -> String {
    let extension = Path::new(video.file_name()).extension().and_then(|extension| extension.to_str());
    let usual = |extension: &&str| extension.len() <= 8 && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    extension.filter(usual).map_or_else(|| "source".to_owned(), |extension| format!("source.{extension}"))
}

/// Makes the cache folder, and in it the link.
fn link(cache: &Path, source: &Path, file: &Path) -> io::Result<()> {
    fs::create_dir_all(cache)?;
    if fs::read_link(source).is_ok_and(|target| target == file) {
        return Ok(());
    }
    // A script may have put anything in its place.
    remove(source)?;
    std::os::unix::fs::symlink(file, source)
}

/// Removes a file or a folder; none is no error.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => folders::remove(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn size_of(folder: &Path) -> io::Result<u64> {
    let sizes = fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len()));
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{LocalConfig, Retries, StoreConfig};
    use bytes::Bytes;
    use object_store::memory::InMemory;

    async fn put(store: &Store, video: &VideoKey, content: &'static str) {
        let content = futures_util::stream::iter([Ok::<_, io::Error>(Bytes::from(content))]);
        store.put_stream(&video.source(), content, None).await.unwrap();
    }

    fn video(key: &str) -> VideoKey {
        VideoKey::new(key).unwrap()
    }

    fn count(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn a_local_source_is_opened_where_it_lies_and_a_new_version_has_a_new_cache() {
        let data = tempfile::tempdir().unwrap();
        let config = StoreConfig::Local(LocalConfig { folder: data.path().join("store") });
        let store = Store::open(&config).unwrap();
        let sources = Sources::open(store.clone(), data.path(), 0).unwrap();
        let key = video("[Group] Täst 01 (1080p)+x.mkv");
        assert!(matches!(sources.place(&key).await, Err(TaskError::NoSource)));
        put(&store, &key, "a film").await;
        let place = sources.place(&key).await.unwrap();
        assert_eq!(place.source.file_name().unwrap(), "source.mkv");
        assert_eq!(fs::read_to_string(&place.source).unwrap(), "a film");
        assert_eq!(count(&sources.downloads), 0);
        fs::write(place.cache.join("index"), "1").unwrap();
        let again = sources.place(&key).await.unwrap();
        assert_eq!(fs::read_to_string(again.cache.join("index")).unwrap(), "1");
        put(&store, &key, "another film").await;
        let newer = sources.place(&key).await.unwrap();
        assert_ne!(newer.cache, place.cache);
        assert_eq!(fs::read_to_string(&newer.source).unwrap(), "another film");
        // What is held stays.
        sources.forget(&key).unwrap();
        assert_eq!(count(&sources.cache), 2);
        drop((place, again, newer));
        sources.forget(&video("other.mkv")).unwrap();
        assert_eq!(count(&sources.cache), 2);
        sources.forget(&key).unwrap();
        assert_eq!(count(&sources.cache), 0);
    }

    #[tokio::test]
    async fn downloads_are_kept_while_there_is_room() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::over(InMemory::new(), Retries::default());
        let sources = Sources::open(store.clone(), data.path(), 20).unwrap();
        let (one, two, three) = (video("1.mkv"), video("2.mkv"), video("3"));
        for key in [&one, &two, &three] {
            put(&store, key, "ten bytes!").await;
        }
        let held = sources.place(&one).await.unwrap();
        assert_eq!((held.fetched, sources.place(&one).await.unwrap().fetched), (10, 0));
        assert!(held.file.starts_with(&sources.downloads));
        drop(sources.place(&two).await.unwrap());
        assert_eq!(count(&sources.downloads), 2);
        // The first is older, but in use.
        let third = sources.place(&three).await.unwrap();
        assert_eq!(third.source.file_name().unwrap(), "source");
        assert!(held.file.exists() && third.file.exists());
        assert_eq!(count(&sources.downloads), 2);
        drop(third);
        assert!(!sources.keep_only([&three].into_iter()).unwrap(), "the first is still in use");
        drop(held);
        assert!(sources.keep_only([&one].into_iter()).unwrap());
        assert_eq!((count(&sources.downloads), count(&sources.cache)), (1, 1));
    }

    #[tokio::test]
    async fn what_a_script_put_in_place_of_the_link_goes() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::over(InMemory::new(), Retries::default());
        let sources = Sources::open(store.clone(), data.path(), 100).unwrap();
        let key = video("a.mkv");
        put(&store, &key, "a film").await;
        let place = sources.place(&key).await.unwrap();
        fs::remove_file(&place.source).unwrap();
        fs::create_dir(&place.source).unwrap();
        fs::write(place.source.join("x"), "x").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = place.link_in(elsewhere.path()).unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), "a film");
        assert_eq!(link.file_name(), place.source.file_name());
        let again = sources.place(&key).await.unwrap();
        assert_eq!(fs::read_to_string(&again.source).unwrap(), "a film");
    }
}
