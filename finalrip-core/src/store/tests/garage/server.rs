//! A Garage server with one bucket; the server's tests use this file too.

#![allow(dead_code, unreachable_pub, reason = "a module of several programs, each of which uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

pub const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
pub const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of one node with the bucket `films`; killed at the end.
pub struct Garage {
    server: Child,
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Garage {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program() -> PathBuf {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin/garage"));
    let program = std::env::var_os("FINALRIP_GARAGE").map_or_else(beside, PathBuf::from);
    assert!(program.is_file(), "there is no {}: run `scripts/setup.sh test-long`", program.display());
    program
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Garage {
    pub fn start() -> Self {
        let (program, folder) = (program(), tempfile::tempdir().unwrap());
        let (rpc, port) = (free_port(), free_port());
        let at = folder.path().display();
        let config = format!(
            "metadata_dir = \"{at}/meta\"\ndata_dir = \"{at}/data\"\ndb_engine = \"sqlite\"\nreplication_factor = 1\n\
             rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{SECRET_KEY}\"\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{port}\"\n"
        );
        fs::write(folder.path().join("garage.toml"), config).unwrap();
        let server = spawn(&program, &folder);
        let garage = Self { server, program, folder, port };
        garage.set_up();
        garage
    }

    fn set_up(&self) {
        let node = self.wait_until_it_answers();
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

    /// Gives the node's id.
    fn wait_until_it_answers(&self) -> String {
        let start = Instant::now();
        loop {
            match self.run(&["node", "id", "-q"]) {
                Ok(id) if self.run(&["status"]).is_ok() => return id.split('@').next().unwrap().to_owned(),
                _ => assert!(start.elapsed() < PATIENCE, "it does not start"),
            }
            std::thread::sleep(Duration::from_millis(100));
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

    /// Kills it.
    pub fn stop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }

    /// Starts it again after [`Garage::stop`], with all that it has.
    pub fn start_again(&mut self) {
        self.server = spawn(&self.program, &self.folder);
        self.wait_until_it_answers();
    }

    /// Lets web pages of every origin upload and download, by the request that the README shows.
    pub fn allow_pages(&self) {
        let rules = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
             <AllowedMethod>HEAD</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>*</AllowedHeader>\
             <ExposeHeader>Content-Range</ExposeHeader><ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>";
        let hash: String = Sha256::digest(rules).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-X", "PUT", "--aws-sigv4", "aws:amz:garage:s3"]);
        curl.args(["--user", &format!("{ACCESS_KEY}:{SECRET_KEY}")]);
        curl.args(["-H", &format!("x-amz-content-sha256: {hash}"), "--data-binary", rules]);
        let done = curl.arg(format!("{}/films?cors=", self.endpoint())).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// How the server's configuration says where it is.
    pub fn settings(&self) -> String {
        format!(
            "[s3]\nendpoint = {:?}\nregion = \"garage\"\nbucket = \"films\"\nallow_http = true\n\
             [s3.credentials]\naccess_key = {ACCESS_KEY:?}\nsecret_key = {SECRET_KEY:?}\n",
            self.endpoint()
        )
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn spawn(program: &PathBuf, folder: &tempfile::TempDir) -> Child {
    let log = || fs::OpenOptions::new().append(true).create(true).open(folder.path().join("log"));
    let quiet = || Stdio::from(log().unwrap());
    let mut server = Command::new(program);
    server.args(["-c", "garage.toml", "server"]).current_dir(folder.path()).stdout(quiet()).stderr(quiet());
    server.spawn().unwrap()
}
