//! Merging, beside the lab's Python script and beside a plain copy of the same bytes.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::bars::{Bar, report_bars};
use super::side_by_side::interleaved;
use super::stats::Pairs;
use super::workbench::{Workbench, remove};
use xtask::measure::median;
use xtask::output::{note, say};
use xtask::process;
use xtask::python;
use xtask::workspace::Workspace;

#[derive(Debug, Clone, Args)]
pub(crate) struct MergeArgs {
    /// Python with torch 2.11.0, transformers and peft
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: String,
    /// Rounds with the 1.1B shape
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Merge a 7B shape too: 13.5 GB of random weights are written first, and as many each time
    #[arg(long = "with_7b", alias = "with-7b")]
    with_7b: bool,
    /// Rounds with the 7B shape
    #[arg(long = "rounds_7b", alias = "rounds-7b", value_name = "N", default_value_t = 1)]
    rounds_7b: usize,
    /// Leave the peer out: memory, and time against the copy only
    #[arg(long = "without_python", alias = "without-python")]
    without_python: bool,
    /// Keep the models
    #[arg(long)]
    keep: bool,
}

/// Private memory that merging may take, in megabytes.
const MOST_PRIVATE_MB: f64 = 600.0;
/// Time of a merge over that of a copy.
const MOST_OF_COPY: f64 = 1.5;
/// Time of the peer over that of a merge.
const LEAST_OF_PYTHON: f64 = 3.0;
/// Time between two looks at a process's memory.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A model shape to measure.
struct Shape {
    name: &'static str,
    preset: &'static str,
    rounds: usize,
}

/// One run of ours, with a copy before it.
struct Ours {
    merge_s: f64,
    copy_s: f64,
    private_mb: f64,
}

pub(crate) fn run(workspace: &Workspace, args: &MergeArgs) -> Result<()> {
    if args.rounds == 0 || args.rounds_7b == 0 {
        bail!("rounds and rounds_7b have to be at least 1");
    }
    python::check(&args.python, &["torch", "transformers", "peft"])?;
    let bench = MergeBench { bench: Workbench::new(workspace, None)?, args };
    let mut shapes = vec![Shape { name: "1.1B", preset: "tinyllama-1.1b", rounds: args.rounds }];
    if args.with_7b {
        shapes.push(Shape { name: "7B", preset: "7b", rounds: args.rounds_7b });
    } else {
        note("the 7B shape is left out: it writes 13.5 GB first (--with_7b)");
    }
    let (mut report, mut bars) = (serde_json::Map::new(), Vec::new());
    for shape in &shapes {
        let measured = bench.shape(shape, &mut bars)?;
        report.insert(shape.name.to_owned(), measured);
    }
    report_bars(&bench.bench.out.join("merge.json"), &Value::Object(report), &bars)
}

struct MergeBench<'a> {
    bench: Workbench<'a>,
    args: &'a MergeArgs,
}

