//! `cargo xtask bench decode --llama_cpp PYTHON`: tokens a second of a prompt and after it, beside llama.cpp's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bars::Bar;
use super::decoding::{Decoded, Model, Setting};
use super::side_by_side::in_turns;
use super::stats::{Pairs, spread};
use super::workbench::{ask, remove};
use xtask::measure::median;
use xtask::output::{note, say};
use xtask::process;
use xtask::workspace::Workspace;

const SCRIPT: &str = "decode_llama_cpp.py";
const PROMPT_TOKENS: &str = "256";
/// Times as fast as llama.cpp, in every row.
const LEAST: f64 = 1.2;

/// One side: ours by its `--quantize`, theirs by the type of its file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Ours(&'static str),
    Theirs(&'static str),
}
use Side::{Ours, Theirs};

const SIDES: [Side; 7] =
    [Ours("nf4"), Theirs("Q4_0"), Ours("int8"), Theirs("Q8_0"), Ours("none"), Theirs("BF16"), Theirs("F16")];
/// Pairs of them that the table compares. 16 bits meet both of theirs, and so the better one.
const ROWS: [(&str, Side, Side); 4] = [
    ("NF4 : Q4_0", SIDES[0], SIDES[1]),
    ("int8 : Q8_0", SIDES[2], SIDES[3]),
    ("bfloat16 : BF16", SIDES[4], SIDES[5]),
    ("bfloat16 : F16", SIDES[4], SIDES[6]),
];

/// Python with llama-cpp-python.
pub(super) struct LlamaCpp<'a> {
    python: &'a str,
    pub(super) system: System,
}

/// Version of llama-cpp-python, and the instruction sets that its build uses on this machine (`llama_print_system_info`).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct System {
    version: String,
    system: String,
}

impl<'a> LlamaCpp<'a> {
    /// Asks for version and instruction sets.
    pub(super) fn find(workspace: &Workspace, python: &'a str) -> Result<Self> {
        let mut command = workspace.command(python);
        let system: System =
            ask(command.arg(workspace.path("benches").join(SCRIPT)).arg("system")).with_context(|| {
                format!(
                    "`{python}` has no llama-cpp-python; make one that has, outside the repository:\n         \
                     python3 -m venv ~/llama && ~/llama/bin/pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36"
                )
            })?;
        say(&format!("llama-cpp-python {}: {}", system.version, system.system));
        Ok(Self { python, system })
    }

