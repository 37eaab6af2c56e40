//! The programs of an experiment: run as a user would, each in a process of its own, their output kept.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use xtask::output::note;

/// The programs, and where what they say goes.
#[derive(Debug)]
pub(crate) struct Programs {
    /// Their directory.
    pub(crate) bin: PathBuf,
    /// Working directory.
    pub(crate) root: PathBuf,
    /// Directory of logs.
    logs: PathBuf,
    /// Locked as long as this process or a program it started lives.
    lock: File,
}

impl Programs {
    /// Takes the directory `out` of an experiment for this process. Every program gets the lock as its empty stdin, so
    /// that one which outlives a killed run is waited for, not worked against.
    pub(crate) fn take(bin: PathBuf, root: PathBuf, out: &Path) -> Result<Self> {
        let path = out.join(".lock");
        let cannot = || format!("cannot lock `{}`", path.display());
        fs::create_dir_all(out).with_context(cannot)?;
        let mut options = OpenOptions::new();
        let lock = options.read(true).write(true).create(true).truncate(true).open(&path);
        let lock = lock.with_context(cannot)?;
        if lock.try_lock().is_err() {
            note(&format!("another run is at work in `{}`: waiting for it", out.display()));
            lock.lock().with_context(cannot)?;
        }
        Ok(Self { bin, root, logs: out.join("logs"), lock })
    }

    /// Makes a command of a program, with arguments.
    pub(crate) fn command<I, S>(&self, program: &str, args: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(&self.root).args(args);
        command
    }

    /// Runs a command; what it writes is added to the log `name`. Its stdout.
    pub(crate) fn run(&self, name: &str, command: &mut Command) -> Result<String> {
        fs::create_dir_all(&self.logs).with_context(|| format!("cannot create `{}`", self.logs.display()))?;
        let path = self.logs.join(format!("{}.log", file_name(name)));
        let cannot = || format!("cannot write `{}`", path.display());
        let mut log = OpenOptions::new().create(true).append(true).open(&path).with_context(cannot)?;
        let begin = log.metadata().with_context(cannot)?.len();
        let program = command.get_program().to_string_lossy().into_owned();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        writeln!(log, "$ {program} {}", args.join(" ")).with_context(cannot)?;
        let stderr: File = log.try_clone().with_context(cannot)?;
        let output = command
            .stdin(Stdio::from(self.lock.try_clone().with_context(cannot)?))
            .stderr(Stdio::from(stderr))
            .output()
            .with_context(|| format!("cannot start `{program}`"))?;
        if !output.status.success() {
            let text = fs::read(&path).unwrap_or_default();
            let said = String::from_utf8_lossy(text.get(begin as usize..).unwrap_or_default()).into_owned();
            bail!("`{program}` failed: {}; {}", output.status, last_words(&said));
        }
        log.write_all(&output.stdout).with_context(cannot)?;
        String::from_utf8(output.stdout).with_context(|| format!("output of `{program}` is not UTF-8"))
    }

    /// Runs a program that writes JSON to the file `json`, and reads that.
    pub(crate) fn run_for(&self, name: &str, command: &mut Command, json: &Path) -> Result<Value> {
        if let Some(parent) = json.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
        }
        self.run(name, command.arg("--json").arg(json))?;
        read_json(json)
    }
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Makes a file name of a cell's name.
pub(crate) fn file_name(name: &str) -> String {
    name.replace('/', "_")
}

/// Returns the error that a program ended with, or its last line.
fn last_words(said: &str) -> String {
    let line = said.lines().rev().find(|line| line.starts_with("error:")).or_else(|| {
        let mut lines = said.lines().rev().filter(|line| !line.trim().is_empty());
        lines.next().filter(|line| !line.starts_with('$'))
    });
    line.unwrap_or("it said nothing").trim_start_matches("error:").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_message_of_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let programs = Programs::take("/bin".into(), dir.path().to_owned(), dir.path()).unwrap();
        let fail = "echo warming up >&2; echo 'error: no such model' >&2; exit 1";
        let error = programs.run("a/b", &mut programs.command("sh", ["-c", fail])).unwrap_err().to_string();
        assert!(error.contains("`sh` failed") && error.ends_with("no such model"), "{error}");
        let error =
            programs.run("a/b", &mut programs.command("sh", ["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.ends_with("it said nothing"), "{error}");
        let said = programs.run("c", &mut programs.command("sh", ["-c", "echo 7"])).unwrap();
        assert_eq!(said, "7\n");
        assert!(dir.path().join("logs/a_b.log").exists());
    }

    #[test]
    fn the_lock_is_held_until_the_last_program_of_a_killed_run_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let programs = Programs::take("/bin".into(), dir.path().to_owned(), dir.path()).unwrap();
        let stdin = Stdio::from(programs.lock.try_clone().unwrap());
        // The command has the lock too, and ends with this line.
        let mut orphan = Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
        drop(programs);
        assert!(File::open(&path).unwrap().try_lock().is_err(), "the orphan still works here");
        orphan.kill().unwrap();
        orphan.wait().unwrap();
        // Not `try_lock`: a test beside this one may just be starting a program, which has every open file until it runs.
        File::open(&path).unwrap().lock().unwrap();
    }
}
