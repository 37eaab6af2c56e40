//! The server under load, in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use xtask::output::note;
use xtask::workspace::Workspace;

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts it on a free port.
    pub(crate) fn start(workspace: &Workspace, model: &Path) -> Result<Self> {
        let program = workspace.release_binaries()?.join("generate");
        let mut command = workspace.command(&program);
        command.arg("--base_model").arg(model).args(["--server_port", "0"]);
        let mut process = command
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        let mut messages = BufReader::new(process.stderr.take().context("the server has no stderr")?).lines();
        let listening = |line: &String| {
            let (_, address) = line.split_once("listening on http://")?;
            address.split(' ').next()?.parse().ok()
        };
        let mut address = None;
        for line in messages.by_ref().map_while(Result::ok) {
            note(&line);
            address = listening(&line);
            if address.is_some() {
                break;
            }
        }
        // What it says later has to be read, or it would wait for that.
        std::thread::spawn(move || messages.map_while(Result::ok).for_each(|line| note(&line)));
        let server = Self { process, address: address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()) };
        address.map(|_| server).context("the server ended before it listened")
    }

    /// Reads the memory that is resident now, where the operating system says it.
    pub(crate) fn resident_mib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
