//! The kit against Garage, an S3-compatible store.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Instant, SystemTime};

use super::*;
use crate::store::{Access, Credentials, S3Config, attachment};

const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A server of one node with one bucket; killed at the end.
struct Garage {
    server: Child,
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Garage {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn program() -> PathBuf {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin/garage"));
    let program = std::env::var_os("FINALRIP_GARAGE").map_or_else(beside, PathBuf::from);
    assert!(program.is_file(), "there is no {}", program.display());
    program
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Garage {
    fn start() -> Self {
        let (program, folder) = (program(), tempfile::tempdir().unwrap());
        let (rpc, port) = (free_port(), free_port());
        let at = folder.path().display();
        let config = format!(
            "metadata_dir = \"{at}/meta\"\ndata_dir = \"{at}/data\"\ndb_engine = \"sqlite\"\nreplication_factor = 1\n\
             rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{SECRET_KEY}\"\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{port}\"\n"
        );
        fs::write(folder.path().join("garage.toml"), config).unwrap();
        let quiet = || fs::File::create(folder.path().join("log")).map(Stdio::from).unwrap();
        let mut server = Command::new(&program);
        server.args(["-c", "garage.toml", "server"]).current_dir(folder.path()).stdout(quiet()).stderr(quiet());
        let garage = Self { server: server.spawn().unwrap(), program, folder, port };
        garage.set_up();
        garage
    }

    fn set_up(&self) {
        let start = Instant::now();
        let node = loop {
            match self.run(&["node", "id", "-q"]) {
                Ok(id) if self.run(&["status"]).is_ok() => break id.split('@').next().unwrap().to_owned(),
                _ => assert!(start.elapsed() < Duration::from_secs(20), "it does not start"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        for arguments in [
            &["layout", "assign", "-z", "here", "-c", "10G", &node][..],
            &["layout", "apply", "--version", "1"],
            &["bucket", "create", "films"],
            &["key", "import", "--yes", "-n", "test", ACCESS_KEY, SECRET_KEY],
            &["bucket", "allow", "--read", "--write", "--owner", "films", "--key", ACCESS_KEY],
        ] {
            self.run(arguments).unwrap();
        }
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let folder = self.folder.path();
        let done = Command::new(&self.program).args(["-c", "garage.toml"]).args(arguments).current_dir(folder).output();
        let done = done.map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if done.status.success() {
            Ok(text(&done.stdout))
        } else {
            Err(format!("{arguments:?}: {}", text(&done.stderr)))
        }
    }

    fn store(&self) -> Store {
        let (access_key, secret_key) = (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned());
        Store::open(&StoreConfig::S3(Box::new(S3Config {
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            public_endpoint: None,
            region: "garage".to_owned(),
            bucket: "films".to_owned(),
            path_style: true,
            allow_http: true,
            credentials: Credentials { access_key, secret_key, session_token: None },
            retries: Retries { pause: Duration::from_millis(20), ..Retries::default() },
        })))
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a garage program, in .tools/bin or named by FINALRIP_GARAGE"]
async fn garage_behaves() {
    let garage = Garage::start();
    let store = garage.store();
    kit::all(&store, 8 << 20).await;
    links(&store).await;
    let mut upload = store.upload(&video("unfinished.mkv").source(), None).unwrap();
    upload.write(noise(17 << 20, 1)).await.unwrap();
    // As if the process had been killed: nothing aborts it.
    std::mem::forget(upload);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.remove_unfinished(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(store.remove_unfinished(Duration::ZERO).await.unwrap(), 0);
}

async fn links(store: &Store) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for text in crate::store::key::tests::NASTY {
        let (key, content) = (video(text).source(), noise(1_000, 2));
        let later = SystemTime::now() + Duration::from_secs(60);
        let link = store.link(&key, Access::Upload, later, "").await.unwrap();
        assert!(http.put(link).body(content.clone()).send().await.unwrap().status().is_success(), "{text}");
        let link = store.link(&key, Access::Download, later, "").await.unwrap();
        assert!(!http.put(&link).body("other").send().await.unwrap().status().is_success());
        let answer = http.get(link).header("range", "bytes=10-19").send().await.unwrap();
        assert_eq!(answer.status(), 206, "{text}");
        let disposition = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert_eq!(disposition, attachment(key.video().file_name()));
        assert!(answer.bytes().await.unwrap() == content[10..20]);
        store.delete(&key).await.unwrap();
    }
}
