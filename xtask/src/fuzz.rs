//! `cargo xtask fuzz`: mutates the inputs of the readers of foreign bytes, with libFuzzer on the stable toolchain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use xtask::output::{note, say};
use xtask::process::{capture, run_to_stderr};
use xtask::setup;
use xtask::workspace::Workspace;

/// Memory that a target may take, in MiB: resident, and reserved.
const RESIDENT_MIB: u64 = 1536;
const RESERVED_MIB: u64 = 8192;
/// Bytes of an input: those of the longest golden file that one begins with.
const MAX_INPUT_BYTES: u64 = 40 << 10;
/// Seconds by the clock after which an input is one that never ends; the targets bound processor time themselves.
const ENDLESS_S: u64 = 300;

#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Targets; all when none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Directory of the inputs found, which a later run goes on with [default: target/fuzz/corpus]
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Run this one input instead, such as a finding
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    input: Option<PathBuf>,
    /// List the targets
    #[arg(long)]
    list: bool,
}

/// The program of all targets, and where its files go.
struct Fuzzer<'a> {
    workspace: &'a Workspace,
    program: PathBuf,
    home: PathBuf,
}

pub(crate) fn run(workspace: &Workspace, args: &FuzzArgs) -> Result<()> {
    setup::ensure(workspace)?;
    let target = workspace.target_dir()?;
    run_to_stderr(
        workspace
            .cargo()
            // As the tests are built: with one choice of features, what is not ours is compiled once.
            .args(["build", "--workspace", "--bin", "fuzz", "--features", "fuzz/libfuzzer"])
            .env("RUSTC_WORKSPACE_WRAPPER", workspace.path("fuzz/rustc")),
    )?;
    let fuzzer = Fuzzer { workspace, program: target.join("debug/fuzz"), home: target.join("fuzz") };
    let known = fuzzer.names()?;
    if args.list {
        say(&known.join("\n"));
        return Ok(());
    }
    if let Some(unknown) = args.targets.iter().find(|name| !known.contains(name)) {
        bail!("no target `{unknown}`; there are {}", known.join(", "));
    }
    let chosen = if args.targets.is_empty() { &known } else { &args.targets };
    if let Some(input) = &args.input {
        let [name] = args.targets.as_slice() else { bail!("--input is for one target: name it") };
        return xtask::process::run(fuzzer.command(name).arg(input));
    }
    let corpus = args.corpus.clone().unwrap_or_else(|| fuzzer.home.join("corpus"));
    let mut findings = Vec::new();
    say(&format!("{:<16} {:>8} {:>12} {:>8}", "target", "seconds", "executions", "inputs"));
    for name in chosen {
        findings.extend(fuzzer.fuzz(name, args.seconds, &corpus.join(name))?);
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} findings:\n  {}", findings.len(), findings.join("\n  "))
}

impl Fuzzer<'_> {
    fn names(&self) -> Result<Vec<String>> {
        let list = capture(self.command("").env("FUZZ_LIST", "1"))?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Returns a call of a target, within the limit on memory that is reserved.
    fn command(&self, name: &str) -> Command {
        let mut command = self.workspace.command("sh");
        let limited = format!("ulimit -v {} && exec \"$0\" \"$@\"", RESERVED_MIB << 10);
        command.arg("-c").arg(limited).arg(&self.program).env("FUZZ_TARGET", name);
        command.args([format!("-rss_limit_mb={RESIDENT_MIB}"), format!("-timeout={ENDLESS_S}")]);
        // Several targets may run at a time, and a thread that spins is no finding.
        command.envs(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"].map(|name| (name, "1")));
        command
    }

    /// Fuzzes a target; returns the ways to see its findings again.
    fn fuzz(&self, name: &str, seconds: u64, corpus: &Path) -> Result<Vec<String>> {
        let findings = self.home.join("findings").join(name);
        for dir in [corpus, &findings] {
            fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        }
        let log = self.home.join(format!("{name}.log"));
        let file = fs::File::create(&log).with_context(|| format!("cannot write `{}`", log.display()))?;
        let before = files(&findings);
        let mut command = self.command(name);
        command.arg(corpus).env("FUZZ_SEEDS", corpus).stdout(Stdio::null()).stderr(file);
        command.args(["-print_final_stats=1", "-reload=0", &format!("-max_len={MAX_INPUT_BYTES}")]);
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-artifact_prefix={}/", findings.display()));
        let status =
            command.status().with_context(|| format!("cannot start `{}`", self.program.display()))?;
        let text =
            fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let executions = number_after(&text, "stat::number_of_executed_units:").unwrap_or_default();
        say(&format!("{name:<16} {seconds:>8} {executions:>12} {:>8}", files(corpus).len()));
        if status.success() {
            return Ok(Vec::new());
        }
        for line in
            text.lines().filter(|line| line.starts_with("FINDING:") || line.contains("ERROR: libFuzzer"))
        {
            note(&format!("  {line}"));
        }
        let new = files(&findings).into_iter().filter(|file| !before.contains(file));
        let mut shown: Vec<String> =
            new.map(|file| format!("cargo xtask fuzz {name} --input {}", file.display())).collect();
        if shown.is_empty() {
            shown.push(format!("{name} ended with {status}; see `{}`", log.display()));
        }
        Ok(shown)
    }
}

/// Lists the files in a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Returns the number behind the last `label` in a text.
fn number_after(text: &str, label: &str) -> Option<u64> {
    text.rsplit_once(label)?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_read_from_libfuzzers_statistics() {
        let text = "#128 DONE\nstat::number_of_executed_units: 4117\nstat::average_exec_per_sec: 10\n";
        assert_eq!(number_after(text, "stat::number_of_executed_units:"), Some(4117));
        assert_eq!(number_after("", "stat::number_of_executed_units:"), None);
    }
}
