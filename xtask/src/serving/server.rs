//! The server, in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    /// The address that it listens on.
    pub address: SocketAddr,
}

impl Server {
    /// Starts `command`, a `generate` that serves, and waits until it listens. All its messages are handed to `tell`.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it listens.
    pub fn start(command: &mut Command, tell: impl Fn(&str) + Send + 'static) -> Result<Self> {
        let mut process = command
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", command.get_program().display()))?;
        let mut messages = BufReader::new(process.stderr.take().context("the server has no stderr")?).lines();
        let listening = |line: &String| {
            let (_, address) = line.split_once("listening on http://")?;
            address.split(' ').next()?.parse().ok()
        };
        let mut address = None;
        for line in messages.by_ref().map_while(Result::ok) {
            tell(&line);
            address = listening(&line);
            if address.is_some() {
                break;
            }
        }
        // What it says later has to be read, or it would wait for that.
        std::thread::spawn(move || messages.map_while(Result::ok).for_each(|line| tell(&line)));
        let server = Self { process, address: address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()) };
        address.map(|_| server).context("the server ended before it listened")
    }

    /// Returns the process, to send signals to.
    pub fn process(&self) -> &Child {
        &self.process
    }

    /// Waits for the end, at most `patience`.
    ///
    /// # Errors
    /// When it has not ended by then.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > patience {
                bail!("the server has not ended after {patience:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Reads the memory that is resident now, where the operating system says it.
    pub fn resident_mib(&self) -> Option<u64> {
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