    /// Compares all sides on one model.
    pub(super) fn compare(
        &self,
        setting: &Setting<'_>,
        model: &Model<'_>,
        path: &Path,
        bars: &mut Vec<Bar>,
    ) -> Result<Value> {
        note(&format!("\n[{} beside llama.cpp]", model.name));
        let dir = setting.bench.out.join("gguf");
        remove(&dir)?;
        fs::create_dir_all(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        let tokens = setting.new_tokens(model);
        // Files whose repacked kernels do not run here.
        let mut plain = BTreeSet::new();
        let sides = in_turns(setting.args.rounds, &SIDES, |side| match *side {
            Ours(quantize) => {
                let mut command = setting.bench.program("bench-decode");
                command.args(["--prompt_tokens", PROMPT_TOKENS, "--quantize", quantize]);
                setting.ask(&mut command, path, "bfloat16", tokens)
            }
            Theirs(ftype) => {
                let file = self.file(setting, path, &dir, ftype)?;
                if !plain.contains(ftype) {
                    match self.decode(setting, &file, tokens, &[]) {
                        Ok(decoded) => return Ok(decoded),
                        Err(error) => note(&format!("{error:#}; now without repacking")),
                    }
                    plain.insert(ftype);
                }
                self.decode(setting, &file, tokens, &["--no_repack"])
            }
        })?;
        remove(&dir)?;
        let title = format!("{}, {} threads", model.name, setting.bench.threads);
        say(&format!("\n{title}; medians of {} rounds (range)", setting.args.rounds));
        let decode = format!("decode, {tokens} tokens");
        let mut rows = table(model, &decode, 1.0, &sides, |decoded| &decoded.token_s, bars);
        let prefill = format!("prefill, {PROMPT_TOKENS} tokens");
        rows.extend(table(model, &prefill, PROMPT_TOKENS.parse()?, &sides, |one| &one.first_token_s, bars));
        let mut weights = serde_json::Map::new();
        for (side, runs) in SIDES.iter().zip(&sides) {
            let run = runs.last().context("no round")?;
            let megabytes = run.weight_bytes.unwrap_or_default() as f64 / 1e6;
            let is_plain = matches!(side, Theirs(ftype) if plain.contains(ftype));
            let layout = if is_plain { "not repacked".to_owned() } else { run.buffers.join(", ") };
            let (name, peak) = (side.to_string(), run.peak_host_mib);
            say(&format!("  {name}: {megabytes:.0} MB of weights, peak memory {peak} MiB {layout}"));
            weights.insert(name, json!({ "megabytes": megabytes, "peak_host_mib": peak, "layout": layout }));
        }
        if let (Some(ours), Some(theirs)) =
            (of(&sides, Ours("none")).last(), of(&sides, Theirs("BF16")).last())
        {
            let same = ours.ids.iter().zip(&theirs.ids).take_while(|(a, b)| a == b).count();
            say(&format!("  the first {same} of {} tokens are the same in bfloat16", ours.ids.len()));
        }
        Ok(json!({ "model": model.name, "rows": rows, "weights": weights }))
    }

    fn decode(&self, setting: &Setting<'_>, file: &Path, tokens: usize, more: &[&str]) -> Result<Decoded> {
        let mut command = setting.bench.script(self.python, SCRIPT);
        command.arg("decode").arg(file).args(["--prompt_tokens", PROMPT_TOKENS, "--repeats", "3"]);
        command.args(["--new_tokens", &tokens.to_string(), "--threads", &setting.bench.threads.to_string()]);
        ask(command.args(more))
    }

    /// Returns a file of the model in one of llama.cpp's types, written once: by our export, but for the 4 bits that it does not write.
    fn file(&self, setting: &Setting<'_>, model: &Path, dir: &Path, ftype: &str) -> Result<PathBuf> {
        let target = dir.join(ftype);
        let file = target.join("model.gguf");
        if file.exists() {
            return Ok(file);
        }
        let dtype = match ftype {
            "BF16" => "bfloat16",
            "F16" => "float16",
            "Q8_0" => "q8_0",
            _ => {
                let from = self.file(setting, model, dir, "BF16")?;
                fs::create_dir_all(&target)
                    .with_context(|| format!("cannot create `{}`", target.display()))?;
                let mut command = setting.bench.script(self.python, SCRIPT);
                process::run_to_stderr(command.arg("quantize").arg(from).arg(&file).arg(ftype))?;
                return Ok(file);
            }
        };
        let mut export = setting.bench.program("merge");
        export.arg("--base_model").arg(model).arg("--output_dir").arg(&target);
        process::run_to_stderr(export.args(["--format", "gguf", "--dtype", dtype]))?;
        Ok(file)
    }
}

/// Prints the rows of one kind of work, of `count` tokens in each of its `seconds`.
fn table(
    model: &Model<'_>,
    work: &str,
    count: f64,
    sides: &[Vec<Decoded>],
    seconds: fn(&Decoded) -> &[f64],
    bars: &mut Vec<Bar>,
) -> Vec<Value> {
    say(&format!("{work:<24}{:>26}{:>26}{:>22}", "tokens/s here", "llama.cpp", "ratio"));
    let mut rows = Vec::new();
    for (name, ours, theirs) in ROWS {
        let mut pairs = Pairs::default();
        for (ours, theirs) in of(sides, ours).iter().zip(of(sides, theirs)) {
            pairs.push(median(seconds(ours)) / count, median(seconds(theirs)) / count);
        }
        let compared = pairs.compare();
        let rates = |seconds: &[f64]| spread(&seconds.iter().map(|s| 1.0 / s).collect::<Vec<_>>(), 1);
        let (ours, theirs) = (rates(&pairs.rust_s), rates(&pairs.python_s));
        say(&format!("  {name:<22}{ours:>26}{theirs:>26}{:>22}", compared.ratios()));
        let bar = format!("{} {work}, {name}: at least {LEAST} times llama.cpp", model.name);
        bars.push(Bar { what: format!("{bar}: {:.2}", compared.ratio), met: compared.ratio >= LEAST });
        rows.push(json!({ "work": work, "row": name, "rounds": pairs, "median": compared }));
    }
    rows
}

/// Returns the rounds of one side.
fn of(sides: &[Vec<Decoded>], side: Side) -> &[Decoded] {
    SIDES.iter().position(|one| *one == side).map_or(&[], |at| &sides[at])
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ours("none") => formatter.write_str("here, bfloat16"),
            Ours(quantize) => write!(formatter, "here, {quantize}"),
            Theirs(ftype) => write!(formatter, "llama.cpp, {ftype}"),
        }
    }
}
