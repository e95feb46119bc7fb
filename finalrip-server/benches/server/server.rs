//! The real program, in a folder of its own, and what the kernel knows of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What clients send in the header `token`.
pub(crate) const TOKEN: &str = "a-token-for-benches";

/// How long the server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The kernel counts time in hundredths of a second, whatever it measures with.
const TICKS: f64 = 100.0;

/// A running server; stopped when it is dropped.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server over `folder/data`, which may hold a ledger already, with the default settings.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let (data, log) = (folder.join("data"), folder.join("server.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_finalrip-server"));
        command.arg("serve").arg("--data").arg(&data).args(["--listen", "127.0.0.1:0", "--log-format", "json"]);
        // Settings of whoever runs this are not what is measured.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FINALRIP_")) {
            command.env_remove(name);
        }
        command.env("FINALRIP_TOKEN", TOKEN).current_dir(folder);
        let child = command.stdin(Stdio::null()).stderr(fs::File::create(&log)?).spawn().context("the server")?;
        let mut server = Self { child, log, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let begin = Instant::now();
        while server.address.port() == 0 {
            ensure!(server.child.try_wait()?.is_none(), "the server has ended: {}", server.said());
            ensure!(begin.elapsed() < PATIENCE, "the server does not listen: {}", server.said());
            std::thread::sleep(Duration::from_millis(10));
            server.address = server.listens_on().unwrap_or(server.address);
        }
        Ok(server)
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn listens_on(&self) -> Option<SocketAddr> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut serving = lines.filter(|line| line["fields"]["message"] == "serving");
        serving.find_map(|line| line["fields"]["address"].as_str()?.parse().ok())
    }

    /// What it is, apart from its encoder processes.
    pub(crate) fn process(&self) -> Process {
        Process(self.child.id().to_string())
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        ensure!(asked.success(), "the server cannot be asked to stop");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}: {}", self.said());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the server does not stop: {}", self.said())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A process as `/proc` names it.
pub(crate) struct Process(String);

impl Process {
    /// This one.
    pub(crate) fn own() -> Self {
        Self("self".to_owned())
    }

    /// Seconds of user and system time so far, without its children.
    pub(crate) fn cpu(&self) -> Result<f64> {
        Ok(self.times()?.0)
    }

    /// Seconds of user and system time of the children that have ended, and of theirs.
    pub(crate) fn childrens_cpu(&self) -> Result<f64> {
        Ok(self.times()?.1)
    }

    fn times(&self) -> Result<(f64, f64)> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // After the program's name, which may hold anything: the state, 10 fields, then user and system time, then those
        // of the children.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let times = fields.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
        let times = times.collect::<Result<Vec<_>, _>>()?;
        let [user, system, childrens_user, childrens_system] = times[..] else { bail!("/proc/PID/stat: {stat}") };
        Ok(((user + system) / TICKS, (childrens_user + childrens_system) / TICKS))
    }

    /// Bytes that are resident now, and the most that ever were.
    pub(crate) fn resident(&self) -> Result<(u64, u64)> {
        Ok((self.number("VmRSS:")? * 1024, self.number("VmHWM:")? * 1024))
    }

    /// Threads, and open files.
    pub(crate) fn threads_and_files(&self) -> Result<(u64, usize)> {
        Ok((self.number("Threads:")?, fs::read_dir(format!("/proc/{}/fd", self.0))?.count()))
    }

    fn number(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name.to_owned())?;
        Ok(line.split_whitespace().next().context(name.to_owned())?.parse()?)
    }
}