impl MergeBench<'_> {
    /// Measures one shape; its model and adapter are made first and removed again.
    fn shape(&self, shape: &Shape, bars: &mut Vec<Bar>) -> Result<Value> {
        note(&format!("\n[{}]", shape.name));
        let base = self.bench.random_model(shape.preset)?;
        let adapter = self.bench.out.join(format!("{}-adapter", shape.preset));
        process::run_to_stderr(self.script().arg("adapter").arg(&base).arg(&adapter))?;
        let measured = self.rounds(shape, &base, &adapter, bars);
        if !self.args.keep {
            remove(&base)?;
            remove(&adapter)?;
        }
        measured
    }

    fn rounds(&self, shape: &Shape, base: &Path, adapter: &Path, bars: &mut Vec<Bar>) -> Result<Value> {
        let weights = base.join("model.safetensors");
        let bytes =
            fs::metadata(&weights).with_context(|| format!("cannot read `{}`", weights.display()))?.len();
        let mut runs = Vec::new();
        let (mut pairs, mut python_mb) = (Pairs::default(), Vec::new());
        if self.args.without_python {
            for _ in 0..shape.rounds {
                runs.push(self.ours(base, adapter, &weights)?);
            }
        } else {
            let python = || self.theirs(base, adapter).map(|(seconds, mb)| (None, seconds, mb));
            let rust = || {
                let ours = self.ours(base, adapter, &weights)?;
                let seconds = ours.merge_s;
                Ok((Some(ours), seconds, 0.0))
            };
            let all = interleaved(shape.rounds, rust, python, |round, ours, theirs| {
                note(&format!("round {}: rust {:.2} s, python {:.2} s", round + 1, ours.1, theirs.1));
            })?;
            for ((ours, rust_s, _), (_, python_s, mb)) in all {
                pairs.push(rust_s, python_s);
                python_mb.push(mb);
                runs.extend(ours);
            }
        }
        let of = |value: &dyn Fn(&Ours) -> f64| median(&runs.iter().map(value).collect::<Vec<_>>());
        let (merge_s, copy_s) = (of(&|ours| ours.merge_s), of(&|ours| ours.copy_s));
        let to_copy = of(&|ours| ours.merge_s / ours.copy_s);
        let private_mb = runs.iter().map(|ours| ours.private_mb).fold(0.0, f64::max);
        let name = shape.name;
        say(&format!(
            "{name}: merge {merge_s:.2} s, copy of the same {bytes} bytes {copy_s:.2} s, ratio {to_copy:.2}; private memory {private_mb:.0} MB"
        ));
        bars.push(Bar {
            what: format!(
                "{name} merged with at most {MOST_PRIVATE_MB} MB of private memory: {private_mb:.0} MB"
            ),
            met: private_mb <= MOST_PRIVATE_MB,
        });
        bars.push(Bar {
            what: format!("{name} merged in at most {MOST_OF_COPY} times the copy: {to_copy:.2}"),
            met: to_copy <= MOST_OF_COPY,
        });
        let single = |value: &dyn Fn(&Ours) -> f64| runs.iter().map(value).collect::<Vec<f64>>();
        let mut measured = json!({
            "bytes": bytes,
            "merge_s": single(&|ours| ours.merge_s),
            "copy_s": single(&|ours| ours.copy_s),
            "private_mb": single(&|ours| ours.private_mb),
        });
        if !self.args.without_python {
            let compared = pairs.compare();
            say(&format!("{name}: {compared}; private memory of python {:.0} MB", median(&python_mb)));
            bars.push(Bar {
                what: format!(
                    "{name} merged at least {LEAST_OF_PYTHON} times as fast as Python: {:.2}",
                    compared.ratio
                ),
                met: compared.ratio >= LEAST_OF_PYTHON,
            });
            measured["python_s"] = json!(pairs.python_s);
            measured["python_private_mb"] = json!(python_mb);
        }
        Ok(measured)
    }

    /// Times a copy, then a merge.
    fn ours(&self, base: &Path, adapter: &Path, weights: &Path) -> Result<Ours> {
        let (copy, out) = (self.bench.out.join("copy"), self.bench.out.join("merged"));
        remove(&copy)?;
        remove(&out)?;
        let copy_s =
            copy_synced(weights, &copy).with_context(|| format!("cannot copy `{}`", weights.display()))?;
        remove(&copy)?;
        let mut merge = self.bench.program("merge");
        merge.arg("--base_model").arg(base).arg("--lora_weights").arg(adapter);
        merge.arg("--output_dir").arg(&out).args(["--max_shard_size", "100GB"]).stdout(Stdio::null());
        let started = Instant::now();
        let private_mb = watch(merge.spawn().context("cannot start `merge`")?)?;
        let merge_s = started.elapsed().as_secs_f64();
        remove(&out)?;
        note(&format!("merge {merge_s:.2} s, copy {copy_s:.2} s, private memory {private_mb:.0} MB"));
        Ok(Ours { merge_s, copy_s, private_mb })
    }

    /// Times the whole process of the peer, as ours is timed.
    fn theirs(&self, base: &Path, adapter: &Path) -> Result<(f64, f64)> {
        let out = self.bench.out.join("merged-python");
        remove(&out)?;
        let mut script = self.script();
        script.arg("merge").arg(base).arg(adapter).arg(&out).stdout(Stdio::null());
        let started = Instant::now();
        let mb = watch(script.spawn().context("cannot start Python")?)?;
        let seconds = started.elapsed().as_secs_f64();
        remove(&out)?;
        Ok((seconds, mb))
    }

    fn script(&self) -> Command {
        self.bench.script(&self.args.python, "merge.py")
    }
}

/// Waits for a process, and gives the most private memory it was seen to have, in megabytes.
fn watch(mut child: Child) -> Result<f64> {
    let path = format!("/proc/{}/status", child.id());
    let mut most_kib = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                bail!("a program that is measured failed: {status}");
            }
            return Ok(most_kib as f64 * 1024.0 / 1e6);
        }
        most_kib =
            most_kib.max(fs::read_to_string(&path).ok().and_then(|text| private_kib(&text)).unwrap_or(0));
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Returns `RssAnon` of a process's status.
fn private_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Copies as `cp` does, within the system, and brings the copy to the disk. Seconds it took. A copy by large writes takes
/// up to three times as long on file systems with large folios, and would flatter a merge.
fn copy_synced(from: &Path, to: &Path) -> io::Result<f64> {
    let started = Instant::now();
    fs::copy(from, to)?;
    File::open(to)?.sync_all()?;
    Ok(started.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_memory_is_read_from_the_status_of_a_process() {
        assert_eq!(private_kib("VmRSS:\t  900 kB\nRssAnon:\t     512 kB\nRssFile:\t 4 kB\n"), Some(512));
        assert_eq!(private_kib("Name:\tzombie\n"), None);
    }

    #[test]
    fn a_program_that_fails_is_no_measurement() {
        assert!(watch(Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap()).is_err());
        assert!(watch(Command::new("sh").args(["-c", "sleep 0.1"]).spawn().unwrap()).unwrap() >= 0.0);
    }
}
